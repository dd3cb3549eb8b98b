//! A service principal's private key with its certificate, and the assertion that it signs (RFC 7523).

use crate::KeyError;
use crate::assertion::{LIFETIME_SECONDS, join};
use crate::encoding::{to_base64, to_base64_url};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_SHA256};
use dayfly_wire::secret::SecretText;
use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// The longest PEM that is looked at, in bytes.
const MAX_PEM: usize = 64 * 1024;
/// The shortest modulus, in bytes (RSA-2048).
const MIN_MODULUS: usize = 256;
/// The longest chain that is sent along.
const MAX_CHAIN: usize = 8;

/// An RSA private key whose certificate is registered somewhere.
pub struct CertificateKey {
    pair: KeyPair,
    /// The certificate's hash, in base64url.
    thumbprint: String,
    /// The certificate and those above it, in base64.
    chain: Vec<String>,
    not_after: Timestamp,
}

impl CertificateKey {
    /// Reads a private key and its certificate, in any order, from one PEM text. Further certificates are its chain.
    pub fn from_pem(pem: &SecretText) -> Result<Self, KeyError> {
        let bytes = pem.expose().as_bytes();
        if bytes.len() > MAX_PEM {
            return Err(KeyError::Malformed("longer than 64 KiB"));
        }
        let pair = read_pair(bytes)?;
        let mut certificates: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(bytes)
            .collect::<Result<_, _>>()
            .map_err(|_| KeyError::Malformed("a CERTIFICATE in it is damaged"))?;
        let own = certificates.iter().position(|der| is_of(der, &pair));
        let own = own.ok_or(KeyError::Malformed(
            "it must hold the CERTIFICATE of its private key",
        ))?;
        certificates.swap(0, own);
        Ok(Self {
            pair,
            thumbprint: to_base64_url(&Sha256::digest(&certificates[0])),
            not_after: not_after(&certificates[0])?,
            chain: certificates
                .iter()
                .take(MAX_CHAIN)
                .map(|der| to_base64(der))
                .collect(),
        })
    }

    /// When the certificate ends.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Signs the JWT that proves `client` to the token endpoint `audience`: valid from `now` for five minutes.
    pub fn sign_assertion(
        &self,
        client: Uuid,
        audience: &str,
        jti: Uuid,
        now: Timestamp,
    ) -> Result<SecretText, KeyError> {
        let header = serde_json::json!({
            "alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint, "x5c": self.chain,
        });
        let issued = now.as_second();
        let claims = serde_json::json!({
            "iss": client, "sub": client, "aud": audience, "jti": jti,
            "iat": issued, "nbf": issued, "exp": issued + LIFETIME_SECONDS,
        });
        let part = |value: &serde_json::Value| to_base64_url(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = SystemRandom::new();
        self.pair
            .sign(&RSA_PSS_SHA256, &random, signed.as_bytes(), &mut signature)
            .map_err(|_| KeyError::Sign)?;
        Ok(SecretText::new(join(&signed, &signature)))
    }
}

fn read_pair(pem: &[u8]) -> Result<KeyPair, KeyError> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        KeyError::Malformed("it must hold a PRIVATE KEY in PEM that is not encrypted")
    })?;
    let pair = match &key {
        PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(KeyError::Malformed("its private key is not an RSA key")),
    };
    let pair = pair.map_err(|_| KeyError::Malformed("its private key is not an RSA key"))?;
    if pair.public_modulus_len() < MIN_MODULUS {
        return Err(KeyError::Malformed(
            "its private key has fewer than 2048 bits",
        ));
    }
    Ok(pair)
}

/// Whether a certificate is about this key.
fn is_of(der: &CertificateDer<'_>, pair: &KeyPair) -> bool {
    let Ok(certificate) = Certificate::from_der(der) else {
        return false;
    };
    let public = &certificate.tbs_certificate.subject_public_key_info;
    public.subject_public_key.as_bytes() == Some(pair.public_key().as_ref())
}

fn not_after(der: &CertificateDer<'_>) -> Result<Timestamp, KeyError> {
    let malformed = KeyError::Malformed("its certificate's dates are no dates");
    let certificate = Certificate::from_der(der).map_err(|_| malformed)?;
    let end = certificate.tbs_certificate.validity.not_after;
    let end = SignedDuration::try_from(end.to_unix_duration());
    end.ok()
        .and_then(|end| Timestamp::from_duration(end).ok())
        .ok_or(KeyError::Malformed("its certificate's dates are no dates"))
}
