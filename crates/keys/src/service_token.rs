//! The tokens that the pool service gives out and reads itself: JWTs that differ by kind in type, audience and key.

use crate::encoding::from_base64_url;
use crate::public_key::signature_only;
use crate::random;
use aws_lc_rs::hkdf;
use dayfly_wire::secret::SecretText;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 8 * 1024;

/// Why a token was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a token of this service, or changed.
    #[error("not a token of this service")]
    Signature,
    /// Signed under a key that is not there: it may be newer than those that were read.
    #[error("signed under a key that is not there")]
    UnknownKey,
    /// A token of another kind.
    #[error("a token of another kind")]
    Kind,
    /// Meant for somebody else.
    #[error("the token is meant for another audience")]
    Audience,
    /// Its time is over, or has not come.
    #[error("the token's time is over")]
    Expired,
    /// The backend refused.
    #[error("failed to sign")]
    Sign,
}

/// What a token is for. Nothing that was made for one purpose is good for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose<'a> {
    /// The header's `typ`; the signing key is derived for it.
    pub typ: &'a str,
    /// The claim `aud`.
    pub audience: &'a str,
}

/// A key of the service, from which those that sign are derived.
pub struct TokenKey {
    kid: String,
    bytes: Zeroizing<Vec<u8>>,
}

/// The service's keys: the newest signs, all of them verify.
pub struct TokenKeys {
    keys: Vec<TokenKey>,
}

#[derive(Serialize)]
struct Addressed<'a, C> {
    aud: &'a str,
    #[serde(flatten)]
    claims: &'a C,
}

#[derive(Deserialize)]
struct Common {
    aud: String,
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

    /// The key of one kind of token; whoever learns it can make no token of another kind.
    fn derive(&self, typ: &str) -> Result<Zeroizing<[u8; 32]>, TokenError> {
        let mut derived = Zeroizing::new([0; 32]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"dayfly/token/v1")
            .extract(&self.bytes)
            .expand(&[typ.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(derived.as_mut_slice()))
            .map_err(|_| TokenError::Sign)?;
        Ok(derived)
    }
}

impl TokenKeys {
    /// Takes the keys, newest last; none when there is no key.
    pub fn new(keys: Vec<TokenKey>) -> Option<Self> {
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// Signs `claims`, which must hold `exp` (seconds) and no `aud`, for a purpose.
    pub fn issue<C: Serialize>(
        &self,
        purpose: &Purpose<'_>,
        claims: &C,
    ) -> Result<SecretText, TokenError> {
        let key = self.keys.last().ok_or(TokenError::Sign)?;
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(purpose.typ.to_owned());
        header.kid = Some(key.kid.clone());
        let claims = Addressed {
            aud: purpose.audience,
            claims,
        };
        let secret = key.derive(purpose.typ)?;
        jsonwebtoken::encode(
            &header,
            &claims,
            &EncodingKey::from_secret(secret.as_slice()),
        )
        .map(SecretText::new)
        .map_err(|_| TokenError::Sign)
    }

    /// Checks kind, signature, audience and time.
    pub fn verify<C: DeserializeOwned>(
        &self,
        purpose: &Purpose<'_>,
        token: &str,
        now: Timestamp,
    ) -> Result<C, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Signature);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Signature)?;
        if header.typ.as_deref() != Some(purpose.typ) {
            return Err(TokenError::Kind);
        }
        let kid = header.kid.ok_or(TokenError::Signature)?;
        let key = self.keys.iter().find(|key| key.kid == kid);
        let secret = key.ok_or(TokenError::UnknownKey)?.derive(purpose.typ)?;
        let claims = jsonwebtoken::decode::<serde_json::Value>(
            token,
            &DecodingKey::from_secret(secret.as_slice()),
            &signature_only(Algorithm::HS256),
        )
        .map_err(|_| TokenError::Signature)?
        .claims;
        let common = Common::deserialize(&claims).map_err(|_| TokenError::Signature)?;
        if common.aud != purpose.audience {
            return Err(TokenError::Audience);
        }
        if now.as_second() >= common.exp || common.nbf.is_some_and(|nbf| now.as_second() < nbf) {
            return Err(TokenError::Expired);
        }
        serde_json::from_value(claims).map_err(|_| TokenError::Kind)
    }
}

/// The `typ` that a token claims, unchecked: good for choosing the purpose to check it for, and nothing else.
pub fn claimed_typ(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Typed {
        typ: String,
    }
    if token.len() > MAX_TOKEN {
        return None;
    }
    let (header, _) = token.split_once('.')?;
    let header = from_base64_url(header).ok()?;
    serde_json::from_slice::<Typed>(&header)
        .ok()
        .map(|typed| typed.typ)
}
