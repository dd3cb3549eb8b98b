//! An agent's key against OpenSSL's vectors and the `rsa` crate.

#![allow(clippy::unwrap_used)] // The fixtures below are outside of test functions.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use dayfly_keys::KeyError;
use dayfly_keys::agent_key::AgentKey;
use dayfly_keys::assertion::{AssertionError, claimed_client};
use dayfly_keys::public_key::{Padding, PublicKey};
use dayfly_keys::session_key::SessionKey;
use dayfly_wire::agent::AgentPublicKey;
use dayfly_wire::ids::ClientId;
use dayfly_wire::session::EncryptionKey;
use jiff::{SignedDuration, Timestamp};
use rsa::pkcs1v15::{Signature, VerifyingKey};
use rsa::pkcs8::DecodePrivateKey;
use rsa::signature::Verifier;
use rsa::traits::PublicKeyParts;
use rsa::{Oaep, RsaPrivateKey};
use uuid::Uuid;

const DER: &[u8] = include_bytes!("vectors/agent-key.pkcs8.der");
const SESSION_KEY: &[u8] = b"0123456789abcdef0123456789ABCDEF";
const AUDIENCE: &str = "https://vssps.example.test/org/_apis/oauth2/token";

fn key() -> AgentKey {
    AgentKey::from_pkcs8(DER).unwrap()
}

fn oracle() -> RsaPrivateKey {
    RsaPrivateKey::from_pkcs8_der(DER).unwrap()
}

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn client() -> ClientId {
    ClientId(Uuid::from_u128(7))
}

fn assertion(at: Timestamp) -> String {
    key()
        .sign_assertion(client(), AUDIENCE, Uuid::from_u128(9), at)
        .unwrap()
        .expose()
        .to_owned()
}

#[test]
fn the_public_half_has_openssl_s_modulus_and_travels_unchanged() {
    let wire = key().public().to_wire();
    assert_eq!(wire.modulus, include_str!("vectors/agent-key.modulus.b64"));
    assert_eq!(wire.exponent, "AQAB");
    assert_eq!(PublicKey::from_wire(&wire).unwrap(), key().public());
}

#[test]
fn a_key_survives_being_stored() {
    let stored = key().to_base64().unwrap();
    assert_eq!(
        AgentKey::from_base64(&stored).unwrap().public(),
        key().public()
    );
}

#[test]
fn the_assertion_has_the_claims_and_a_signature_that_another_library_accepts() {
    let token = assertion(now());
    let parts: Vec<&str> = token.split('.').collect();
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&decode(parts[0])).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&decode(parts[1])).unwrap();
    assert_eq!(header, serde_json::json!({ "typ": "JWT", "alg": "RS256" }));
    assert_eq!(
        claims,
        serde_json::json!({
            "sub": client(), "iss": client(), "aud": AUDIENCE, "jti": Uuid::from_u128(9),
            "nbf": now().as_second(), "exp": now().as_second() + 300,
        })
    );
    let verifying = VerifyingKey::<sha2::Sha256>::new(oracle().to_public_key());
    let signed = format!("{}.{}", parts[0], parts[1]);
    let signature = Signature::try_from(decode(parts[2]).as_slice()).unwrap();
    verifying.verify(signed.as_bytes(), &signature).unwrap();
}

#[test]
fn the_service_accepts_it_within_the_tolerance_of_the_clocks_only() {
    let public = key().public();
    for (offset, expected) in [
        (0, Ok(())),
        (-299, Ok(())),
        (599, Ok(())),
        (-301, Err(AssertionError::NotYetValid { from: now() })),
        (
            601,
            Err(AssertionError::Expired {
                at: now() + SignedDuration::from_secs(300),
            }),
        ),
    ] {
        let at = now() + SignedDuration::from_secs(offset);
        let checked = public.verify_assertion(&assertion(now()), AUDIENCE, at);
        assert_eq!(checked.map(|_| ()), expected, "{offset} s");
    }
}

