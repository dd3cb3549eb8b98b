//! The service's tokens, personal access tokens, service-account tokens and the stock of keys.

#![allow(clippy::unwrap_used)] // The fixtures below are outside of test functions.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dayfly_keys::cluster_token::{ClusterKeys, ClusterTokenError};
use dayfly_keys::id_token::IdTokenKey;
use dayfly_keys::pat;
use dayfly_keys::service_token::{Purpose, TokenError, TokenKey, TokenKeys, claimed_typ};
use dayfly_keys::stock::KeyStock;
use jiff::Timestamp;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use std::time::Duration;

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

const LISTEN: Purpose<'static> = Purpose {
    typ: "listen",
    audience: "queue",
};

#[test]
fn a_service_token_is_good_for_its_kind_its_audience_its_key_and_its_time() {
    let key = TokenKey::generate();
    let restored = || TokenKey::from_bytes(key.kid(), key.to_bytes().to_vec());
    let keys = TokenKeys::new(vec![restored()]).unwrap();
    let exp = now().as_second() + 60;
    let claims = serde_json::json!({ "exp": exp, "agent": 5 });
    let token = keys.issue(&LISTEN, &claims).unwrap();
    assert_eq!(claimed_typ(token.expose()).as_deref(), Some("listen"));
    let read: serde_json::Value = keys.verify(&LISTEN, token.expose(), now()).unwrap();
    assert_eq!(read["agent"], 5);
    let verify = |keys: &TokenKeys, purpose: &Purpose<'_>, at: i64| {
        let at = Timestamp::from_second(at).unwrap();
        keys.verify::<serde_json::Value>(purpose, token.expose(), at)
            .err()
    };
    let job = Purpose {
        typ: "job",
        ..LISTEN
    };
    let elsewhere = Purpose {
        audience: "elsewhere",
        ..LISTEN
    };
    assert_eq!(verify(&keys, &job, exp - 1), Some(TokenError::Kind));
    assert_eq!(
        verify(&keys, &elsewhere, exp - 1),
        Some(TokenError::Audience)
    );
    assert_eq!(verify(&keys, &LISTEN, exp), Some(TokenError::Expired));
    assert_eq!(verify(&keys, &LISTEN, exp - 1), None);

    let rotated = TokenKeys::new(vec![restored(), TokenKey::generate()]).unwrap();
    assert_eq!(verify(&rotated, &LISTEN, exp - 1), None);
    let newer = rotated.issue(&LISTEN, &claims).unwrap();
    let unknown = keys.verify::<serde_json::Value>(&LISTEN, newer.expose(), now());
    assert_eq!(unknown.err(), Some(TokenError::UnknownKey));
    let same_name = TokenKey::from_bytes(key.kid(), vec![0; 32]);
    let others = TokenKeys::new(vec![same_name]).unwrap();
    assert_eq!(
        verify(&others, &LISTEN, exp - 1),
        Some(TokenError::Signature)
    );
    assert!(TokenKeys::new(Vec::new()).is_none());
}

