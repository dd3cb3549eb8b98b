//! Pools, queue and runs across projects, as the web page reads them.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;

use common::{Fixture, capabilities};
use dayfly_wire::agent::Agent;
use dayfly_wire::event::TaskResult;
use serde_json::{Value, json};

async fn read(fixture: &Fixture, path: &str) -> Value {
    let path = format!("/_apis/dayfly/{path}");
    let answer = fixture.call("GET", &path, Some(&fixture.pat), None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let document = answer.json();
    document.get("value").cloned().unwrap_or(document)
}

#[tokio::test]
async fn the_queue_says_why_each_job_waits() {
    let fixture = Fixture::start().await;
    let docker = Agent {
        user_capabilities: capabilities(&[("docker", "")]),
        ..Agent::default()
    };
    let agent = fixture.register_as("one", docker).await;
    let session = agent.open().await;
    fixture.queue().await;
    agent.take_job(&session).await;
    fixture.queue_with(json!({"demands": ["docker"]})).await;
    fixture.queue().await;
    let queue = read(&fixture, "queue").await;
    let reasons: Vec<_> = queue
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["reason"].as_str().unwrap_or("none"))
        .collect();
    let busy = "The only online agent that can take it is busy";
    let expected = [
        "none".to_owned(),
        format!("{busy}; it is next."),
        format!("{busy}; one job waits before it."),
    ];
    assert_eq!(reasons, expected);
    assert_eq!(queue[0]["reservedAgent"]["name"], "one");
    assert_eq!(queue[1]["poolName"], "linux");

    let set = |enabled| {
        fixture
            .admin
            .set_agent_enabled(fixture.pool, agent.record.id, enabled)
    };
    set(false).await.unwrap();
    let queue = read(&fixture, "queue").await;
    let reason = queue[1]["reason"].as_str().unwrap();
    assert!(reason.contains("is disabled"), "{reason}");
    let pools = read(&fixture, "pools").await;
    let expected = json!([{
        "id": fixture.pool, "name": "linux", "agents": 1, "online": 1, "disabled": 1, "running": 1, "waiting": 2,
    }]);
    assert_eq!(pools, expected);
}

#[tokio::test]
async fn runs_are_listed_newest_first_and_page_by_page() {
    let fixture = Fixture::start().await;
    let mut builds = Vec::new();
    for _ in 0..3 {
        builds.push(fixture.queue_with(json!({"name": "nightly"})).await); // Nobody is registered: it fails.
    }
    let page = read(&fixture, "runs?$top=2").await;
    assert_eq!(page[0]["buildId"], json!(builds[2].build_id));
    assert_eq!(page[0]["pipeline"], "nightly");
    assert_eq!(page[0]["jobs"][0]["result"], "failed");
    assert_eq!(page.as_array().unwrap().len(), 2);
    let before = page[1]["buildId"].clone();
    let rest = read(&fixture, &format!("runs?$top=2&before={before}")).await;
    assert_eq!(rest.as_array().unwrap().len(), 1);
    assert_eq!(rest[0]["buildId"], json!(builds[0].build_id));

    let agent = fixture.register("one").await;
    let waits = fixture.queue().await;
    let path = format!("runs/{}", waits.build_id);
    let run = read(&fixture, &path).await;
    assert_eq!(run["planId"], json!(waits.plan_id));
    assert_eq!(
        run["jobs"][0]["reason"],
        "The only agent that can take it is offline."
    );
    let session = agent.open().await;
    let taken = agent.take_job(&session).await;
    taken.complete(&fixture, TaskResult::Succeeded).await;
    assert_eq!(
        read(&fixture, &path).await["jobs"][0]["result"],
        "succeeded"
    );
    let missing = fixture
        .call("GET", "/_apis/dayfly/runs/999", Some(&fixture.pat), None)
        .await;
    assert_eq!(missing.status, 404);
}
