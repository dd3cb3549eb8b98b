//! Service principals: how they prove themselves, and what ends their tokens.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;

use axum::Router;
use axum::routing::get;
use common::{Fixture, HOLD, Taken, call_at};
use dayfly_pool_service::ops::principals;
use dayfly_pool_service::rules::principal::{RESOURCE, Trust};
use dayfly_pool_service::store::Store;
use dayfly_pool_service::testing::PoolHandle;
use dayfly_pool_service::tls::Certificates;
use dayfly_wire::queue::QueuedJob;
use dayfly_wire::secret::SecretText;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use uuid::Uuid;

const SCOPES: &str = "agentpools_manage";

fn store(fixture: &Fixture) -> &Store {
    &fixture.service.service().store
}

fn now(fixture: &Fixture) -> Timestamp {
    fixture.service.service().now()
}

async fn principal(fixture: &Fixture, name: &str) -> Uuid {
    let scopes = SCOPES.parse().unwrap();
    let made = principals::create(store(fixture), name, &scopes, now(fixture)).await;
    made.unwrap().id
}

/// Asks at the token endpoint of a tenant, as the libraries of Entra ID do.
async fn ask_at(fixture: &Fixture, tenant: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let origin = fixture.service.url().strip_suffix("/default").unwrap();
    let url = format!("{origin}/{tenant}/oauth2/v2.0/token");
    let scope = format!("{RESOURCE}/.default");
    let mut all = vec![("grant_type", "client_credentials"), ("scope", &scope)];
    all.extend(form);
    let client = common::http().post(url).form(&all);
    let response = client.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

async fn ask(fixture: &Fixture, form: &[(&str, &str)]) -> (u16, Value) {
    ask_at(fixture, "default", form).await
}

async fn by_secret(fixture: &Fixture, client: Uuid, secret: &str) -> (u16, Value) {
    let client = client.to_string();
    ask(
        fixture,
        &[("client_id", &client), ("client_secret", secret)],
    )
    .await
}

async fn by_assertion(fixture: &Fixture, client: Uuid, assertion: &str) -> (u16, Value) {
    let form = [
        ("client_id", client.to_string()),
        (
            "client_assertion_type",
            dayfly_wire::token::JWT_BEARER.to_owned(),
        ),
        ("client_assertion", assertion.to_owned()),
    ];
    let form: Vec<_> = form
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    ask(fixture, &form).await
}

fn token(answer: &(u16, Value)) -> SecretText {
    assert_eq!(answer.0, 200, "{}", answer.1);
    answer.1["access_token"].as_str().unwrap().into()
}

async fn pools(fixture: &Fixture, token: &SecretText) -> u16 {
    let path = "/_apis/distributedtask/pools";
    fixture.call("GET", path, Some(token), None).await.status
}

#[tokio::test]
async fn a_principal_gets_a_token_for_its_secret_which_ends_with_the_secret_or_the_principal() {
    let fixture = Fixture::with_manual_clock().await;
    let client = principal(&fixture, "operator").await;
    let life = Some(SignedDuration::from_hours(24));
    let secret = principals::add_secret(store(&fixture), "operator", life, now(&fixture)).await;
    let secret = secret.unwrap();
    let answer = by_secret(&fixture, client, secret.expose()).await;
    assert_eq!(answer.1["token_type"], "Bearer");
    assert_eq!(answer.1["expires_in"], 3600);
    let first = token(&answer);
    assert_eq!(pools(&fixture, &first).await, 200);
    let jobs = fixture
        .call("GET", "/demo/_apis/dayfly/jobs/1", Some(&first), None)
        .await;
    assert_eq!(jobs.status, 403, "its scopes bound it");
    let as_password = dayfly_client::Credential::Pat(first.duplicate());
    let as_password = common::client(fixture.service.url(), as_password);
    assert!(as_password.find_pool("linux").await.unwrap().is_some());

    // Every form of the endpoint.
    let instance = fixture.service.service().keys.instance.to_string();
    let id = client.to_string();
    let form = [
        ("client_id", id.as_str()),
        ("client_secret", secret.expose()),
    ];
    assert_eq!(ask_at(&fixture, &instance, &form).await.0, 200);
    assert_eq!(ask_at(&fixture, "default/default", &form).await.0, 200);
    let (status, answer) = ask_at(&fixture, "contoso", &form).await;
    assert_eq!((status, &answer["error"]), (400, &json!("invalid_request")));

    // Another secret goes on when the first one is removed.
    let second = principals::add_secret(store(&fixture), "operator", None, now(&fixture)).await;
    let other = token(&by_secret(&fixture, client, second.unwrap().expose()).await);
    let listed = principals::list(store(&fixture)).await.unwrap();
    let credential = listed[0].1.iter().find(|each| each.expires_at.is_some());
    let credential = credential.unwrap().id;
    assert!(
        principals::remove_credential(store(&fixture), credential)
            .await
            .unwrap()
    );
    assert_eq!(pools(&fixture, &first).await, 401);
    assert_eq!(by_secret(&fixture, client, secret.expose()).await.0, 401);
    assert_eq!(pools(&fixture, &other).await, 200);
    principals::revoke(store(&fixture), "operator", now(&fixture))
        .await
        .unwrap();
    assert_eq!(pools(&fixture, &other).await, 401);

    // An expired secret, and an expired token.
    let client = principal(&fixture, "operator").await;
    let secret = principals::add_secret(store(&fixture), "operator", life, now(&fixture)).await;
    let secret = secret.unwrap();
    let ending = token(&by_secret(&fixture, client, secret.expose()).await);
    fixture
        .service
        .advance(SignedDuration::from_mins(61))
        .await
        .unwrap();
    assert_eq!(pools(&fixture, &ending).await, 401);
    fixture
        .service
        .advance(SignedDuration::from_hours(24))
        .await
        .unwrap();
    assert_eq!(by_secret(&fixture, client, secret.expose()).await.0, 401);
}

#[tokio::test]
async fn whoever_does_not_prove_itself_is_told_the_same_whatever_is_wrong() {
    let fixture = Fixture::start().await;
    let client = principal(&fixture, "operator").await;
    let secret = principals::add_secret(store(&fixture), "operator", None, now(&fixture)).await;
    let secret = secret.unwrap();
    let wrong = by_secret(&fixture, client, "wrong").await;
    assert_eq!(
        (wrong.0, &wrong.1["error"]),
        (401, &json!("invalid_client"))
    );
    assert_eq!(
        wrong,
        by_secret(&fixture, Uuid::new_v4(), secret.expose()).await
    );
    assert_eq!(wrong, by_assertion(&fixture, client, "x.y.z").await);
    assert_eq!(wrong, by_assertion(&fixture, client, "").await);
    principals::revoke(store(&fixture), "operator", now(&fixture))
        .await
        .unwrap();
    assert_eq!(wrong, by_secret(&fixture, client, secret.expose()).await);
    let id = client.to_string();
    let (status, answer) = ask(&fixture, &[("client_id", &id)]).await;
    assert_eq!((status, &answer["error"]), (400, &json!("invalid_request")));
    let url = format!("{}/oauth2/v2.0/token", fixture.service.url());
    let no_form = call_at(&url, "POST", None, Some(json!({}))).await;
    assert_eq!(no_form.status, 400, "{}", no_form.body);
}

/// A private key with a certificate.
struct Signer {
    private: EncodingKey,
    certificate: String,
    public: String,
}

fn signer() -> Signer {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["operator".to_owned()]).unwrap();
    Signer {
        private: EncodingKey::from_rsa_pem(key.serialize_pem().as_bytes()).unwrap(),
        certificate: parameters.self_signed(&key).unwrap().pem(),
        public: key.public_key_pem(),
    }
}

