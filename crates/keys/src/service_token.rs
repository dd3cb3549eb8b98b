//! The tokens that the pool service gives out: JWTs under a key of the service, one `typ` per kind.

use crate::public_key::signature_only;
use crate::random;
use dayfly_wire::secret::SecretText;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Why a token was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a token of this service, or changed.
    #[error("not a token of this service")]
    Signature,
    /// A token of another kind.
    #[error("a token of another kind")]
    Kind,
    /// Its time is over, or has not come.
    #[error("the token's time is over")]
    Expired,
    /// The backend refused.
    #[error("failed to sign")]
    Sign,
}

/// A signing key of the service for one kind of token.
pub struct TokenKey {
    kid: String,
    bytes: Zeroizing<Vec<u8>>,
}

#[derive(Deserialize)]
struct Times {
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
}

impl TokenKey {
    /// A new random key.
    pub fn generate() -> Self {
        Self {
            kid: random::base32_name(8),
            bytes: Zeroizing::new(random::bytes::<32>().to_vec()),
        }
    }

    /// Takes a stored key over.
    pub fn from_bytes(kid: &str, bytes: Vec<u8>) -> Self {
        Self {
            kid: kid.to_owned(),
            bytes: Zeroizing::new(bytes),
        }
    }

    /// The key's bytes, for the file that keeps it.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        self.bytes.clone()
    }

    /// The key's id, which stands in every token.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Signs `claims`, which must hold `exp` (seconds), as a token of the kind `typ`.
    pub fn issue<C: Serialize>(&self, typ: &str, claims: &C) -> Result<SecretText, TokenError> {
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(&self.bytes))
            .map(SecretText::new)
            .map_err(|_| TokenError::Sign)
    }

    /// Checks signature, kind and time.
    pub fn verify<C: DeserializeOwned>(
        &self,
        typ: &str,
        token: &str,
        now: Timestamp,
    ) -> Result<C, TokenError> {
        let key = DecodingKey::from_secret(&self.bytes);
        let decoded = jsonwebtoken::decode::<serde_json::Value>(
            token,
            &key,
            &signature_only(Algorithm::HS256),
        )
        .map_err(|_| TokenError::Signature)?;
        if decoded.header.typ.as_deref() != Some(typ) {
            return Err(TokenError::Kind);
        }
        let times = Times::deserialize(&decoded.claims).map_err(|_| TokenError::Signature)?;
        if now.as_second() >= times.exp || times.nbf.is_some_and(|nbf| now.as_second() < nbf) {
            return Err(TokenError::Expired);
        }
        serde_json::from_value(decoded.claims).map_err(|_| TokenError::Kind)
    }
}
