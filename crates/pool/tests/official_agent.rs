//! What the official agent asks and reads beside what every agent does, in the order in which it asks.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;

use common::{Answer, Fixture};
use dayfly_wire::error::key;
use serde_json::json;

async fn anonymous(fixture: &Fixture, method: &str, path: &str) -> Answer {
    let url = format!("{}{path}", fixture.service.url());
    common::call_at(&url, method, None, None).await
}

#[tokio::test]
async fn locations_are_found_with_and_without_a_slash_and_the_instance_stays_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let fixture = Fixture::in_directory(directory.path()).await;
    for path in ["/_apis", "/_apis/", "/_apis/?allHostTypes=true"] {
        let answer = anonymous(&fixture, "OPTIONS", path).await;
        assert_eq!(answer.status, 200, "{path}");
        let listed = answer.json()["value"].as_array().unwrap().clone();
        assert!(listed.len() > 30, "{path}");
        for location in listed {
            let id = location["id"].as_str().unwrap();
            assert_eq!(id, id.to_lowercase(), "clients compare them as texts");
            assert!(location["minVersion"].is_string() && location["maxVersion"] == "7.2");
        }
    }
    let path = "/_apis/connectionData?connectOptions=1&lastChangeId=-1&lastChangeId64=-1";
    let first = anonymous(&fixture, "GET", path).await.json();
    assert_eq!(first["deploymentType"], "onPremises");
    assert!(first["locationServiceData"].get("serviceOwner").is_none());
    for definition in first["locationServiceData"]["serviceDefinitions"]
        .as_array()
        .unwrap()
    {
        assert!(definition["resourceVersion"].as_i64() >= Some(1));
    }
    let fixture = fixture.restart(directory.path()).await;
    let again = anonymous(&fixture, "GET", path).await.json();
    assert_eq!(again["instanceId"], first["instanceId"]);
}

#[tokio::test]
async fn what_the_agent_asks_in_passing_is_not_there_and_the_answer_says_so_in_full() {
    let fixture = Fixture::start().await;
    for (method, path) in [
        (
            "GET",
            "/_apis/FeatureFlags/DistributedTask.Agent.EnhancedWorkerCrashHandling?checkFeatureExists=false",
        ),
        ("POST", "/_apis/CustomerIntelligence/Events"),
    ] {
        let answer = anonymous(&fixture, method, path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.type_key(), key::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn the_first_question_goes_out_without_a_token_and_is_challenged() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let pool = format!("/_apis/distributedtask/pools/{}", fixture.pool);
    let answer = anonymous(&fixture, "POST", &format!("{pool}/sessions")).await;
    assert_eq!(answer.status, 401);
    let challenges: Vec<_> = answer
        .headers
        .get_all("www-authenticate")
        .iter()
        .map(|challenge| challenge.to_str().unwrap().to_owned())
        .collect();
    assert!(challenges[0].starts_with("Bearer"), "{challenges:?}");
    assert!(
        challenges.iter().any(|each| each.starts_with("Basic")),
        "{challenges:?}"
    );
    // With the token the same question is answered: with a key or without, the client takes both.
    let token = agent.listen_token(&fixture).await;
    let asked = serde_json::to_value(agent.asked_session(false, Default::default())).unwrap();
    let opened = fixture
        .call(
            "POST",
            &format!("{pool}/sessions"),
            Some(&token),
            Some(asked),
        )
        .await;
    assert_eq!(opened.status, 200, "{}", opened.body);
    assert!(opened.json()["sessionId"].is_string());
}

#[tokio::test]
async fn a_job_says_that_the_end_is_reported_by_the_worker_and_that_the_service_is_on_premises() {
    let fixture = Fixture::start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    fixture.queue().await;
    let taken = agent.take_job(&session).await;
    assert_eq!(taken.message.plan.version, 9);
    let variable = |name: &str| {
        let found = taken.message.variables.iter();
        let found = found
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .find_map(|(_, variable)| variable.value.as_ref());
        found.map(|value| value.expose().to_owned())
    };
    assert_eq!(variable("system.servertype").as_deref(), Some("OnPremises"));
    let tasks = variable("system.taskDefinitionsUri").unwrap();
    assert!(
        tasks.starts_with(fixture.service.url().trim_end_matches("/default")),
        "{tasks}"
    );
}

#[tokio::test]
async fn one_agent_holds_one_job_and_a_renewed_lock_lasts_ten_minutes() {
    let fixture = Fixture::with_manual_clock().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    fixture.queue().await;
    let second = fixture.queue().await;
    let taken = agent.take_job(&session).await;
    let path = format!(
        "/_apis/distributedtask/pools/{}/jobrequests/{}?lockToken=00000000-0000-0000-0000-000000000000",
        fixture.pool, taken.message.request_id
    );
    let body = json!({"requestId": taken.message.request_id});
    let token = agent.listen_token(&fixture).await;
    let renewed = fixture
        .call("PATCH", &path, Some(&token), Some(body))
        .await
        .json();
    let until: jiff::Timestamp = renewed["lockedUntil"].as_str().unwrap().parse().unwrap();
    let held = until.duration_since(fixture.service.service().now());
    assert!(
        (599..=600).contains(&held.as_secs()),
        "the lock lasts {held}"
    );
    let waits = fixture.request(second.request_id).await;
    assert!(
        waits.assign_time.is_none(),
        "an agent is given one job at a time"
    );
    // With nothing to say, the answer is empty and says so: 202 with a length.
    let poll = format!(
        "/_apis/distributedtask/pools/{}/messages?sessionId={}",
        fixture.pool, session.id
    );
    let nothing = fixture.call("GET", &poll, Some(&token), None).await;
    assert_eq!((nothing.status, nothing.body.as_str()), (202, ""));
    assert_eq!(nothing.headers["content-length"], "0");
}
