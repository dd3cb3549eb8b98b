//! The token service: an assertion becomes a listen token, or a reason.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;

use common::{Fixture, TestAgent, ask_token, within};
use dayfly_client::Credential;
use dayfly_keys::agent_key::AgentKey;
use dayfly_pool_service::clock::{Clock, SystemClock};
use dayfly_pool_service::testing::{ALL_SCOPES, PoolHandle};
use dayfly_wire::agent::{Agent, AgentAuthorization};
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::ClientId;
use dayfly_wire::secret::SecretText;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

struct Asking {
    fixture: Fixture,
    agent: TestAgent,
    url: String,
    client: ClientId,
}

impl Asking {
    async fn start() -> Self {
        let fixture = Fixture::with_manual_clock().await;
        let agent = fixture.register("one").await;
        let authorization = agent.record.authorization.clone().unwrap();
        Self {
            url: authorization.authorization_url.unwrap(),
            client: authorization.client_id.unwrap(),
            fixture,
            agent,
        }
    }

    fn now(&self) -> Timestamp {
        self.fixture.service.service().now()
    }

    fn sign(&self, key: &AgentKey, audience: &str, at: Timestamp) -> String {
        key.sign_assertion(self.client, audience, Uuid::new_v4(), at)
            .unwrap()
            .expose()
            .to_owned()
    }
}

#[tokio::test]
async fn a_good_assertion_gets_a_token() {
    let asking = Asking::start().await;
    let upper = asking.url.to_uppercase();
    for audience in [&asking.url, &upper] {
        let assertion = asking.sign(&asking.agent.key, audience, asking.now());
        let (status, answer) = ask_token(&asking.url, &assertion).await;
        assert_eq!(status, 200, "{answer}");
        assert!(answer["expires_in"].as_i64().unwrap() > 60);
        assert_eq!(
            answer["access_token"].as_str().unwrap().split('.').count(),
            3
        );
    }
}

#[tokio::test]
async fn a_bad_assertion_gets_a_reason_and_no_token() {
    let asking = Asking::start().await;
    let (now, key) = (asking.now(), &asking.agent.key);
    let stranger = AgentKey::generate().unwrap();
    let minutes = SignedDuration::from_mins;
    let unknown = key
        .sign_assertion(ClientId(Uuid::new_v4()), &asking.url, Uuid::new_v4(), now)
        .unwrap();
    for (assertion, reason) in [
        (asking.sign(&stranger, &asking.url, now), "not valid"),
        (unknown.expose().to_owned(), "not valid"),
        (asking.sign(key, "https://elsewhere/token", now), "audience"),
        (
            asking.sign(key, &asking.url, now - minutes(11)),
            "Current server time is",
        ),
        (
            asking.sign(key, &asking.url, now + minutes(6)),
            "Current server time is",
        ),
        ("x.y.z".to_owned(), "not valid"),
    ] {
        let (status, answer) = ask_token(&asking.url, &assertion).await;
        assert_eq!(status, 400);
        assert_eq!(answer["error"], "invalid_client");
        let text = answer["error_description"].as_str().unwrap();
        assert!(text.contains(reason), "{text} ({reason})");
    }
    for at in [now - minutes(9), now + minutes(4)] {
        let (status, answer) = ask_token(&asking.url, &asking.sign(key, &asking.url, at)).await;
        assert_eq!(status, 200, "clocks may differ a little: {answer}");
    }
}

#[tokio::test]
async fn the_same_assertion_gets_the_same_token_for_a_moment_and_then_none() {
    let asking = Asking::start().await;
    let assertion = asking.sign(&asking.agent.key, &asking.url, asking.now());
    let (_, first) = ask_token(&asking.url, &assertion).await;
    asking
        .fixture
        .service
        .advance(SignedDuration::from_secs(20))
        .await
        .unwrap();
    let (_, again) = ask_token(&asking.url, &assertion).await;
    assert_eq!(first["access_token"], again["access_token"]);
    asking
        .fixture
        .service
        .advance(SignedDuration::from_secs(20))
        .await
        .unwrap();
    let (status, answer) = ask_token(&asking.url, &assertion).await;
    assert_eq!((status, &answer["error"]), (400, &"invalid_client".into()));
}

