//! Every kind of credential at every kind of endpoint: what is not meant for it, refuses it.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;

use common::{Fixture, HOLD, TestAgent, capabilities};
use dayfly_keys::agent_key::AgentKey;
use dayfly_pool_service::testing::{ALL_SCOPES, PoolHandle};
use dayfly_wire::agent::{Agent, AgentAuthorization};
use dayfly_wire::error::key;
use dayfly_wire::event::TaskResult;
use dayfly_wire::secret::SecretText;
use jiff::SignedDuration;
use serde_json::json;
use std::sync::Arc;

const NIL: &str = "00000000-0000-0000-0000-000000000000";

/// Every call of the service that needs a credential, with ids that exist where `plan` and `request` say so.
fn calls(
    fixture: &Fixture,
    agent: &TestAgent,
    plan: &str,
    timeline: &str,
) -> Vec<(&'static str, String)> {
    let pool = format!("/_apis/distributedtask/pools/{}", fixture.pool);
    let agents = format!("{pool}/agents/{}", agent.record.id);
    let plan = format!("/demo/_apis/distributedtask/hubs/build/plans/{plan}");
    let records = format!("{plan}/timelines/{timeline}/records");
    vec![
        ("GET", "/_apis/distributedtask/pools".to_owned()),
        ("POST", "/_apis/distributedtask/pools".to_owned()),
        ("GET", pool.clone()),
        ("PATCH", pool.clone()),
        ("DELETE", pool.clone()),
        ("GET", "/_apis/distributedtask/resourceusage".to_owned()),
        ("PUT", "/_apis/distributedtask/tasks".to_owned()),
        ("DELETE", format!("/_apis/distributedtask/tasks/{NIL}")),
        ("POST", format!("{plan}/timelines")),
        ("GET", format!("{plan}/attachments/a")),
        ("PUT", format!("{records}/{NIL}/attachments/a/b")),
        ("GET", format!("{pool}/agents")),
        ("POST", format!("{pool}/agents")),
        ("GET", agents.clone()),
        ("PUT", agents.clone()),
        ("PATCH", agents.clone()),
        ("DELETE", agents.clone()),
        ("PUT", format!("{agents}/usercapabilities")),
        ("POST", format!("{pool}/sessions")),
        ("DELETE", format!("{pool}/sessions/{NIL}")),
        ("GET", format!("{pool}/messages?sessionId={NIL}")),
        ("DELETE", format!("{pool}/messages/1?sessionId={NIL}")),
        ("GET", format!("{pool}/jobrequests")),
        ("GET", format!("{pool}/jobrequests/1")),
        ("PATCH", format!("{pool}/jobrequests/1")),
        ("DELETE", format!("{pool}/jobrequests/1?result=failed")),
        ("GET", format!("{plan}/timelines/{timeline}")),
        ("GET", records.clone()),
        ("PATCH", records.clone()),
        ("POST", format!("{records}/{NIL}/feed")),
        ("GET", format!("{plan}/logs")),
        ("POST", format!("{plan}/logs")),
        ("GET", format!("{plan}/logs/1")),
        ("POST", format!("{plan}/logs/1")),
        ("POST", format!("{plan}/events")),
        ("POST", "/demo/_apis/dayfly/jobs".to_owned()),
        ("GET", "/demo/_apis/dayfly/jobs/1".to_owned()),
        ("POST", "/demo/_apis/dayfly/jobs/1/cancel".to_owned()),
        ("GET", "/demo/_apis/dayfly/jobs/1/feed".to_owned()),
        ("GET", "/demo/_apis/git/repositories".to_owned()),
        ("POST", "/demo/_apis/git/repositories".to_owned()),
        (
            "GET",
            "/demo/_git/app/info/refs?service=git-upload-pack".to_owned(),
        ),
        (
            "GET",
            "/demo/_git/app/info/refs?service=git-receive-pack".to_owned(),
        ),
        ("POST", "/demo/_git/app/git-upload-pack".to_owned()),
        ("POST", "/demo/_git/app/git-receive-pack".to_owned()),
    ]
}