#[tokio::test]
async fn a_principal_signs_with_the_key_of_its_certificate_once_per_assertion() {
    let fixture = Fixture::with_manual_clock().await;
    let (certified, bare, stranger) = (signer(), signer(), signer());
    let client = principal(&fixture, "operator").await;
    for pem in [&certified.certificate, &bare.public] {
        let pem = pem.as_bytes();
        let added = principals::add_key(store(&fixture), "operator", pem, None, now(&fixture));
        added.await.unwrap();
    }
    let origin = fixture.service.url().strip_suffix("/default").unwrap();
    let audience = format!("{origin}/default/oauth2/v2.0/token");
    let sign = |signer: &Signer, algorithm, change: &dyn Fn(&mut Value)| {
        let seconds = now(&fixture).as_second();
        let mut claims = json!({
            "iss": client, "sub": client, "aud": audience, "jti": Uuid::new_v4(),
            "nbf": seconds, "exp": seconds + 300,
        });
        change(&mut claims);
        jsonwebtoken::encode(&Header::new(algorithm), &claims, &signer.private).unwrap()
    };
    let same = |_: &mut Value| {};
    for (signer, algorithm) in [(&certified, Algorithm::PS256), (&bare, Algorithm::RS256)] {
        let answer = by_assertion(&fixture, client, &sign(signer, algorithm, &same)).await;
        assert_eq!(pools(&fixture, &token(&answer)).await, 200);
    }
    let assertion = sign(&certified, Algorithm::RS256, &same);
    let first = token(&by_assertion(&fixture, client, &assertion).await);
    let again = token(&by_assertion(&fixture, client, &assertion).await);
    assert!(
        first.expose() == again.expose(),
        "a retry gets the same token"
    );
    fixture
        .service
        .advance(SignedDuration::from_secs(31))
        .await
        .unwrap();
    let (status, answer) = by_assertion(&fixture, client, &assertion).await;
    assert_eq!((status, &answer["error"]), (401, &json!("invalid_client")));

    let old = now(&fixture).as_second() - 700;
    for (bad, reason) in [
        (sign(&stranger, Algorithm::RS256, &same), "did not prove"),
        (
            sign(&bare, Algorithm::RS256, &|claims| {
                claims["aud"] = json!("elsewhere")
            }),
            "audience",
        ),
        (
            sign(&bare, Algorithm::RS256, &|claims| {
                claims["sub"] = json!(Uuid::new_v4())
            }),
            "did not prove",
        ),
        (
            sign(&bare, Algorithm::RS256, &|claims| {
                claims["nbf"] = json!(old);
                claims["exp"] = json!(old + 300);
            }),
            "Current server time is",
        ),
    ] {
        let (status, answer) = by_assertion(&fixture, client, &bad).await;
        assert_eq!((status, &answer["error"]), (401, &json!("invalid_client")));
        let text = answer["error_description"].as_str().unwrap();
        assert!(text.contains(reason), "{text} ({reason})");
    }
}

