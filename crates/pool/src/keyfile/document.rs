//! The key file as it is written: whole or not at all, and by one process at a time.

use super::KeyFileError;
use crate::rules::token::key_still_verifies;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dayfly_keys::id_token::IdTokenKey;
use dayfly_keys::sealing::{SealingKey, SealingKeys};
use dayfly_keys::service_token::{TokenKey, TokenKeys};
use dayfly_wire::secret::SecretText;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;
use zeroize::Zeroizing;

/// What is in the file; the newest of each kind is the last.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    pub(super) instance_id: Uuid,
    token_keys: Vec<StoredKey>,
    sealing_keys: Vec<StoredKey>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    id_token_keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredKey {
    kid: String,
    key: SecretText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    superseded_at: Option<Timestamp>,
}

/// The keys of a file, ready to be used.
pub(super) struct Keys {
    pub(super) tokens: TokenKeys,
    pub(super) sealing: SealingKeys,
    pub(super) id_tokens: Vec<IdTokenKey>,
}

impl StoredKey {
    fn new(kid: &str, bytes: &[u8]) -> Self {
        Self {
            kid: kid.to_owned(),
            key: SecretText::new(STANDARD.encode(bytes)),
            superseded_at: None,
        }
    }

    fn token() -> Self {
        let key = TokenKey::generate();
        Self::new(key.kid(), &key.to_bytes())
    }

    fn sealing() -> Self {
        let key = SealingKey::generate();
        Self::new(key.id(), &key.to_bytes())
    }

    fn bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        STANDARD.decode(self.key.expose()).ok().map(Zeroizing::new)
    }
}

impl Document {
    pub(super) fn new() -> Self {
        Self {
            instance_id: Uuid::new_v4(),
            token_keys: vec![StoredKey::token()],
            sealing_keys: vec![StoredKey::sealing()],
            id_token_keys: Vec::new(),
        }
    }

    pub(super) fn read(path: &Path) -> Result<Self, KeyFileError> {
        let text = std::fs::read_to_string(path).map_err(|source| KeyFileError::Io {
            path: path.to_owned(),
            source,
        })?;
        serde_json::from_str(&Zeroizing::new(text))
            .map_err(|_| KeyFileError::Malformed(path.to_owned()))
    }

    pub(super) fn has_id_token_key(&self) -> bool {
        !self.id_token_keys.is_empty()
    }

    pub(super) fn add_id_token_key(&mut self, key: &IdTokenKey) -> Option<()> {
        let der = key.to_pkcs8().ok()?;
        self.id_token_keys.push(StoredKey::new(key.kid(), &der));
        Some(())
    }

    /// Adds a key of each kind. Those before it go when nothing that they signed can still count; what was sealed is
    /// kept, and so are the keys that open it.
    pub(super) fn rotate(&mut self, id_token: &IdTokenKey, now: Timestamp) -> Option<()> {
        for keys in [&mut self.token_keys, &mut self.id_token_keys] {
            if let Some(newest) = keys.last_mut() {
                newest.superseded_at = Some(now);
            }
            keys.retain(|key| key_still_verifies(key.superseded_at, now));
        }
        self.token_keys.push(StoredKey::token());
        self.sealing_keys.push(StoredKey::sealing());
        self.add_id_token_key(id_token)
    }

    /// How many token keys there are.
    pub(super) fn token_keys(&self) -> usize {
        self.token_keys.len()
    }

    pub(super) fn keys(&self) -> Option<Keys> {
        let tokens = self.token_keys.iter();
        let tokens: Option<Vec<TokenKey>> = tokens
            .map(|stored| Some(TokenKey::from_bytes(&stored.kid, stored.bytes()?.to_vec())))
            .collect();
        let sealing = self.sealing_keys.iter();
        let sealing: Option<Vec<SealingKey>> = sealing
            .map(|stored| SealingKey::from_bytes(&stored.kid, &stored.bytes()?).ok())
            .collect();
        let id_tokens = self.id_token_keys.iter();
        let id_tokens: Option<Vec<IdTokenKey>> = id_tokens
            .map(|stored| IdTokenKey::from_pkcs8(&stored.kid, &stored.bytes()?).ok())
            .collect();
        Some(Keys {
            tokens: TokenKeys::new(tokens?)?,
            sealing: SealingKeys::new(sealing?).ok()?,
            id_tokens: id_tokens?,
        })
    }
}

/// Waits until no other process changes the file; the lock goes with what is answered.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path.with_extension("lock"))?;
    file.lock()?;
    Ok(file)
}

/// Writes the file; when two processes start at once, the first one's file stays.
pub(super) fn create(path: &Path, document: &Document) -> io::Result<()> {
    let temporary = write_beside(path, document)?;
    let linked = std::fs::hard_link(&temporary, path);
    std::fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Puts the file in the place of the one that is there.
pub(super) fn replace(path: &Path, document: &Document) -> io::Result<()> {
    let temporary = write_beside(path, document)?;
    std::fs::rename(&temporary, path)?;
    // Without this a crash of the machine could bring the old file back, after tokens were signed with a new key.
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

fn write_beside(path: &Path, document: &Document) -> io::Result<PathBuf> {
    let text = Zeroizing::new(serde_json::to_vec_pretty(document)?);
    let temporary = path.with_extension(format!("{}.tmp", Uuid::new_v4()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(&text)?;
    file.sync_all()?;
    Ok(temporary)
}
