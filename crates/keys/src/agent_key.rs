//! An agent's private key.

use crate::KeyError;
use crate::assertion;
use crate::encoding::{from_base64, to_base64};
use crate::public_key::PublicKey;
use crate::session_key::SessionKey;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    KeyPair, KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey,
    PrivateDecryptingKey,
};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use dayfly_wire::ids::ClientId;
use dayfly_wire::secret::SecretText;
use dayfly_wire::session::{EncryptionKey, OAEP_SHA256};
use jiff::Timestamp;
use uuid::Uuid;
use zeroize::Zeroizing;

/// An RSA-2048 private key: signs assertions, unwraps session keys.
pub struct AgentKey {
    pair: KeyPair,
}

impl AgentKey {
    /// Makes a key. Takes about 0.1 s of a core, at times 0.5 s: never call it on an async thread.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Generate)?;
        Ok(Self { pair })
    }

    /// Reads base64 of PKCS#8, as [`Self::to_base64`] writes it.
    pub fn from_base64(text: &SecretText) -> Result<Self, KeyError> {
        Self::from_pkcs8(&Zeroizing::new(from_base64(text.expose())?))
    }

    /// Reads PKCS#8.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = KeyPair::from_pkcs8(der)
            .map_err(|_| KeyError::Malformed("not a PKCS#8 RSA private key"))?;
        Ok(Self { pair })
    }

    /// PKCS#8; wiped when dropped.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let der: Pkcs8V1Der<'_> = self
            .pair
            .as_der()
            .map_err(|_| KeyError::Malformed("cannot be written"))?;
        Ok(Zeroizing::new(der.as_ref().to_vec()))
    }

    /// Base64 of PKCS#8.
    pub fn to_base64(&self) -> Result<SecretText, KeyError> {
        Ok(SecretText::new(to_base64(&self.to_pkcs8()?)))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let public = self.pair.public_key();
        PublicKey::from_numbers(
            public.modulus().big_endian_without_leading_zero(),
            public.exponent().big_endian_without_leading_zero(),
        )
    }

    /// Signs the JWT that the agent exchanges for a token: valid from `now` for five minutes, single use (`jti`).
    pub fn sign_assertion(
        &self,
        client_id: ClientId,
        audience: &str,
        jti: Uuid,
        now: Timestamp,
    ) -> Result<SecretText, KeyError> {
        let signed = assertion::signing_input(client_id, audience, jti, now);
        let signature = self.sign_rs256(&signed)?;
        Ok(SecretText::new(assertion::join(&signed, &signature)))
    }

    pub(crate) fn sign_rs256(&self, signed: &str) -> Result<Vec<u8>, KeyError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .map_err(|_| KeyError::Sign)?;
        Ok(signature)
    }

    /// Reads the session's key, wrapped for this key with either padding, or in the clear.
    pub fn unwrap_session_key(&self, wrapped: &EncryptionKey) -> Result<SessionKey, KeyError> {
        let value = Zeroizing::new(from_base64(&wrapped.value)?);
        if !wrapped.encrypted {
            return SessionKey::from_bytes(&value);
        }
        let sha256 = wrapped
            .encryption_padding
            .as_deref()
            .is_some_and(|padding| padding.eq_ignore_ascii_case(OAEP_SHA256));
        let algorithm = if sha256 {
            &OAEP_SHA256_MGF1SHA256
        } else {
            &OAEP_SHA1_MGF1SHA1
        };
        let key = PrivateDecryptingKey::from_pkcs8(&self.to_pkcs8()?)
            .ok()
            .and_then(|key| OaepPrivateDecryptingKey::new(key).ok())
            .ok_or(KeyError::Malformed("cannot decrypt with this key"))?;
        let mut plain = Zeroizing::new(vec![0; key.min_output_size()]);
        let plain = key
            .decrypt(algorithm, &value, &mut plain, None)
            .map_err(|_| KeyError::Decrypt)?;
        SessionKey::from_bytes(plain)
    }
}
