//! Our own client as a service principal: by secret, by certificate, and by the word of another issuer.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;

use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::Fixture;
use dayfly_client::{
    Client, Credential, Error, FederatedToken, PrincipalCredential, PrincipalProof,
};
use dayfly_keys::certificate_key::CertificateKey;
use dayfly_keys::client_assertion::public_key_from_pem;
use dayfly_pool_service::ops::principals;
use dayfly_pool_service::rules::principal::Trust;
use dayfly_pool_service::store::Store;
use dayfly_wire::secret::SecretText;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use std::path::Path;
use uuid::Uuid;

const AUDIENCE: &str = "api://AzureADTokenExchange";
const SUBJECT: &str = "system:serviceaccount:dayfly-system:dayfly-operator";

fn store(fixture: &Fixture) -> &Store {
    &fixture.service.service().store
}

fn now(fixture: &Fixture) -> Timestamp {
    fixture.service.service().now()
}

async fn principal(fixture: &Fixture, scopes: &str) -> Uuid {
    let scopes = scopes.parse().unwrap();
    let made = principals::create(store(fixture), "operator", &scopes, now(fixture));
    made.await.unwrap().id
}

fn client(fixture: &Fixture, client_id: Uuid, proof: PrincipalProof) -> Client {
    let origin = fixture.service.url().strip_suffix("/default").unwrap();
    let tenant = fixture.service.service().keys.instance;
    let credential = Credential::Principal(PrincipalCredential {
        token_url: format!("{origin}/{tenant}/oauth2/v2.0/token"),
        client_id,
        proof,
    });
    common::client(fixture.service.url(), credential)
}

fn tokens_given(fixture: &Fixture) -> u64 {
    fixture.service.service().metrics.tokens_issued.get()
}

#[tokio::test]
async fn a_client_with_a_secret_asks_for_one_token_and_is_told_when_the_secret_ends() {
    let fixture = Fixture::with_manual_clock().await;
    let id = principal(&fixture, "agentpools_manage").await;
    let begun = now(&fixture);
    let life = Some(SignedDuration::from_hours(48));
    let secret = principals::add_secret(store(&fixture), "operator", life, begun).await;
    let secret = secret.unwrap();
    let operator = client(&fixture, id, PrincipalProof::Secret(secret.duplicate()));
    let (pools, found) = tokio::join!(operator.pools(), operator.find_pool("linux"));
    assert_eq!((pools.unwrap().len(), found.unwrap().is_some()), (1, true));
    assert_eq!(tokens_given(&fixture), 1, "callers share it");
    let standing = operator.credential_standing().await.unwrap().unwrap();
    let end = begun + SignedDuration::from_hours(48);
    let told = standing.expires_at.map(Timestamp::as_second);
    assert_eq!(told, Some(end.as_second()));
    assert!(standing.manages_pools());

    let wrong = client(&fixture, id, PrincipalProof::Secret("canary-secret".into()));
    let error = wrong.pools().await.unwrap_err();
    assert!(matches!(error, Error::CredentialRefused(_)), "{error}");
    assert!(error.is_credential_rejected() && !error.is_retryable());
    assert!(!format!("{error} {error:?}").contains("canary"));

    // The token ends with the principal: the client asks for another, once, and says why there is none.
    principals::revoke(store(&fixture), "operator", now(&fixture))
        .await
        .unwrap();
    let error = operator.pools().await.unwrap_err();
    assert!(matches!(error, Error::CredentialRefused(_)), "{error}");
}

/// A private key and its certificate, in PEM.
fn certified() -> (String, String) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["operator".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2031, 2, 3);
    let certificate = parameters.self_signed(&key).unwrap().pem();
    (key.serialize_pem(), certificate)
}

#[tokio::test]
async fn a_client_signs_with_the_key_of_its_certificate() {
    let fixture = Fixture::start().await;
    let id = principal(&fixture, "agentpools").await;
    let (key, certificate) = certified();
    let registered = certificate.as_bytes();
    principals::add_key(store(&fixture), "operator", registered, None, now(&fixture))
        .await
        .unwrap();
    let (_, another) = certified();
    // The order does not matter, and certificates above it may be there.
    for pem in [
        format!("{key}{certificate}"),
        format!("{another}{certificate}{key}"),
    ] {
        let read = CertificateKey::from_pem(&pem.as_str().into()).unwrap();
        assert_eq!(read.not_after().to_string(), "2031-02-03T00:00:00Z");
        let proof = PrincipalProof::Certificate(Box::new(read));
        assert_eq!(client(&fixture, id, proof).pools().await.unwrap().len(), 1);
    }
    // The header names the certificate, as Entra ID wants it.
    let read = CertificateKey::from_pem(&format!("{key}{certificate}").into()).unwrap();
    let assertion = read.sign_assertion(id, "a", Uuid::new_v4(), now(&fixture));
    let header = jsonwebtoken::decode_header(assertion.unwrap().expose()).unwrap();
    assert_eq!(header.alg, Algorithm::PS256);
    let sent = STANDARD.decode(&header.x5c.unwrap()[0]).unwrap();
    let body: String = certificate
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    assert!(sent == STANDARD.decode(body).unwrap());
    assert_eq!(header.x5t_s256.unwrap().len(), 43);

    for (pem, words) in [
        (certificate.clone(), "PRIVATE KEY"),
        (key.clone(), "CERTIFICATE"),
        (format!("{key}{another}"), "CERTIFICATE of its private key"),
        ("nonsense".to_owned(), "PRIVATE KEY"),
    ] {
        let error = CertificateKey::from_pem(&pem.as_str().into())
            .err()
            .unwrap();
        assert!(error.to_string().contains(words), "{error} ({words})");
    }
    let (stranger, its_own) = certified();
    let read = CertificateKey::from_pem(&format!("{stranger}{its_own}").into()).unwrap();
    let proof = PrincipalProof::Certificate(Box::new(read));
    let error = client(&fixture, id, proof).pools().await.unwrap_err();
    assert!(matches!(error, Error::CredentialRefused(_)), "{error}");
}

