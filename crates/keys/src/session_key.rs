//! The key of an agent's messages: AES-CBC with PKCS#7 padding, a new IV for each message.

use crate::KeyError;
use crate::encoding::{from_base64, to_base64};
use crate::random;
use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, EncryptionContext,
    PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

/// A symmetric key of 16, 24 or 32 bytes; new ones have 32.
pub struct SessionKey(Zeroizing<Vec<u8>>);

impl SessionKey {
    /// A random key of 32 bytes.
    pub fn generate() -> Self {
        Self(Zeroizing::new(random::bytes::<32>().to_vec()))
    }

    /// Takes 16, 24 or 32 bytes over.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        match bytes.len() {
            16 | 24 | 32 => Ok(Self(Zeroizing::new(bytes.to_vec()))),
            _ => Err(KeyError::Malformed("a session key has 16, 24 or 32 bytes")),
        }
    }

    /// The key's bytes, for whoever stores or wraps it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Encrypts a message body; answers the base64 of the IV and of the ciphertext.
    pub fn encrypt(&self, plain: &[u8]) -> Result<(String, String), KeyError> {
        let key =
            PaddedBlockEncryptingKey::cbc_pkcs7(self.cipher()?).map_err(|_| KeyError::Encrypt)?;
        let iv = random::bytes::<16>();
        let context = EncryptionContext::Iv128(FixedLength::from(&*iv));
        let mut body = plain.to_vec();
        key.less_safe_encrypt(&mut body, context)
            .map_err(|_| KeyError::Encrypt)?;
        Ok((to_base64(iv.as_slice()), to_base64(&body)))
    }

    /// Decrypts a message body.
    pub fn decrypt(&self, iv: &str, body: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let key =
            PaddedBlockDecryptingKey::cbc_pkcs7(self.cipher()?).map_err(|_| KeyError::Decrypt)?;
        let iv: [u8; 16] = from_base64(iv)?
            .try_into()
            .map_err(|_| KeyError::Malformed("an IV has 16 bytes"))?;
        let context = DecryptionContext::Iv128(FixedLength::from(&iv));
        let mut buffer = Zeroizing::new(from_base64(body)?);
        let length = key
            .decrypt(&mut buffer, context)
            .map_err(|_| KeyError::Decrypt)?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }

    fn cipher(&self) -> Result<UnboundCipherKey, KeyError> {
        let algorithm: &'static Algorithm = match self.0.len() {
            16 => &AES_128,
            24 => &AES_192,
            _ => &AES_256,
        };
        UnboundCipherKey::new(algorithm, &self.0).map_err(|_| KeyError::Malformed("session key"))
    }
}
