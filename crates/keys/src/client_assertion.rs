//! What a service principal signs to prove itself (RFC 7523), and what another issuer signs for it.

use crate::KeyError;
pub use crate::assertion::AssertionError;
use crate::assertion::CLOCK_TOLERANCE_SECONDS;
use crate::cluster_token::{ClusterKeys, ClusterTokenError, OneOrMany};
use crate::encoding::from_base64_url;
use crate::public_key::{PublicKey, signature_only};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey};
use rsa::RsaPublicKey;
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use serde::Deserialize;
use webpki::EndEntityCert;

/// The longest assertion that is looked at, in bytes.
const MAX_ASSERTION: usize = 16 * 1024;
/// The longest `jti`.
const MAX_JTI: usize = 128;
/// The longest time that an assertion may live, in seconds.
const MAX_LIFETIME_SECONDS: i64 = 24 * 3600;

/// What a checked assertion says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAssertion {
    /// Unique per assertion.
    pub jti: String,
    /// When it ends.
    pub expires: Timestamp,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    jti: String,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
}

/// Reads the public key of an RSA certificate, or an RSA public key, from PEM.
pub fn public_key_from_pem(pem: &[u8]) -> Result<PublicKey, KeyError> {
    let spki = match CertificateDer::from_pem_slice(pem) {
        Ok(certificate) => EndEntityCert::try_from(&certificate)
            .map_err(|_| KeyError::Malformed("not an X.509 certificate"))?
            .subject_public_key_info()
            .to_vec(),
        Err(_) => SubjectPublicKeyInfoDer::from_pem_slice(pem)
            .map_err(|_| KeyError::Malformed("neither CERTIFICATE nor PUBLIC KEY in PEM"))?
            .to_vec(),
    };
    let key = RsaPublicKey::from_public_key_der(&spki)
        .map_err(|_| KeyError::Malformed("not an RSA public key"))?;
    let key = PublicKey::from_numbers(&key.n().to_bytes_be(), &key.e().to_bytes_be());
    // The registration's form refuses what is too short or too long.
    PublicKey::from_wire(&key.to_wire())
}

/// Checks an assertion that a client signed itself, against each of its keys. Whether its `jti` was seen before is the
/// caller's to know.
pub fn verify(
    keys: &[PublicKey],
    token: &str,
    client: &str,
    audiences: &[String],
    now: Timestamp,
) -> Result<ClientAssertion, AssertionError> {
    if token.len() > MAX_ASSERTION {
        return Err(AssertionError::Signature);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| AssertionError::Signature)?;
    if !matches!(header.alg, Algorithm::RS256 | Algorithm::PS256) {
        return Err(AssertionError::Signature);
    }
    let claims = keys.iter().find_map(|key| {
        let (modulus, exponent) = key.numbers();
        let key = DecodingKey::from_rsa_raw_components(modulus, exponent);
        jsonwebtoken::decode::<Claims>(token, &key, &signature_only(header.alg)).ok()
    });
    let claims = claims.ok_or(AssertionError::Signature)?.claims;
    check(claims, client, audiences, now)
}

fn check(
    claims: Claims,
    client: &str,
    audiences: &[String],
    now: Timestamp,
) -> Result<ClientAssertion, AssertionError> {
    let date = |seconds| Timestamp::from_second(seconds).map_err(|_| AssertionError::Lifetime);
    let (from, until) = (date(claims.nbf.unwrap_or(0))?, date(claims.exp)?);
    let is_own = |name: &str| name.eq_ignore_ascii_case(client);
    if !is_own(&claims.iss) || !is_own(&claims.sub) {
        return Err(AssertionError::Subject);
    }
    let meant = |audience: &String| audience.eq_ignore_ascii_case(&claims.aud);
    if !audiences.iter().any(meant) {
        return Err(AssertionError::Audience);
    }
    if !(1..=MAX_JTI).contains(&claims.jti.len()) {
        return Err(AssertionError::Lifetime);
    }
    if now.as_second() > claims.exp.saturating_add(CLOCK_TOLERANCE_SECONDS) {
        return Err(AssertionError::Expired { at: until });
    }
    if claims
        .nbf
        .is_some_and(|nbf| now.as_second() < nbf.saturating_sub(CLOCK_TOLERANCE_SECONDS))
    {
        return Err(AssertionError::NotYetValid { from });
    }
    if claims.exp.saturating_sub(now.as_second()) > MAX_LIFETIME_SECONDS {
        return Err(AssertionError::Lifetime);
    }
    Ok(ClientAssertion {
        jti: claims.jti,
        expires: until,
    })
}

/// Who an assertion says issued it, unchecked: good for looking up the keys to check it with, and nothing else.
pub fn claimed_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Issued {
        iss: String,
    }
    if token.len() > MAX_ASSERTION {
        return None;
    }
    let payload = from_base64_url(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Issued>(&payload)
        .ok()
        .map(|issued| issued.iss)
}

/// Whom an assertion says that it is for, unchecked: good for not sending it to anybody else, and nothing else.
pub fn claimed_audiences(token: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Meant {
        aud: OneOrMany,
    }
    if token.len() > MAX_ASSERTION {
        return Vec::new();
    }
    let payload = token.split('.').nth(1).map(from_base64_url);
    let meant = payload.and_then(|payload| serde_json::from_slice::<Meant>(&payload.ok()?).ok());
    match meant.map(|meant| meant.aud) {
        Some(OneOrMany::One(one)) => vec![one],
        Some(OneOrMany::Many(many)) => many,
        None => Vec::new(),
    }
}

impl ClusterKeys {
    /// Checks what another issuer says about one subject: signature, issuer, subject, audience and time.
    pub fn verify_subject(
        &self,
        token: &str,
        issuer: &str,
        subject: &str,
        audience: &str,
        now: Timestamp,
    ) -> Result<(), ClusterTokenError> {
        let said = self.statement(token, audience, now)?;
        if said.iss.as_deref() == Some(issuer) && said.sub.as_deref() == Some(subject) {
            Ok(())
        } else {
            Err(ClusterTokenError::Subject)
        }
    }
}
