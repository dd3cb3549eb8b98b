//! Keys, sealing and tokens: the only place of Dayfly that knows cryptography.
//!
//! - [`agent_key`] and [`public_key`]: an agent's RSA key. Every private-key operation is done by aws-lc; the
//!   `rsa` crate, whose private-key path has an open timing advisory, is used with public keys only.
//! - [`session_key`]: the key of an agent's messages.
//! - [`sealing`]: private keys at rest, readable by the operator alone; [`callback`] derives from the same keys.
//! - [`service_token`]: the tokens that the pool service gives out; [`id_token`]: those that others verify;
//!   [`pat`]: its personal access tokens; [`web_session`]: the sessions of its web page.
//! - [`cluster_token`]: the local check of a Kubernetes service-account token; [`client_assertion`]: what service
//!   principals prove themselves with, and [`certificate_key`]: the key that they sign it with.
//! - [`webhook`]: the shared secret of a webhook.
//! - [`stock`]: keys made before they are needed.
//! - [`content`]: hashes that stored content is named by.
//!
//! No backend type is public, and no type that holds a secret has `Debug`, `Display` or `Serialize`.

pub mod agent_key;
pub mod assertion;
pub mod callback;
pub mod certificate_key;
pub mod client_assertion;
pub mod cluster_token;
pub mod content;
mod encoding;
pub mod id_token;
pub mod pat;
pub mod public_key;
pub mod random;
pub mod sealing;
pub mod service_token;
pub mod session_key;
pub mod stock;
pub mod web_session;
pub mod webhook;

/// Why an operation on a key failed. Never says anything about the key's value.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// The backend could not make a key.
    #[error("failed to generate a key")]
    Generate,
    /// The bytes are not a key of the wanted kind.
    #[error("failed to read the key: {0}")]
    Malformed(&'static str),
    /// The backend refused to sign.
    #[error("failed to sign")]
    Sign,
    /// The ciphertext does not belong to this key, or was changed.
    #[error("failed to decrypt: the ciphertext was made for another key or was changed")]
    Decrypt,
    /// The backend refused to encrypt.
    #[error("failed to encrypt")]
    Encrypt,
}
