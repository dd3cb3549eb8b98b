//! The service's secret keys and its id: one file beside the database, never in it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dayfly_keys::sealing::{SealHeader, SealingKey, SealingKeys};
use dayfly_keys::service_token::TokenKey;
use dayfly_wire::ids::AgentId;
use dayfly_wire::secret::SecretText;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;
use zeroize::Zeroizing;

const FILE: &str = "keys.json";

/// Why the keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("failed to use the key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what this service wrote.
    #[error("failed to read the key file {0}: not a key file; restore it from a backup")]
    Malformed(PathBuf),
}

/// A sealed value did not open, or a value could not be sealed.
#[derive(Debug, thiserror::Error)]
#[error("failed to use a sealed value of {kind} {name}: {reason}")]
pub struct SealedValueError {
    kind: &'static str,
    name: String,
    reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    instance_id: Uuid,
    token_keys: Vec<StoredKey>,
    sealing_keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    kid: String,
    key: SecretText,
}

/// The service's id and keys.
pub struct ServiceKeys {
    /// The service's id: clients cache by it.
    pub instance: Uuid,
    /// Signs listen tokens and job tokens.
    pub tokens: TokenKey,
    sealing: SealingKeys,
}

impl ServiceKeys {
    /// Reads the key file of a data directory, or makes it.
    pub fn open(directory: &Path) -> Result<Self, KeyFileError> {
        let path = directory.join(FILE);
        let io = |source| KeyFileError::Io {
            path: path.clone(),
            source,
        };
        if !path.exists() {
            create(&path, &new_document()).map_err(io)?;
        }
        let text = Zeroizing::new(std::fs::read_to_string(&path).map_err(io)?);
        read(&text).ok_or(KeyFileError::Malformed(path))
    }

    /// Seals a value for one row: it opens for no other.
    pub fn seal(
        &self,
        kind: &'static str,
        name: &str,
        plain: &[u8],
    ) -> Result<String, SealedValueError> {
        let failed = |reason: &dyn ToString| SealedValueError {
            kind,
            name: name.to_owned(),
            reason: reason.to_string(),
        };
        let blob = self
            .sealing
            .seal(&self.header(kind, name), plain)
            .map_err(|error| failed(&error))?;
        String::from_utf8(blob).map_err(|error| failed(&error.utf8_error()))
    }

    /// Opens what [`Self::seal`] made for the same row.
    pub fn open_sealed(
        &self,
        kind: &'static str,
        name: &str,
        sealed: &str,
    ) -> Result<Zeroizing<Vec<u8>>, SealedValueError> {
        let failed = |reason: String| SealedValueError {
            kind,
            name: name.to_owned(),
            reason,
        };
        let (header, plain) = self
            .sealing
            .open(sealed.as_bytes())
            .map_err(|error| failed(error.to_string()))?;
        if header != self.header(kind, name) {
            return Err(failed("it belongs to another row".to_owned()));
        }
        Ok(plain)
    }

    fn header(&self, kind: &str, name: &str) -> SealHeader {
        SealHeader {
            agent_id: AgentId(0),
            namespace: kind.to_owned(),
            name: name.to_owned(),
            pool_uid: self.instance.to_string(),
        }
    }
}

fn new_document() -> Document {
    let tokens = TokenKey::generate();
    let sealing = SealingKey::generate();
    let stored = |kid: &str, bytes: &[u8]| StoredKey {
        kid: kid.to_owned(),
        key: SecretText::new(STANDARD.encode(bytes)),
    };
    Document {
        instance_id: Uuid::new_v4(),
        token_keys: vec![stored(tokens.kid(), &tokens.to_bytes())],
        sealing_keys: vec![stored(sealing.id(), &sealing.to_bytes())],
    }
}

/// Writes the file whole or not at all; when two processes start at once, the first one's file stays.
fn create(path: &Path, document: &Document) -> std::io::Result<()> {
    let text = Zeroizing::new(serde_json::to_vec_pretty(document)?);
    let temporary = path.with_extension(format!("{}.tmp", Uuid::new_v4()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(&text)?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&temporary, path);
    std::fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn read(text: &str) -> Option<ServiceKeys> {
    let document: Document = serde_json::from_str(text).ok()?;
    let decode = |stored: &StoredKey| STANDARD.decode(stored.key.expose()).ok();
    let newest = document.token_keys.last()?;
    let sealing: Option<Vec<SealingKey>> = document
        .sealing_keys
        .iter()
        .map(|stored| SealingKey::from_bytes(&stored.kid, &Zeroizing::new(decode(stored)?)).ok())
        .collect();
    Some(ServiceKeys {
        instance: document.instance_id,
        tokens: TokenKey::from_bytes(&newest.kid, decode(newest)?),
        sealing: SealingKeys::new(sealing?).ok()?,
    })
}
