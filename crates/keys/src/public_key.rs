//! An agent's public key, as the service keeps it.

use crate::KeyError;
use crate::assertion::{Assertion, AssertionError, Claims};
use crate::encoding::{from_base64, to_base64};
use crate::session_key::SessionKey;
use dayfly_wire::agent::AgentPublicKey;
use dayfly_wire::session::{EncryptionKey, OAEP_SHA256};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rsa::rand_core::OsRng;
use rsa::{BigUint, Oaep, RsaPublicKey};
use sha1::Sha1;
use sha2::Sha256;
use std::fmt;

/// The shortest modulus that is accepted, in bytes (RSA-2048).
const MIN_MODULUS: usize = 256;
/// The longest modulus that is accepted, in bytes (RSA-8192).
const MAX_MODULUS: usize = 1024;

/// How a session key is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// OAEP with SHA-1: what the official agent understands.
    OaepSha1,
    /// OAEP with SHA-256, for agents that say they can.
    OaepSha256,
}

/// An RSA public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey(RSA-{})", self.modulus.len() * 8)
    }
}

impl PublicKey {
    pub(crate) fn from_numbers(modulus: &[u8], exponent: &[u8]) -> Self {
        Self {
            modulus: modulus.to_vec(),
            exponent: exponent.to_vec(),
        }
    }

    /// Reads the registration's form, refusing keys that are too short, too long, or no RSA keys.
    pub fn from_wire(key: &AgentPublicKey) -> Result<Self, KeyError> {
        let strip = |bytes: Vec<u8>| -> Vec<u8> {
            bytes.into_iter().skip_while(|byte| *byte == 0).collect()
        };
        let modulus = strip(from_base64(&key.modulus)?);
        let exponent = strip(from_base64(&key.exponent)?);
        if !(MIN_MODULUS..=MAX_MODULUS).contains(&modulus.len()) {
            return Err(KeyError::Malformed(
                "the modulus must have 2048 to 8192 bits",
            ));
        }
        let key = Self { modulus, exponent };
        key.for_encryption()?;
        Ok(key)
    }

    /// Modulus and exponent, big-endian.
    pub(crate) fn numbers(&self) -> (&[u8], &[u8]) {
        (&self.modulus, &self.exponent)
    }

    /// The registration's form.
    pub fn to_wire(&self) -> AgentPublicKey {
        AgentPublicKey {
            exponent: to_base64(&self.exponent),
            modulus: to_base64(&self.modulus),
        }
    }

    /// Wraps a session's key so that only the holder of the private key can read it.
    pub fn wrap_session_key(
        &self,
        key: &SessionKey,
        padding: Padding,
    ) -> Result<EncryptionKey, KeyError> {
        let scheme = match padding {
            Padding::OaepSha1 => Oaep::new::<Sha1>(),
            Padding::OaepSha256 => Oaep::new::<Sha256>(),
        };
        let wrapped = self
            .for_encryption()?
            .encrypt(&mut OsRng, scheme, key.as_bytes())
            .map_err(|_| KeyError::Encrypt)?;
        Ok(EncryptionKey {
            encrypted: true,
            value: to_base64(&wrapped),
            encryption_padding: (padding == Padding::OaepSha256).then(|| OAEP_SHA256.to_owned()),
        })
    }

    /// Checks an agent's assertion: signature, audience, and that `now` lies in its time, give or take
    /// [`crate::assertion::CLOCK_TOLERANCE_SECONDS`]. Whether its `jti` was seen before is the caller's to know.
    pub fn verify_assertion(
        &self,
        token: &str,
        audience: &str,
        now: Timestamp,
    ) -> Result<Assertion, AssertionError> {
        let key = DecodingKey::from_rsa_raw_components(&self.modulus, &self.exponent);
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &signature_only(Algorithm::RS256))
            .map_err(|_| AssertionError::Signature)?
            .claims;
        claims.check(audience, now)
    }

    fn for_encryption(&self) -> Result<RsaPublicKey, KeyError> {
        let modulus = BigUint::from_bytes_be(&self.modulus);
        let exponent = BigUint::from_bytes_be(&self.exponent);
        RsaPublicKey::new_with_max_size(modulus, exponent, MAX_MODULUS * 8)
            .map_err(|_| KeyError::Malformed("not an RSA public key"))
    }
}

/// Lets the library check the signature and nothing else: times are compared with a clock that is passed in.
pub(crate) fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}