/// A document that the call can read, so that what refuses it is the credential.
fn body(method: &str, path: &str) -> Option<serde_json::Value> {
    if matches!(method, "GET" | "DELETE") {
        return None;
    }
    Some(
        if path.ends_with("usercapabilities") || path.ends_with("/cancel") {
            json!({})
        } else if path.ends_with("/jobs") {
            json!({"pool": "linux", "steps": [{"script": "x"}]})
        } else {
            json!({
                "name": "x", "count": 0, "value": [], "agent": {"id": 0}, "jobId": NIL, "requestId": 0,
            })
        },
    )
}

async fn status(fixture: &Fixture, call: &(&'static str, String), token: &SecretText) -> u16 {
    let (method, path) = call;
    fixture
        .call(method, path, Some(token), body(method, path))
        .await
        .status
}

async fn git_repository(fixture: &Fixture) {
    let body = json!({"name": "app"});
    let path = "/demo/_apis/git/repositories";
    let made = fixture
        .call("POST", path, Some(&fixture.pat), Some(body))
        .await;
    assert_eq!(made.status, 200, "{}", made.body);
}

#[tokio::test]
async fn without_a_credential_everything_is_refused_with_both_challenges() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let unknown = SecretText::from("nobody-knows-this-token");
    fixture.service.service().throttle.tolerate(u32::MAX);
    for (method, path) in calls(&fixture, &agent, NIL, NIL) {
        for token in [None, Some(&unknown)] {
            let answer = fixture
                .call(method, &path, token, body(method, &path))
                .await;
            assert_eq!(answer.status, 401, "{method} {path}");
            assert_eq!(answer.type_key(), key::UNAUTHORIZED);
            let challenges: Vec<_> = answer
                .headers
                .get_all("www-authenticate")
                .iter()
                .map(|value| value.to_str().unwrap())
                .collect();
            assert_eq!(challenges[0], "Bearer");
            assert!(challenges[1].starts_with("Basic realm="));
        }
    }
}