#[test]
fn the_service_refuses_another_audience_another_key_and_a_changed_claim() {
    let public = key().public();
    let token = assertion(now());
    assert_eq!(claimed_client(&token), Some(client()));
    assert!(
        public
            .verify_assertion(&token, &AUDIENCE.to_uppercase(), now())
            .is_ok()
    );
    assert_eq!(
        public.verify_assertion(&token, "https://elsewhere.test", now()),
        Err(AssertionError::Audience)
    );
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(&parts[1]).unwrap()).unwrap();
    parts[1] = URL_SAFE_NO_PAD.encode(claims.replace("0007", "0008"));
    assert_eq!(
        public.verify_assertion(&parts.join("."), AUDIENCE, now()),
        Err(AssertionError::Signature)
    );
    let unsigned = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        parts[1]
    );
    assert_eq!(
        public.verify_assertion(&unsigned, AUDIENCE, now()),
        Err(AssertionError::Signature)
    );
}

#[test]
fn session_keys_that_openssl_wrapped_unwrap_with_both_paddings() {
    for (value, padding) in [
        (include_str!("vectors/session-key.oaep-sha1.b64"), None),
        (
            include_str!("vectors/session-key.oaep-sha256.b64"),
            Some("OaepSHA256".to_owned()),
        ),
    ] {
        let wrapped = EncryptionKey {
            encrypted: true,
            value: value.to_owned(),
            encryption_padding: padding,
        };
        assert_eq!(
            key().unwrap_session_key(&wrapped).unwrap().as_bytes(),
            SESSION_KEY
        );
    }
}

#[test]
fn what_we_wrap_another_library_unwraps_and_the_wrong_padding_fails() {
    let session = SessionKey::from_bytes(SESSION_KEY).unwrap();
    for (padding, scheme) in [
        (Padding::OaepSha1, Oaep::new::<sha1::Sha1>()),
        (Padding::OaepSha256, Oaep::new::<sha2::Sha256>()),
    ] {
        let mut wrapped = key().public().wrap_session_key(&session, padding).unwrap();
        let bytes = STANDARD.decode(&wrapped.value).unwrap();
        assert_eq!(bytes.len(), oracle().size());
        assert_eq!(oracle().decrypt(scheme, &bytes).unwrap(), SESSION_KEY);
        assert_eq!(
            key().unwrap_session_key(&wrapped).unwrap().as_bytes(),
            SESSION_KEY
        );
        wrapped.encryption_padding = match padding {
            Padding::OaepSha1 => Some("OaepSHA256".to_owned()),
            Padding::OaepSha256 => None,
        };
        assert_eq!(
            key().unwrap_session_key(&wrapped).err(),
            Some(KeyError::Decrypt)
        );
    }
}

#[test]
fn messages_that_openssl_encrypted_decrypt_and_changed_ones_do_not() {
    let session = SessionKey::from_bytes(SESSION_KEY).unwrap();
    let iv = STANDARD.encode((0_u8..16).collect::<Vec<_>>());
    let body = include_str!("vectors/message.aes256cbc.b64");
    let plain = session.decrypt(&iv, body).unwrap();
    assert!(plain.starts_with(br#"{"jobId":"33333333"#));
    let other = SessionKey::generate().decrypt(&iv, body);
    assert!(other.is_err() || other.unwrap() != plain);
    assert!(session.decrypt(&iv, "AAAA").is_err());
    assert!(session.decrypt("AAAA", body).is_err());
}

#[test]
fn a_message_survives_the_way_and_no_two_look_alike() {
    let session = SessionKey::generate();
    let first = session.encrypt("{\"straße\":1}".as_bytes()).unwrap();
    let second = session.encrypt("{\"straße\":1}".as_bytes()).unwrap();
    assert_ne!(first, second);
    assert_eq!(
        session.decrypt(&first.0, &first.1).unwrap().as_slice(),
        "{\"straße\":1}".as_bytes()
    );
}

#[test]
fn public_keys_that_are_none_are_refused() {
    let good = key().public().to_wire();
    for (modulus, exponent) in [
        ("AQAB", good.exponent.as_str()),
        ("not base64!", good.exponent.as_str()),
        (good.modulus.as_str(), "AA=="),
        (good.modulus.as_str(), "Ag=="),
    ] {
        let key = AgentPublicKey {
            modulus: modulus.to_owned(),
            exponent: exponent.to_owned(),
        };
        assert!(
            PublicKey::from_wire(&key).is_err(),
            "{modulus:.10} {exponent}"
        );
    }
}