/// Another service with TLS, whose jobs' identity tokens are the word of an issuer.
struct Issuer {
    fixture: Fixture,
    ca: String,
    taken: Taken,
}

impl Issuer {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let (certificate, key) = (directory.path().join("c"), directory.path().join("k"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let certificates = Certificates::open(&certificate, &key).unwrap();
        let service = PoolHandle::builder().poll_hold(HOLD).tls(certificates);
        let service = service.start().await.unwrap();
        let fixture = Fixture::with_authority(service, Some(made.cert.pem())).await;
        let agent = fixture.register("one").await;
        let session = agent.open().await;
        let _: QueuedJob = fixture.queue_with(json!({"name": "deploy"})).await;
        let taken = agent.take_job(&session).await;
        Self {
            taken,
            fixture,
            ca: made.cert.pem(),
        }
    }

    /// A token of the issuer about `p://default/demo/deploy`.
    async fn say(&self) -> String {
        let claims = json!({
            "iss": self.fixture.service.url(), "sub": "p://default/demo/deploy", "aud": "pool",
            "exp": now(&self.fixture).as_second() + 600, "job": self.taken.message.job_id,
        });
        let service = self.fixture.service.service().clone();
        let issued = tokio::task::spawn_blocking(move || service.keys.issue_id_token(&claims));
        issued.await.unwrap().unwrap().expose().to_owned()
    }

    fn trust(&self) -> Trust {
        Trust {
            issuer: self.fixture.service.url().to_owned(),
            subject: "p://default/demo/deploy".to_owned(),
            audience: "pool".to_owned(),
            ca_bundle: Some(self.ca.clone()),
            allow_http: false,
        }
    }
}

#[tokio::test]
async fn another_issuers_word_counts_for_one_subject_and_its_keys_may_rotate() {
    let issuer = Issuer::start().await;
    let fixture = Fixture::with_manual_clock().await;
    let add = async |name: &str, change: &dyn Fn(&mut Trust)| {
        let client = principal(&fixture, name).await;
        let mut trust = issuer.trust();
        change(&mut trust);
        let added = principals::add_trust(store(&fixture), name, trust, now(&fixture)).await;
        added.unwrap();
        client
    };
    let client = add("operator", &|_| {}).await;
    let said = issuer.say().await;
    let answer = by_assertion(&fixture, client, &said).await;
    assert_eq!(pools(&fixture, &token(&answer)).await, 200);
    token(&by_assertion(&fixture, client, &said).await);

    let another = add("another", &|trust| {
        trust.subject = "p://default/demo/x".to_owned()
    })
    .await;
    let elsewhere = add("elsewhere", &|trust| trust.audience = "x".to_owned()).await;
    for other in [another, elsewhere, principal(&fixture, "bare").await] {
        let (status, answer) = by_assertion(&fixture, other, &said).await;
        assert_eq!((status, &answer["error"]), (401, &json!("invalid_client")));
    }
    let unbelieved = add("unbelieved", &|trust| trust.ca_bundle = None).await;
    let (status, answer) = by_assertion(&fixture, unbelieved, &said).await;
    assert_eq!(
        (status, &answer["error"]),
        (503, &json!("temporarily_unavailable"))
    );

    // A key that was added a moment ago is fetched, but not for every token that comes.
    let directory = issuer.fixture.service.directory();
    dayfly_pool_service::keyfile::rotate(directory, now(&issuer.fixture)).unwrap();
    issuer.fixture.service.service().keys.refresh().unwrap();
    let newer = issuer.say().await;
    assert_eq!(
        by_assertion(&fixture, client, &newer).await.0,
        401,
        "asked a moment ago"
    );
    fixture
        .service
        .advance(SignedDuration::from_secs(11))
        .await
        .unwrap();
    token(&by_assertion(&fixture, client, &newer).await);
    token(&by_assertion(&fixture, client, &said).await);

    // When the issuer is away, its keys are believed in for a day.
    let Issuer {
        fixture: mut away, ..
    } = issuer;
    away.service.stop().await.unwrap();
    fixture
        .service
        .advance(SignedDuration::from_mins(5))
        .await
        .unwrap();
    token(&by_assertion(&fixture, client, &newer).await);
}

#[tokio::test]
async fn an_issuer_that_misbehaves_is_not_believed_and_holds_nobody_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let document = |issuer: &str, keys: &str| {
        let document =
            json!({"issuer": format!("{base}{issuer}"), "jwks_uri": format!("{base}{keys}")});
        get(move || async move { document.to_string() })
    };
    const DISCOVERY: &str = "/.well-known/openid-configuration";
    let router = Router::new()
        .route(&format!("/another{DISCOVERY}"), document("/else", "/keys"))
        .route(&format!("/long{DISCOVERY}"), document("/long", "/endless"))
        .route(&format!("/none{DISCOVERY}"), document("/none", "/no-keys"))
        .route(
            &format!("/moved{DISCOVERY}"),
            get(|| async { axum::response::Redirect::to("/keys") }),
        )
        .route("/keys", get(|| async { "{\"keys\": []}" }))
        .route("/endless", get(|| async { "x".repeat(3 * 1024 * 1024) }))
        .route("/no-keys", get(|| async { "<html>" }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let fixture = Fixture::start().await;
    for name in ["another", "long", "none", "moved", "missing"] {
        let client = principal(&fixture, name).await;
        let trust = Trust {
            issuer: format!("{base}/{name}"),
            subject: "s".to_owned(),
            audience: "a".to_owned(),
            ca_bundle: None,
            allow_http: true,
        };
        let claims = json!({"iss": trust.issuer, "sub": "s", "aud": "a", "exp": 4_000_000_000_i64});
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some("k".to_owned());
        let said = jsonwebtoken::encode(&header, &claims, &signer().private).unwrap();
        principals::add_trust(store(&fixture), name, trust, now(&fixture))
            .await
            .unwrap();
        let (status, answer) = by_assertion(&fixture, client, &said).await;
        assert_eq!(
            (status, &answer["error"]),
            (503, &json!("temporarily_unavailable")),
            "{name}"
        );
    }
}