#[test]
fn a_changed_type_does_not_make_a_token_one_of_another_kind() {
    let keys = TokenKeys::new(vec![TokenKey::generate()]).unwrap();
    let claims = serde_json::json!({ "exp": now().as_second() + 60 });
    let token = keys.issue(&LISTEN, &claims).unwrap();
    let (header, rest) = token.expose().split_once('.').unwrap();
    let header = String::from_utf8(URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let header = header.replace("\"listen\"", "\"job\"");
    let forged = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
    let job = Purpose {
        typ: "job",
        ..LISTEN
    };
    let refused = keys.verify::<serde_json::Value>(&job, &forged, now());
    assert_eq!(refused.err(), Some(TokenError::Signature));
}

#[test]
fn an_identity_token_is_verified_with_the_published_key() {
    let key = IdTokenKey::generate().unwrap();
    let restored = IdTokenKey::from_pkcs8(key.kid(), &key.to_pkcs8().unwrap()).unwrap();
    let claims = serde_json::json!({ "iss": "us", "aud": "them", "exp": 4_000_000_000_i64 });
    let token = restored.issue(&claims).unwrap();
    let jwk: Jwk = serde_json::from_value(key.to_jwk()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(Algorithm::RS256);
    validation.set_audience(&["them"]);
    validation.set_issuer(&["us"]);
    let decoding = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
    let read = jsonwebtoken::decode::<serde_json::Value>(token.expose(), &decoding, &validation);
    let read = read.unwrap();
    assert_eq!(read.header.kid.as_deref(), Some(key.kid()));
    assert_eq!(read.claims, claims);
}

#[test]
fn personal_access_tokens_are_random_and_stored_hashed() {
    let (one, two) = (pat::generate(), pat::generate());
    assert_ne!(one.expose(), two.expose());
    assert_eq!(one.expose().len(), 52);
    assert_eq!(pat::hash("abc").len(), 64);
    assert!(
        pat::hash("abc").starts_with("ba7816bf"),
        "SHA-256 of FIPS 180-2"
    );
}

/// A cluster with one key: what the API server would sign, and its key set.
fn cluster() -> (EncodingKey, ClusterKeys) {
    let pem = include_bytes!("vectors/cluster-key.pem");
    let signing = EncodingKey::from_ec_pem(pem).unwrap();
    let mut jwk = Jwk::from_encoding_key(&signing, Algorithm::ES256).unwrap();
    jwk.common.key_id = Some("k1".to_owned());
    let set = serde_json::to_string(&JwkSet { keys: vec![jwk] }).unwrap();
    (signing, ClusterKeys::from_jwks(&set).unwrap())
}

fn pod_token(
    signing: &EncodingKey,
    kid: &str,
    change: impl FnOnce(&mut serde_json::Value),
) -> String {
    let mut claims = serde_json::json!({
        "aud": ["dayfly"], "exp": now().as_second() + 600, "nbf": now().as_second(),
        "iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:ci:default",
        "kubernetes.io": {
            "namespace": "ci",
            "pod": { "name": "linux-abc", "uid": "uid-1" },
            "serviceaccount": { "name": "default", "uid": "uid-2" },
        },
    });
    change(&mut claims);
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(kid.to_owned());
    jsonwebtoken::encode(&header, &claims, signing).unwrap()
}

#[test]
fn a_pod_s_token_says_which_pod_and_everything_else_is_refused() {
    let (signing, keys) = cluster();
    let token = pod_token(&signing, "k1", |_| {});
    let claims = keys.verify(&token, "dayfly", now()).unwrap();
    assert_eq!(
        (claims.namespace.as_str(), claims.pod_name.as_str()),
        ("ci", "linux-abc")
    );
    assert_eq!(
        (claims.pod_uid.as_str(), claims.service_account.as_str()),
        ("uid-1", "default")
    );

    let refused = |token: &str| keys.verify(token, "dayfly", now()).err();
    let changed = |change: fn(&mut serde_json::Value)| pod_token(&signing, "k1", change);
    assert_eq!(
        refused(&changed(|claims| claims["aud"] = "api".into())),
        Some(ClusterTokenError::Audience)
    );
    assert_eq!(
        refused(&changed(|claims| claims["exp"] = 1.into())),
        Some(ClusterTokenError::Expired)
    );
    assert_eq!(
        refused(&changed(
            |claims| claims["kubernetes.io"]["pod"] = serde_json::Value::Null
        )),
        Some(ClusterTokenError::NotBound)
    );
    assert_eq!(
        refused(&pod_token(&signing, "k2", |_| {})),
        Some(ClusterTokenError::UnknownKey)
    );
    let mut forged = token.clone();
    forged.truncate(token.len() - 4);
    assert_eq!(
        refused(&format!("{forged}AAAA")),
        Some(ClusterTokenError::Signature)
    );
    assert_eq!(
        refused(&"x".repeat(9000)),
        Some(ClusterTokenError::Signature)
    );
    let hmac = jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &serde_json::json!({}),
        &EncodingKey::from_secret(b"x"),
    );
    assert_eq!(refused(&hmac.unwrap()), Some(ClusterTokenError::Signature));
}

#[tokio::test]
async fn the_stock_fills_gives_and_never_makes_anyone_wait_for_ever() {
    let stock = KeyStock::start(1);
    let filled = async {
        while stock.depth() < 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), filled)
        .await
        .expect("a key in stock");
    let (one, two) = (stock.take().await.unwrap(), stock.take().await.unwrap());
    assert_ne!(one.public(), two.public());
}
