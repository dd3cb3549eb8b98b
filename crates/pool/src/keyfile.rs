//! The service's secret keys and its id: one file beside the database, never in it.
//!
//! `dayfly-pool rotate-keys` adds keys to it; a service that runs takes the new file up.

mod document;

use crate::stamp::Stamp;
use dayfly_keys::id_token::IdTokenKey;
use dayfly_keys::sealing::{SealError, SealHeader};
use dayfly_keys::service_token::{Purpose, TokenError};
use dayfly_wire::ids::AgentId;
use dayfly_wire::secret::SecretText;
use document::{Document, Keys};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
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
    /// The file was exchanged for that of another service.
    #[error("failed to take up the key file {0}: it belongs to another service")]
    OtherService(PathBuf),
    /// A key could not be made.
    #[error("failed to make a key: {0}")]
    Key(#[from] dayfly_keys::KeyError),
}

/// A sealed value did not open, or a value could not be sealed.
#[derive(Debug, thiserror::Error)]
#[error("failed to use a sealed value of {kind} {name}: {reason}")]
pub struct SealedValueError {
    kind: &'static str,
    name: String,
    reason: String,
}

/// The service's id and keys.
pub struct ServiceKeys {
    /// The service's id: clients cache by it.
    pub instance: Uuid,
    path: PathBuf,
    current: RwLock<Arc<Current>>,
}

struct Current {
    stamp: Stamp,
    keys: Keys,
}

impl ServiceKeys {
    /// Reads the key file of a data directory, or makes it.
    pub fn open(directory: &Path) -> Result<Self, KeyFileError> {
        let path = directory.join(FILE);
        if !path.exists() {
            document::create(&path, &Document::new()).map_err(io(&path))?;
        }
        Self::open_file(&path)
    }

    /// Reads a key file that must be there: keys that replicas share are made once, by hand.
    pub fn open_file(path: &Path) -> Result<Self, KeyFileError> {
        let (instance, current) = read(path)?;
        Ok(Self {
            instance,
            path: path.to_owned(),
            current: RwLock::new(Arc::new(current)),
        })
    }

    /// Takes the file up when it is another one than before; answers whether it was.
    pub fn refresh(&self) -> Result<bool, KeyFileError> {
        let stamp = Stamp::of(&self.path).map_err(io(&self.path))?;
        if stamp == self.current().stamp {
            return Ok(false);
        }
        let (instance, current) = read(&self.path)?;
        if instance != self.instance {
            return Err(KeyFileError::OtherService(self.path.clone()));
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(current);
        Ok(true)
    }

    /// Signs claims for a purpose with the newest key.
    pub fn issue<C: Serialize>(
        &self,
        purpose: &Purpose<'_>,
        claims: &C,
    ) -> Result<SecretText, TokenError> {
        self.current().keys.tokens.issue(purpose, claims)
    }

    /// Checks a token of this service. One under a key that is not known is looked at again when the file is another
    /// one by now: a neighbour may have signed with a key that was just added.
    pub fn verify<C: DeserializeOwned>(
        &self,
        purpose: &Purpose<'_>,
        token: &str,
        now: Timestamp,
    ) -> Result<C, TokenError> {
        let verify = || self.current().keys.tokens.verify(purpose, token, now);
        match verify() {
            Err(TokenError::UnknownKey) if self.has_refreshed() => verify(),
            verified => verified,
        }
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
        let current = self.current();
        let blob = current
            .keys
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
        let open = || self.current().keys.sealing.open(sealed.as_bytes());
        let opened = match open() {
            Err(SealError::UnknownKey(_)) if self.has_refreshed() => open(),
            opened => opened,
        };
        let (header, plain) = opened.map_err(|error| failed(error.to_string()))?;
        if header != self.header(kind, name) {
            return Err(failed("it belongs to another row".to_owned()));
        }
        Ok(plain)
    }

    /// Signs the claims of an identity token. The first one makes the key: call it where blocking is allowed.
    pub fn issue_id_token<C: Serialize>(&self, claims: &C) -> Result<SecretText, KeyFileError> {
        self.ensure_id_token_key()?;
        let current = self.current();
        let newest = current.keys.id_tokens.last();
        let newest = newest.ok_or_else(|| KeyFileError::Malformed(self.path.clone()))?;
        Ok(newest.issue(claims)?)
    }

    /// The public keys of identity tokens as a JSON Web Key Set. The first call makes a key: call it where blocking is
    /// allowed.
    pub fn id_token_key_set(&self) -> Result<serde_json::Value, KeyFileError> {
        self.ensure_id_token_key()?;
        let current = self.current();
        let keys: Vec<_> = current
            .keys
            .id_tokens
            .iter()
            .map(IdTokenKey::to_jwk)
            .collect();
        Ok(serde_json::json!({ "keys": keys }))
    }

    /// Services that nobody asks for identity tokens, as most are, spend no time on an RSA key.
    fn ensure_id_token_key(&self) -> Result<(), KeyFileError> {
        if !self.current().keys.id_tokens.is_empty() {
            return Ok(());
        }
        let locked = document::lock(&self.path).map_err(io(&self.path))?;
        let mut document = Document::read(&self.path)?;
        if !document.has_id_token_key() {
            let added = document.add_id_token_key(&IdTokenKey::generate()?);
            added.ok_or(dayfly_keys::KeyError::Generate)?;
            document::replace(&self.path, &document).map_err(io(&self.path))?;
        }
        drop(locked);
        self.refresh().map(|_| ())
    }

    fn has_refreshed(&self) -> bool {
        self.refresh().unwrap_or_else(|error| {
            tracing::warn!(%error, "kept the keys that were read before");
            false
        })
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
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

/// Makes a key file with a key of each kind: a service that may not write it can add none later.
pub fn make(path: &Path) -> Result<(), KeyFileError> {
    let mut document = Document::new();
    let added = document.add_id_token_key(&IdTokenKey::generate()?);
    added.ok_or(dayfly_keys::KeyError::Generate)?;
    document::create(path, &document).map_err(io(path))
}

/// Adds a new key of each kind to the file of a data directory; answers how many older token keys still verify.
pub fn rotate(directory: &Path, now: Timestamp) -> Result<usize, KeyFileError> {
    let path = directory.join(FILE);
    let id_token = IdTokenKey::generate()?;
    let _locked = document::lock(&path).map_err(io(&path))?;
    let mut document = Document::read(&path)?;
    let rotated = document.rotate(&id_token, now);
    rotated.ok_or(dayfly_keys::KeyError::Generate)?;
    document::replace(&path, &document).map_err(io(&path))?;
    Ok(document.token_keys() - 1)
}

fn read(path: &Path) -> Result<(Uuid, Current), KeyFileError> {
    // The stamp comes first: a file that is exchanged in between is then read again, not missed.
    let stamp = Stamp::of(path).map_err(io(path))?;
    let document = Document::read(path)?;
    let keys = document.keys();
    let keys = keys.ok_or_else(|| KeyFileError::Malformed(path.to_owned()))?;
    Ok((document.instance_id, Current { stamp, keys }))
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> KeyFileError + use<> {
    let path = path.to_owned();
    move |source| KeyFileError::Io {
        path: path.clone(),
        source,
    }
}
