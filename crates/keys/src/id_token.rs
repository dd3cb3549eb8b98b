//! Identity tokens: JWTs that others verify with the service's published keys (OpenID Connect).

use crate::KeyError;
use crate::agent_key::AgentKey;
use crate::assertion;
use crate::encoding::to_base64_url;
use crate::random;
use dayfly_wire::secret::SecretText;
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// An RSA key whose public half is published.
pub struct IdTokenKey {
    kid: String,
    key: AgentKey,
}

impl IdTokenKey {
    /// Makes a key. Takes about 0.1 s of a core, at times 0.5 s: never call it on an async thread.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self {
            kid: random::base32_name(8),
            key: AgentKey::generate()?,
        })
    }

    /// Takes a stored key over.
    pub fn from_pkcs8(kid: &str, der: &[u8]) -> Result<Self, KeyError> {
        Ok(Self {
            kid: kid.to_owned(),
            key: AgentKey::from_pkcs8(der)?,
        })
    }

    /// PKCS#8, for the file that keeps it.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.key.to_pkcs8()
    }

    /// The key's id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half as a JSON Web Key.
    pub fn to_jwk(&self) -> Value {
        let public = self.key.public();
        let (modulus, exponent) = public.numbers();
        json!({
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.kid,
            "n": to_base64_url(modulus),
            "e": to_base64_url(exponent),
        })
    }

    /// Signs `claims` (RS256).
    pub fn issue<C: Serialize>(&self, claims: &C) -> Result<SecretText, KeyError> {
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": self.kid});
        let claims = serde_json::to_vec(claims).map_err(|_| KeyError::Sign)?;
        let signed = format!(
            "{}.{}",
            to_base64_url(header.to_string().as_bytes()),
            to_base64_url(&claims)
        );
        let signature = self.key.sign_rs256(&signed)?;
        Ok(SecretText::new(assertion::join(&signed, &signature)))
    }
}
