//! Identity tokens of jobs, verified as a stranger would.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;

use common::{Answer, Fixture, HOLD, Taken, call_at};
use dayfly_pool_service::testing::PoolHandle;
use dayfly_wire::error::key;
use dayfly_wire::event::TaskResult;
use jiff::SignedDuration;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

const AUDIENCE: &str = "api://AzureADTokenExchange";

/// Asks as a step does: at the URL of the job's variable, with the job's token.
async fn ask(taken: &Taken, body: Option<Value>) -> Answer {
    let url = taken.message.variables["system.oidcRequestUri"]
        .value
        .as_ref();
    let url = format!("{}?api-version=7.1", url.unwrap().expose());
    let authorization = format!("Bearer {}", taken.token.expose());
    call_at(&url, "POST", Some(&authorization), body).await
}

fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["oidcToken"].as_str().unwrap().to_owned()
}

/// Knows the issuer and the audience, and reads everything else there.
async fn verify(token: &str, issuer: &str, audience: &str) -> (String, Value) {
    let discovery = format!("{issuer}/.well-known/openid-configuration");
    let discovery = call_at(&discovery, "GET", None, None).await.json();
    assert_eq!(discovery["issuer"], issuer);
    let keys = call_at(discovery["jwks_uri"].as_str().unwrap(), "GET", None, None).await;
    let keys: JwkSet = serde_json::from_str(&keys.body).unwrap();
    let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["iss", "sub", "aud", "exp", "nbf"]);
    validation.validate_nbf = true;
    let decoded = jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap();
    (kid, decoded.claims)
}

#[tokio::test]
async fn a_job_proves_what_it_is_to_a_stranger_while_it_runs() {
    let fixture = Fixture::start().await;
    let (agent, other) = (fixture.register("one").await, fixture.register("two").await);
    let (session, other_session) = (agent.open().await, other.open().await);
    fixture.queue_with(json!({"name": "deploy"})).await;
    fixture.queue().await;
    let taken = agent.take_job(&session).await;
    let others = other.take_job(&other_session).await;

    let issuer = fixture.service.url();
    let answer = ask(&taken, None).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let (_, claims) = verify(&token(&answer), issuer, AUDIENCE).await;
    assert_eq!(claims["sub"], "p://default/demo/deploy");
    let exp = claims["exp"].as_i64().unwrap();
    assert_eq!(exp - claims["iat"].as_i64().unwrap(), 600);
    assert_eq!(claims["job_id"], taken.message.job_id.to_string());
    let (_, again) = verify(
        &token(&ask(&taken, Some(json!({}))).await),
        issuer,
        AUDIENCE,
    )
    .await;
    assert_ne!(claims["jti"], again["jti"]);

    // Another job of the same project, and a connection that nobody gave the pipeline.
    let url = taken.message.variables["system.oidcRequestUri"]
        .value
        .as_ref();
    let url = url.unwrap().expose();
    let authorization = format!("Bearer {}", others.token.expose());
    let stranger = call_at(url, "POST", Some(&authorization), None).await;
    assert_eq!(
        (stranger.status, stranger.type_key().as_str()),
        (403, key::PLAN_SECURITY)
    );
    let own = format!("Bearer {}", taken.token.expose());
    let connection = format!("{url}?serviceConnectionId={}", uuid::Uuid::new_v4());
    let refused = call_at(&connection, "POST", Some(&own), None).await;
    assert_eq!(
        (refused.status, refused.type_key().as_str()),
        (403, key::ACCESS_DENIED)
    );

    taken.complete(&fixture, TaskResult::Succeeded).await;
    assert_eq!(ask(&taken, None).await.status, 401, "the job has ended");
}

#[tokio::test]
async fn an_identity_token_is_for_an_audience_that_the_service_allows() {
    let builder = PoolHandle::builder()
        .poll_hold(HOLD)
        .oidc_audience("sts.example.com");
    let fixture = Fixture::on(builder.start().await.unwrap()).await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    fixture.queue().await;
    let taken = agent.take_job(&session).await;
    let issuer = fixture.service.url();
    let answer = ask(&taken, Some(json!({"aud": "sts.example.com"}))).await;
    verify(&token(&answer), issuer, "sts.example.com").await;
    let refused = ask(&taken, Some(json!({"aud": "elsewhere"}))).await;
    assert_eq!(
        (refused.status, refused.type_key().as_str()),
        (403, key::ACCESS_DENIED)
    );
    let refused = ask(&taken, Some(json!({"sub": "p://default/demo/deploy"}))).await;
    assert_eq!(
        refused.status, 400,
        "a job does not say who it is: {}",
        refused.body
    );
}

#[tokio::test]
async fn identity_tokens_of_the_key_before_verify_after_a_rotation() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    fixture.queue().await;
    let taken = agent.take_job(&session).await;
    let issuer = fixture.service.url();
    let before = token(&ask(&taken, None).await);
    let (kid, _) = verify(&before, issuer, AUDIENCE).await;
    let now = fixture.service.service().now();
    let directory = fixture.service.directory();
    dayfly_pool_service::keyfile::rotate(directory, now + SignedDuration::from_secs(1)).unwrap();
    fixture.service.service().keys.refresh().unwrap();
    let (newer, _) = verify(&token(&ask(&taken, None).await), issuer, AUDIENCE).await;
    assert_ne!(kid, newer);
    assert_eq!(verify(&before, issuer, AUDIENCE).await.0, kid);
}
