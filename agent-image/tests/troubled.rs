//! A service that fails, asks to wait, breaks off and stalls while it is reported to.
#![allow(clippy::unwrap_used, clippy::panic)] // It is all test code.

mod support;

use dayfly_wire::event::TaskResult;
use dayfly_wire::job::builtin;
use dayfly_wire::queue::QueuedJob;
use serde_json::{Value, json};
use support::proxy::Trouble;
use support::tasks::{TASK, definition, step};
use support::{AgentProcesses, Outcome, World};

const RECORDS: (&str, &str) = ("PATCH", "/records");
const MAKE_LOG: (&str, &str) = ("POST", "/logs$");
const LOG: (&str, &str) = ("POST", "/logs/");
const FEED: (&str, &str) = ("POST", "/feed");
const UPLOAD: (&str, &str) = ("PUT", "/Containers/");
const NAME: (&str, &str) = ("POST", "/artifacts");
const LIST: (&str, &str) = ("GET", "/artifacts");
const DOWNLOAD: (&str, &str) = ("GET", "OctetStream");
const TASK_ZIP: (&str, &str) = ("GET", "/tasks/");
const END: (&str, &str) = ("POST", "/events");

fn artifact(id: uuid::Uuid, display: &str, inputs: &Value) -> Value {
    json!({"task": {"id": id, "name": "Artifacts", "version": "1.250.0"}, "displayName": display,
        "condition": "succeededOrFailed()", "inputs": inputs})
}

fn publish() -> Value {
    let inputs = json!({"targetPath": "$(Agent.TempDirectory)/made", "artifactName": "made"});
    artifact(builtin::PUBLISH_ARTIFACT, "Publish", &inputs)
}

fn download() -> Value {
    let inputs = json!({"artifactName": "made", "targetPath": "$(Agent.TempDirectory)/back"});
    artifact(builtin::DOWNLOAD_ARTIFACT, "Download", &inputs)
}

/// How long the agent waits for one call, and goes on trying, in seconds.
#[derive(Clone, Copy)]
struct Patience {
    call: u32,
    trouble: u32,
}

/// Far longer than any call takes here.
const PATIENT: u32 = 20;
/// As long as each call that stalls costs.
const IMPATIENT: u32 = 4;

/// An agent that loses patience sooner than others, and a job of these steps.
async fn begun(world: &World, patience: Patience, steps: Value) -> (AgentProcesses, QueuedJob) {
    let identity = world.identity("agent-1", false).await;
    let call = patience.call.to_string();
    let trouble = patience.trouble.to_string();
    let more = ["--call-limit", &call, "--trouble-limit", &trouble];
    let agent = world.agent_that(&identity, &more);
    (agent, world.queue(json!({"steps": steps})).await)
}

async fn everything_arrives_through(trouble: Trouble, calls: &[(&'static str, &'static str)]) {
    let (world, troubled) = World::in_trouble().await;
    world.upload(&definition(TASK)).await;
    for call in calls {
        troubled.trouble(*call, trouble, Some(1));
    }
    let steps = json!([
        {"bash": "mkdir $AGENT_TEMPDIRECTORY/made && head -c 3000000 /dev/urandom > $AGENT_TEMPDIRECTORY/made/noise && seq -f 'line %.0f of all' 300"},
        step(TASK, "token", &json!({})),
        publish(), download(),
        {"bash": "cd $AGENT_TEMPDIRECTORY && diff -r made back && echo all is the same"},
    ]);
    let call = match trouble {
        Trouble::Stall | Trouble::StallHalfway => IMPATIENT,
        Trouble::Status(_) | Trouble::Wait(_) | Trouble::HalfAnswer => PATIENT,
    };
    let patience = Patience { call, trouble: 600 };
    let (mut agent, job) = begun(&world, patience, steps).await;
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    assert!(outcome.log.contains("all is the same"), "{}", outcome.log);
    for number in 1..=300 {
        let line = format!("Z line {number} of all\n");
        let times = outcome.log.matches(&line).count();
        assert_eq!(times, 1, "{line}");
    }
    assert_eq!(troubled.not_met(), [""; 0]);
}