#[tokio::test]
async fn a_listen_token_ends_and_is_challenged_then() {
    let asking = Asking::start().await;
    let token = asking.agent.listen_token(&asking.fixture).await;
    let path = format!(
        "/_apis/distributedtask/pools/{}/agents/{}",
        asking.fixture.pool, asking.agent.record.id
    );
    let get = || asking.fixture.call("GET", &path, Some(&token), None);
    assert_eq!(get().await.status, 200);
    asking
        .fixture
        .service
        .advance(SignedDuration::from_mins(51))
        .await
        .unwrap();
    let ended = get().await;
    assert_eq!(ended.status, 401);
    assert!(
        ended
            .headers
            .get_all("www-authenticate")
            .iter()
            .any(|value| value == "Bearer")
    );
}

#[tokio::test]
async fn what_is_no_token_request_is_a_bad_request() {
    let asking = Asking::start().await;
    let url = asking.url.replace(asking.fixture.service.url(), "");
    let answer = asking
        .fixture
        .call("POST", &url, None, Some(serde_json::json!({})))
        .await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"], "invalid_request");
}

#[tokio::test]
async fn a_repeated_assertion_is_known_after_a_restart_and_when_two_come_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let start = SystemClock.now();
    let builder = |at| {
        PoolHandle::builder()
            .directory(directory.path())
            .manual_clock(at)
    };
    let mut first = builder(start).start().await.unwrap();
    common::install_tls();
    let pool = first.create_pool("linux").await.unwrap();
    let pat = first.pat(ALL_SCOPES).await.unwrap();
    let admin = common::client(first.url(), Credential::Pat(pat));
    let key = AgentKey::generate().unwrap();
    let draft = Agent {
        name: "one".to_owned(),
        authorization: Some(AgentAuthorization {
            public_key: Some(key.public().to_wire()),
            ..AgentAuthorization::default()
        }),
        ..Agent::default()
    };
    let agent = admin.register_agent(pool, &draft).await.unwrap();
    let client = agent.authorization.unwrap().client_id.unwrap();
    // The audience names the port, which is another one after the restart; each service checks its own.
    let sign = |url: &str, jti| {
        let audience = format!("{url}/_apis/oauth2/token");
        let assertion = key.sign_assertion(client, &audience, jti, start).unwrap();
        (audience, assertion.expose().to_owned())
    };
    let jti = Uuid::new_v4();
    let (url, assertion) = sign(first.url(), jti);
    let (one, other) = tokio::join!(ask_token(&url, &assertion), ask_token(&url, &assertion));
    assert_eq!((one.0, &one.1), (200, &other.1), "both get the same token");
    first.stop().await.unwrap();

    let second = builder(start + SignedDuration::from_secs(31))
        .start()
        .await
        .unwrap();
    let (url, assertion) = sign(second.url(), jti);
    let (status, answer) = ask_token(&url, &assertion).await;
    assert_eq!((status, &answer["error"]), (400, &"invalid_client".into()));
    let (url, another) = sign(second.url(), Uuid::new_v4());
    assert_eq!(ask_token(&url, &another).await.0, 200);
}

#[tokio::test]
async fn keys_rotate_under_a_running_service_and_older_tokens_count_until_they_end() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    fixture.queue().await;
    let taken = agent.take_job(&session).await;
    let older = agent.listen_token(&fixture).await;
    let kid = |token: &SecretText| {
        use base64::Engine;
        let header = token.expose().split('.').next().unwrap().to_owned();
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header);
        let header: serde_json::Value = serde_json::from_slice(&header.unwrap()).unwrap();
        header["kid"].as_str().unwrap().to_owned()
    };
    let directory = fixture.service.directory().to_owned();
    for older_ones in [1, 2] {
        let newest = agent.listen_token(&fixture).await;
        let rotated = dayfly_pool_service::keyfile::rotate(&directory, SystemClock.now());
        assert_eq!(rotated.unwrap(), older_ones);
        within("a token under the new key", async {
            while kid(&agent.listen_token(&fixture).await) == kid(&newest) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    let path = format!(
        "/_apis/distributedtask/pools/{}/agents/{}",
        fixture.pool, agent.record.id
    );
    let answer = fixture.call("GET", &path, Some(&older), None).await;
    assert_eq!(
        answer.status, 200,
        "a token of two keys ago: {}",
        answer.body
    );
    // What was sealed under the old keys opens: the session's key; and the job's token still reports.
    let request = taken.message.request_id;
    fixture.service.cancel(request).await.unwrap();
    let cancellation = agent.see_cancellation(&session).await;
    assert_eq!(cancellation.job_id, taken.message.job_id);
    taken.complete(&fixture, TaskResult::Canceled).await;
}
