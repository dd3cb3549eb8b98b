//! Private keys at rest: AES-256-GCM under the operator's sealing keys.
//!
//! A sealed blob is JSON: a header in the clear that says whose key it is, and the ciphertext. The header is
//! associated data, so a blob whose header was edited, or that was copied under another name, does not open.

use crate::callback::CallbackKeys;
use crate::encoding::{from_base64, to_base64};
use crate::random;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use dayfly_wire::ids::AgentId;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The version of the blob's form.
const VERSION: u32 = 1;

/// Whose private key a blob holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealHeader {
    /// The agent in the pool.
    pub agent_id: AgentId,
    /// The namespace that its pod runs in.
    pub namespace: String,
    /// The identity's name.
    pub name: String,
    /// The uid of the AgentPool.
    pub pool_uid: String,
}

/// Why a blob did not open. Says nothing about what is inside.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealError {
    /// Not a sealed blob of a known version.
    #[error("not a sealed key of a known version")]
    Malformed,
    /// Sealed under a key that is not there any more.
    #[error("sealed under key {0:?}, which is not among the sealing keys")]
    UnknownKey(String),
    /// Changed after it was sealed.
    #[error("the sealed key was changed after it was sealed")]
    Tampered,
    /// The backend refused.
    #[error("failed to seal")]
    Seal,
}

#[derive(Serialize, Deserialize)]
struct Blob {
    v: u32,
    kek: String,
    header: SealHeader,
    nonce: String,
    ciphertext: String,
}

/// One sealing key with its id.
pub struct SealingKey {
    id: String,
    bytes: Zeroizing<[u8; 32]>,
}

impl SealingKey {
    /// A new random key.
    pub fn generate() -> Self {
        Self {
            id: random::base32_name(8),
            bytes: random::bytes(),
        }
    }

    /// Reads 32 bytes.
    pub fn from_bytes(id: &str, bytes: &[u8]) -> Result<Self, SealError> {
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| SealError::Malformed)?;
        Ok(Self {
            id: id.to_owned(),
            bytes: Zeroizing::new(bytes),
        })
    }

    /// The key's id, which is no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key's bytes, for the Secret that keeps it.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.bytes.to_vec())
    }

    fn cipher(&self) -> Result<LessSafeKey, SealError> {
        UnboundKey::new(&AES_256_GCM, self.bytes.as_slice())
            .map(LessSafeKey::new)
            .map_err(|_| SealError::Seal)
    }

    /// A key for another purpose; whoever learns it learns nothing about this one.
    fn derive(&self, purpose: &[u8]) -> Result<Zeroizing<[u8; 32]>, SealError> {
        let mut derived = Zeroizing::new([0; 32]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"dayfly/v1")
            .extract(self.bytes.as_slice())
            .expand(&[purpose], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(derived.as_mut_slice()))
            .map_err(|_| SealError::Seal)?;
        Ok(derived)
    }
}

/// The sealing keys: the newest seals, all of them open.
pub struct SealingKeys {
    keys: Vec<SealingKey>,
}

impl SealingKeys {
    /// Takes the keys, newest last; there must be one at least.
    pub fn new(keys: Vec<SealingKey>) -> Result<Self, SealError> {
        if keys.is_empty() {
            Err(SealError::Malformed)
        } else {
            Ok(Self { keys })
        }
    }

    /// Seals `plain` for the identity of `header`.
    pub fn seal(&self, header: &SealHeader, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let key = self.keys.last().ok_or(SealError::Seal)?;
        let nonce = random::bytes::<12>();
        let mut ciphertext = Zeroizing::new(plain.to_vec());
        key.cipher()?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(associated_data(&key.id, header)),
                &mut *ciphertext,
            )
            .map_err(|_| SealError::Seal)?;
        let blob = Blob {
            v: VERSION,
            kek: key.id.clone(),
            header: header.clone(),
            nonce: to_base64(nonce.as_slice()),
            ciphertext: to_base64(&ciphertext),
        };
        serde_json::to_vec(&blob).map_err(|_| SealError::Seal)
    }

    /// Opens a blob; the caller compares the header with the identity that it expects.
    pub fn open(&self, blob: &[u8]) -> Result<(SealHeader, Zeroizing<Vec<u8>>), SealError> {
        let blob: Blob = serde_json::from_slice(blob).map_err(|_| SealError::Malformed)?;
        if blob.v != VERSION {
            return Err(SealError::Malformed);
        }
        let key = self
            .keys
            .iter()
            .find(|key| key.id == blob.kek)
            .ok_or_else(|| SealError::UnknownKey(blob.kek.clone()))?;
        let nonce = from_base64(&blob.nonce).map_err(|_| SealError::Malformed)?;
        let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| SealError::Malformed)?;
        let mut buffer =
            Zeroizing::new(from_base64(&blob.ciphertext).map_err(|_| SealError::Malformed)?);
        let length = key
            .cipher()?
            .open_in_place(
                nonce,
                Aad::from(associated_data(&key.id, &blob.header)),
                &mut buffer,
            )
            .map_err(|_| SealError::Tampered)?
            .len();
        buffer.truncate(length);
        Ok((blob.header, buffer))
    }

    /// The keys of the callback tokens, one per sealing key.
    pub fn callback_keys(&self) -> Result<CallbackKeys, SealError> {
        let derived: Result<Vec<_>, _> = self
            .keys
            .iter()
            .map(|key| key.derive(b"callback"))
            .collect();
        Ok(CallbackKeys::new(&derived?))
    }
}

/// Unambiguous: no part can be moved into its neighbour, because JSON quotes each.
fn associated_data(kek: &str, header: &SealHeader) -> Vec<u8> {
    serde_json::json!([
        VERSION,
        kek,
        header.agent_id,
        header.namespace,
        header.name,
        header.pool_uid
    ])
    .to_string()
    .into_bytes()
}