const ALL: [(&str, &str); 10] = [
    RECORDS, MAKE_LOG, LOG, FEED, UPLOAD, NAME, LIST, DOWNLOAD, TASK_ZIP, END,
];

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_fails_at_once_arrives_all_the_same() {
    everything_arrives_through(Trouble::Status(500), &ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_asks_to_wait_is_given_the_time_and_everything_arrives() {
    everything_arrives_through(Trouble::Wait(1), &ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_did_before_its_answer_broke_off_is_there_once() {
    everything_arrives_through(Trouble::HalfAnswer, &ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stalls_holds_the_job_up_for_a_while_only() {
    everything_arrives_through(Trouble::Stall, &ALL).await;
    everything_arrives_through(Trouble::StallHalfway, &[LOG, UPLOAD, DOWNLOAD, TASK_ZIP]).await;
}

/// Gives up soon on what never succeeds.
const GIVES_UP: Patience = Patience {
    call: PATIENT,
    trouble: 8,
};

/// A job while these calls never succeed.
async fn without(call: (&'static str, &'static str), steps: Value) -> (Outcome, String) {
    let (world, troubled) = World::in_trouble().await;
    world.upload(&definition(TASK)).await;
    troubled.trouble(call, Trouble::Status(500), None);
    let (mut agent, job) = begun(&world, GIVES_UP, steps).await;
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    assert_eq!(troubled.not_met(), [""; 0]);
    (outcome, agent.agent_log())
}

fn has_issue(outcome: &Outcome, record: &str, texts: &[&str]) {
    let issues = &outcome.record(record).issues;
    let is_said = issues
        .iter()
        .any(|issue| texts.iter().all(|text| issue.message.contains(text)));
    assert!(is_said, "{texts:?} is not said by {issues:?}");
}

const WHY: &str = "the service failed with status 500";

#[tokio::test(flavor = "multi_thread")]
async fn what_never_arrives_fails_with_its_cause() {
    let make =
        json!({"bash": "mkdir $AGENT_TEMPDIRECTORY/made && echo x > $AGENT_TEMPDIRECTORY/made/x"});
    let (outcome, _) = without(UPLOAD, json!([make, publish()])).await;
    assert_eq!(outcome.result, TaskResult::Failed);
    has_issue(&outcome, "Publish", &["Failed to upload x", WHY]);

    let (outcome, _) = without(TASK_ZIP, json!([step(TASK, "token", &json!({}))])).await;
    assert_eq!(outcome.result, TaskResult::Failed);
    has_issue(&outcome, "Initialize job", &["cannot be downloaded", WHY]);

    let (outcome, _) = without(DOWNLOAD, json!([make, publish(), download()])).await;
    assert_eq!(outcome.result, TaskResult::Failed);
    has_issue(&outcome, "Download", &["Failed to download x", WHY]);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_never_arrive_are_told_of_with_the_cause() {
    let steps = json!([{"bash": "echo one", "displayName": "Script"}]);
    let (outcome, _) = without(LOG, steps.clone()).await;
    assert_eq!(outcome.result, TaskResult::Succeeded);
    has_issue(&outcome, "Job", &["did not take the whole log", WHY]);
    assert_eq!(outcome.record("Script").result, Some(TaskResult::Succeeded));

    let (outcome, _) = without(FEED, steps).await;
    assert_eq!(outcome.result, TaskResult::Succeeded);
    assert!(outcome.log.contains("one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_never_arrive_fail_the_job() {
    let (outcome, log) = without(RECORDS, json!([{"bash": "echo one"}])).await;
    assert_eq!(outcome.result, TaskResult::Failed);
    assert!(
        log.contains("failed to publish all records") && log.contains(WHY),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_never_arrives_is_an_exit_code_of_its_own() {
    let (world, troubled) = World::in_trouble().await;
    troubled.trouble(END, Trouble::Status(500), None);
    let (mut agent, _) = begun(&world, GIVES_UP, json!([{"bash": "echo one"}])).await;
    assert_eq!(agent.exit().await.code(), Some(75));
    let log = agent.agent_log();
    assert!(
        log.contains("failed to report the job's end") && log.contains(WHY),
        "{log}"
    );
}