#[tokio::test]
async fn a_listen_token_listens_and_does_nothing_else() {
    let fixture = Fixture::start().await;
    git_repository(&fixture).await;
    let (agent, other) = (fixture.register("one").await, fixture.register("two").await);
    let session = agent.open().await;
    let queued = fixture.queue().await;
    let taken = agent.take_job(&session).await;
    let token = other.listen_token(&fixture).await;
    let (plan, timeline) = (queued.plan_id.to_string(), queued.timeline_id.to_string());
    assert_eq!(taken.message.request_id.0, 1);
    for call in calls(&fixture, &agent, &plan, &timeline) {
        // Its own session and messages, for which it has none, are the only calls that get further.
        let expected = match (call.0, call.1.as_str()) {
            ("GET" | "DELETE", path) if path.contains("/messages") => 403, // session expired
            ("DELETE", path) if path.contains("/sessions/") => 204,
            _ => 403,
        };
        assert_eq!(status(&fixture, &call, &token).await, expected, "{call:?}");
    }
    // Another agent's session, queue and request.
    let pool = format!("/_apis/distributedtask/pools/{}", fixture.pool);
    for (method, path) in [
        ("GET", format!("{pool}/messages?sessionId={}", session.id)),
        (
            "DELETE",
            format!("{pool}/messages/1?sessionId={}", session.id),
        ),
        ("DELETE", format!("{pool}/sessions/{}", session.id)),
        ("PATCH", format!("{pool}/jobrequests/{}", queued.request_id)),
    ] {
        let body = body(method, &path);
        let answer = fixture.call(method, &path, Some(&token), body).await;
        assert_eq!(
            (answer.status, answer.type_key().as_str()),
            (403, key::ACCESS_DENIED),
            "{method} {path}"
        );
    }
    // Its own record, its own request, and discovery.
    let own = agent.listen_token(&fixture).await;
    for path in [
        format!("{pool}/agents/{}", agent.record.id),
        format!("{pool}/jobrequests/{}", queued.request_id),
        "/_apis/connectionData".to_owned(),
    ] {
        let answer = fixture.call("GET", &path, Some(&own), None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
    let basic = dayfly_client::Credential::Pat(own);
    let as_password = common::client(fixture.service.url(), basic);
    assert!(
        as_password
            .agent(fixture.pool, agent.record.id)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_job_token_reaches_its_own_plan_and_sources_while_the_job_runs() {
    let fixture = Fixture::start().await;
    git_repository(&fixture).await;
    let (agent, other) = (fixture.register("one").await, fixture.register("two").await);
    let (session, other_session) = (agent.open().await, other.open().await);
    let (first, second) = (fixture.queue().await, fixture.queue().await);
    let (taken, others) = (
        agent.take_job(&session).await,
        other.take_job(&other_session).await,
    );
    assert_eq!(taken.message.request_id, first.request_id);
    let reads_sources =
        |path: &str| path.contains("upload-pack") || path == "/demo/_apis/git/repositories";
    let (plan, timeline) = (second.plan_id.to_string(), second.timeline_id.to_string());
    for call in calls(&fixture, &agent, &plan, &timeline) {
        let (method, path) = &call;
        if reads_sources(path) && (*method == "GET" || path.ends_with("upload-pack")) {
            continue;
        }
        let answer = fixture
            .call(method, path, Some(&taken.token), body(method, path))
            .await;
        assert_eq!(answer.status, 403, "{call:?}: {}", answer.body);
        let expected = if path.contains("/plans/") {
            key::PLAN_SECURITY
        } else {
            key::ACCESS_DENIED
        };
        assert_eq!(answer.type_key(), expected, "{call:?}");
    }
    let sources = "/demo/_git/app/info/refs?service=git-upload-pack";
    let elsewhere = "/secret/_git/app/info/refs?service=git-upload-pack";
    let push = "/demo/_git/app/info/refs?service=git-receive-pack";
    for (path, expected) in [(sources, 200), (elsewhere, 403), (push, 403)] {
        let answer = fixture.call("GET", path, Some(&taken.token), None).await;
        assert_eq!(answer.status, expected, "{path}: {}", answer.body);
    }
    // An event about another job, with the right plan.
    let mut event = taken.completed(TaskResult::Succeeded);
    event.request_id = others.message.request_id;
    let refused = taken
        .client(&fixture)
        .raise_event(&taken.scope(), &event)
        .await;
    assert_eq!(refused.unwrap_err().type_key(), Some(key::PLAN_SECURITY));

    taken.complete(&fixture, TaskResult::Succeeded).await;
    let plan = format!(
        "/demo/_apis/distributedtask/hubs/build/plans/{}",
        first.plan_id
    );
    for path in [
        sources.to_owned(),
        format!("{plan}/logs"),
        format!("{plan}/timelines/{}", first.timeline_id),
    ] {
        let answer = fixture.call("GET", &path, Some(&taken.token), None).await;
        assert_eq!(answer.status, 401, "{path} after the end of the job");
    }
    assert_eq!(
        fixture
            .call("GET", sources, Some(&others.token), None)
            .await
            .status,
        200,
        "the other job goes on"
    );
}

#[tokio::test]
async fn scopes_bound_an_administrator() {
    let fixture = Fixture::start().await;
    git_repository(&fixture).await;
    let agent = fixture.register("one").await;
    let reader = fixture.service.pat("agentpools,build,code").await.unwrap();
    let allowed = |method: &str, path: &str| {
        method == "GET" && !path.contains("/messages") && !path.contains("receive-pack")
            || path.ends_with("git-upload-pack")
    };
    fixture.queue().await;
    for call in calls(&fixture, &agent, NIL, NIL) {
        let status = status(&fixture, &call, &reader).await;
        if allowed(call.0, &call.1) {
            assert_ne!(status, 403, "{call:?}");
            assert_ne!(status, 401, "{call:?}");
        } else {
            assert_eq!(status, 403, "{call:?}");
        }
    }
    let builder = fixture.service.pat("build_execute").await.unwrap();
    let pools = ("GET", "/_apis/distributedtask/pools".to_owned());
    assert_eq!(status(&fixture, &pools, &builder).await, 403);
    let queue = ("POST", "/demo/_apis/dayfly/jobs".to_owned());
    assert_eq!(status(&fixture, &queue, &builder).await, 200);
}

#[tokio::test]
async fn a_revoked_an_expired_and_an_unknown_token_cannot_be_told_apart() {
    let fixture = Fixture::with_manual_clock().await;
    let path = "/_apis/distributedtask/pools";
    let life = Some(SignedDuration::from_hours(1));
    let revoked = fixture
        .service
        .pat_named("revoked", ALL_SCOPES, None)
        .await
        .unwrap();
    let expired = fixture
        .service
        .pat_named("expired", ALL_SCOPES, life)
        .await
        .unwrap();
    for token in [&revoked, &expired] {
        assert_eq!(
            fixture.call("GET", path, Some(token), None).await.status,
            200
        );
    }
    assert_eq!(fixture.service.revoke("revoked").await.unwrap(), 1);
    assert_eq!(fixture.service.revoke("revoked").await.unwrap(), 0);
    fixture
        .service
        .advance(SignedDuration::from_hours(2))
        .await
        .unwrap();
    let unknown = SecretText::from("a-token-that-never-was");
    let mut answers = Vec::new();
    for token in [&revoked, &expired, &unknown] {
        let answer = fixture.call("GET", path, Some(token), None).await;
        let mut headers: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        headers.sort();
        answers.push((answer.status, answer.body, headers));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    assert_eq!(answers[0].0, 401);
}

#[tokio::test]
async fn whoever_tries_credentials_is_slowed_and_what_counts_is_not() {
    let fixture = Fixture::start().await;
    let path = "/_apis/distributedtask/pools";
    let held_back = async || {
        let probes = fixture.service.url().strip_suffix("/default").unwrap();
        let url = format!("{probes}/metrics");
        let metrics = common::call_at(&url, "GET", None, None).await.body;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("dayfly_pool_throttled_total"));
        line.unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse::<u32>()
            .unwrap()
    };
    let guess = async |number: u32| {
        let guess = SecretText::new(format!("guess-{number}"));
        fixture.call("GET", path, Some(&guess), None).await
    };
    for number in 0..10 {
        assert_eq!(guess(number).await.status, 401);
    }
    assert_eq!(held_back().await, 0, "some mistakes are free");
    for number in 10..13 {
        guess(number).await;
    }
    let before = std::time::Instant::now();
    let last = guess(13).await;
    assert!(before.elapsed() >= std::time::Duration::from_millis(400));
    assert_eq!(
        (last.status, last.type_key().as_str()),
        (401, key::UNAUTHORIZED)
    );
    assert_eq!(held_back().await, 4);
    for _ in 0..5 {
        let valid = fixture.call("GET", path, Some(&fixture.pat), None).await;
        assert_eq!(valid.status, 200);
        let none = fixture.call("GET", path, None, None).await;
        assert_eq!(none.status, 401, "a client that waits for the challenge");
    }
    assert_eq!(held_back().await, 4);
    let agent = fixture.register("one").await;
    let url = agent.record.authorization.as_ref().unwrap();
    let (status, _) = common::ask_token(url.authorization_url.as_ref().unwrap(), "x.y.z").await;
    assert_eq!(status, 400);
    assert_eq!(held_back().await, 5, "assertions are credentials too");
}

#[tokio::test]
async fn a_replaced_key_ends_the_agents_tokens_and_session() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let token = agent.listen_token(&fixture).await;
    let throw_away = AgentKey::generate().unwrap();
    let mut draft = agent.record.clone();
    draft.authorization = Some(AgentAuthorization {
        public_key: Some(throw_away.public().to_wire()),
        ..AgentAuthorization::default()
    });
    let replaced = fixture
        .admin
        .replace_agent(fixture.pool, &draft)
        .await
        .unwrap();
    assert_eq!(replaced.id, agent.record.id);
    let poll = format!(
        "/_apis/distributedtask/pools/{}/messages?sessionId={}",
        fixture.pool, session.id
    );
    assert_eq!(
        fixture.call("GET", &poll, Some(&token), None).await.status,
        401
    );
    let refused = agent
        .client
        .next_message(fixture.pool, session.id, None)
        .await;
    assert!(refused.is_err(), "the old key gets no token");
    let renewed = TestAgent {
        client: common::agent_client(fixture.service.url(), &replaced, Arc::new(throw_away)),
        key: Arc::new(AgentKey::generate().unwrap()),
        record: replaced,
        pool: fixture.pool,
    };
    let asked = renewed.asked_session(true, capabilities(&[]));
    renewed
        .client
        .create_session(fixture.pool, &asked)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_deleted_agents_token_and_key_are_good_for_nothing() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let token = agent.listen_token(&fixture).await;
    fixture
        .admin
        .delete_agent(fixture.pool, agent.record.id)
        .await
        .unwrap();
    let path = format!(
        "/_apis/distributedtask/pools/{}/agents/{}",
        fixture.pool, agent.record.id
    );
    assert_eq!(
        fixture.call("GET", &path, Some(&token), None).await.status,
        401
    );
    let again = fixture.register_as("one", Agent::default()).await;
    assert_ne!(
        again.record.id, agent.record.id,
        "ids are never given twice"
    );
    assert_eq!(
        fixture.call("GET", &path, Some(&token), None).await.status,
        401
    );
}

#[tokio::test]
async fn a_store_holds_no_token_and_no_secret_in_clear() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let secret = "kj2h4-only-in-this-test-9x";
    fixture
        .queue_with(json!({
            "variables": {"hush": {"value": secret, "isSecret": true}},
            "steps": [{"script": "echo", "env": {"INLINE": "kj2h4-inline"}}],
        }))
        .await;
    let taken = agent.take_job(&session).await;
    assert_eq!(
        taken.message.variables["hush"]
            .value
            .as_ref()
            .unwrap()
            .expose(),
        secret
    );
    let mut found = 0;
    for (name, bytes) in fixture.service.at_rest().await.unwrap() {
        let holds = |text: &str| {
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        };
        for text in [
            secret,
            "kj2h4-inline",
            taken.token.expose(),
            fixture.pat.expose(),
        ] {
            assert!(!holds(text), "{name} holds a secret");
        }
        found += usize::from(holds(&taken.message.job_id.to_string()));
    }
    assert!(found > 0, "what was searched holds the job");
}

#[tokio::test]
async fn a_service_that_starts_again_knows_everybody() {
    let directory = std::env::temp_dir().join(format!("dayfly-pool-test-{}", uuid::Uuid::new_v4()));
    let builder = || PoolHandle::builder().poll_hold(HOLD).directory(&directory);
    let mut first = builder().start().await.unwrap();
    let pool = first.create_pool("linux").await.unwrap();
    let pat = first.pat(ALL_SCOPES).await.unwrap();
    let instance = first.service().keys.instance;
    first.stop().await.unwrap();
    let second = builder().start().await.unwrap();
    assert_eq!(second.service().keys.instance, instance);
    common::install_tls();
    let credential = dayfly_client::Credential::Pat(pat);
    let admin = common::client(second.url(), credential);
    assert_eq!(admin.find_pool("LINUX").await.unwrap().unwrap().id, pool);
    drop(second);
    std::fs::remove_dir_all(&directory).unwrap();
}