/// A cluster, as far as its tokens go: an issuer with a discovery document and a key set.
struct Cluster {
    url: String,
    key: EncodingKey,
}

impl Cluster {
    async fn start() -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let public = public_key_from_pem(pair.public_key_pem().as_bytes()).unwrap();
        let public = public.to_wire();
        let url_safe = |text: &str| URL_SAFE_NO_PAD.encode(STANDARD.decode(text).unwrap());
        let keys = json!({"keys": [{
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one",
            "n": url_safe(&public.modulus), "e": url_safe(&public.exponent),
        }]});
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let discovery = json!({"issuer": url, "jwks_uri": format!("{url}/openid/v1/jwks")});
        let router = Router::new()
            .route(
                "/.well-known/openid-configuration",
                get(move || async move { discovery.to_string() }),
            )
            .route(
                "/openid/v1/jwks",
                get(move || async move { keys.to_string() }),
            );
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            url,
            key: EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap(),
        }
    }

    /// A service-account token as the kubelet projects it.
    fn project(&self, file: &Path, audience: &str, end: Timestamp) {
        let claims = json!({
            "iss": self.url, "sub": SUBJECT, "aud": [audience], "exp": end.as_second(),
        });
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some("one".to_owned());
        let token = jsonwebtoken::encode(&header, &claims, &self.key).unwrap();
        std::fs::write(file, token).unwrap();
    }
}

#[tokio::test]
async fn a_client_shows_its_clusters_token_which_is_read_anew_and_sent_to_nobody_else() {
    let fixture = Fixture::start().await;
    let cluster = Cluster::start().await;
    let id = principal(&fixture, "agentpools").await;
    let trust = Trust {
        issuer: cluster.url.clone(),
        subject: SUBJECT.to_owned(),
        audience: AUDIENCE.to_owned(),
        ca_bundle: None,
        allow_http: true,
    };
    principals::add_trust(store(&fixture), "operator", trust, now(&fixture))
        .await
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let operator = || {
        let proof = PrincipalProof::Federated(FederatedToken {
            file: file.clone(),
            audience: AUDIENCE.to_owned(),
        });
        client(&fixture, id, proof)
    };
    let waiting = operator();
    let error = waiting.pools().await.unwrap_err();
    assert!(matches!(error, Error::CredentialUnavailable(_)), "{error}");

    let later = now(&fixture) + SignedDuration::from_hours(1);
    cluster.project(&file, AUDIENCE, later);
    assert_eq!(waiting.pools().await.unwrap().len(), 1, "the file came");

    // The token that is for the API server would be good there: it stays here.
    cluster.project(&file, "https://kubernetes.default.svc", later);
    let before = fixture.service.service().metrics.tokens_refused.get();
    let error = operator().pools().await.unwrap_err();
    assert!(error.to_string().contains("it was not sent"), "{error}");
    let after = fixture.service.service().metrics.tokens_refused.get();
    assert_eq!(before, after, "nothing was sent");

    cluster.project(
        &file,
        AUDIENCE,
        now(&fixture) - SignedDuration::from_hours(1),
    );
    let error = operator().pools().await.unwrap_err();
    assert!(matches!(error, Error::CredentialRefused(_)), "{error}");
}

#[tokio::test]
async fn an_expired_and_a_revoked_token_are_rejected_and_a_good_one_is_told_its_end_and_role() {
    let fixture = Fixture::with_manual_clock().await;
    let begun = now(&fixture);
    let day = Some(SignedDuration::from_hours(24));
    let service = &fixture.service;
    let pat = |name, scopes, life| service.pat_named(name, scopes, life);
    let with = |pat: &SecretText| common::client(service.url(), Credential::Pat(pat.duplicate()));
    let short = with(&pat("short", "agentpools_manage", day).await.unwrap());
    let long = with(&pat("long", "agentpools", None).await.unwrap());
    let told = short.credential_standing().await.unwrap().unwrap();
    let end = begun + SignedDuration::from_hours(24);
    assert_eq!(
        told.expires_at.map(Timestamp::as_second),
        Some(end.as_second())
    );
    assert!(told.manages_pools() && short.manages_pool("linux").await.unwrap());
    let told = long.credential_standing().await.unwrap().unwrap();
    assert_eq!((told.expires_at, told.manages_pools()), (None, false));
    let agent = fixture.register("one").await;
    let error = agent.client.credential_standing().await.unwrap_err();
    assert!(matches!(error, Error::Forbidden(_)), "an agent: {error}");

    service
        .advance(SignedDuration::from_hours(24))
        .await
        .unwrap();
    assert!(short.pools().await.unwrap_err().is_credential_rejected());
    assert!(long.pools().await.is_ok());
    service.revoke("long").await.unwrap();
    assert!(long.pools().await.unwrap_err().is_credential_rejected());
}
