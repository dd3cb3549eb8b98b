//! Jobs and agents that end otherwise than by their last step.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // It is all test code.

mod support;

use dayfly_client::AgentQuery;
use dayfly_wire::agent::AgentStatus;
use dayfly_wire::event::TaskResult;
use serde_json::json;
use std::time::Instant;
use support::{AgentProcesses, World, descendants, signal, wait_for};

const FOREVER: &str = "echo it runs; sleep 300";

#[tokio::test(flavor = "multi_thread")]
async fn a_canceled_job_ends_and_what_always_runs_still_does() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({"steps": [
            {"script": FOREVER, "displayName": "Long"},
            {"script": "echo not this one", "displayName": "Ordinary"},
            {"script": "echo cleaning up", "displayName": "Always", "condition": "always()"}
        ]}))
        .await;
    world.line(&job, "it runs").await;
    let begun = Instant::now();
    world.pool.cancel(job.request_id).await.unwrap();
    let outcome = world.outcome(&job).await;
    assert!(begun.elapsed().as_secs() < 40, "{:?}", begun.elapsed());
    assert_eq!(outcome.result, TaskResult::Canceled);
    assert_eq!(agent.exit().await.code(), Some(0));
    assert_eq!(outcome.record("Long").result, Some(TaskResult::Canceled));
    assert_eq!(outcome.record("Ordinary").result, Some(TaskResult::Skipped));
    assert_eq!(outcome.record("Always").result, Some(TaskResult::Succeeded));
    assert!(outcome.log.contains("cleaning up"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_fails_its_job_at_once() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let job = world.queue(json!({"steps": [{"script": FOREVER}]})).await;
    world.line(&job, "it runs").await;
    let (worker, _) = worker_of(&agent);
    signal(worker, "KILL");
    let begun = Instant::now();
    let outcome = world.outcome(&job).await;
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    assert_eq!(outcome.result, TaskResult::Failed);
    assert_eq!(agent.exit().await.code(), Some(0));
    let record = job_record(&outcome, &job);
    assert!(
        record
            .issues
            .iter()
            .any(|issue| issue.message.contains("killed by a signal")),
        "{record:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_container_that_dies_fails_the_job_with_a_reason() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(
            json!({"steps": [{"script": "echo it runs; sleep 20", "displayName": "Victim"},
            {"script": "echo never", "condition": "always()", "displayName": "After"}]}),
        )
        .await;
    world.line(&job, "it runs").await;
    signal(agent.step_host.id(), "KILL");
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Failed);
    assert_eq!(agent.exit().await.code(), Some(0));
    let record = job_record(&outcome, &job);
    assert!(
        record.issues[0].message.contains("The job container ended"),
        "{record:#?}"
    );
    assert_eq!(outcome.record("Victim").result, Some(TaskResult::Failed));
    assert_eq!(outcome.record("After").result, Some(TaskResult::Skipped));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_agent_leaves_when_asked_and_closes_its_session() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    online(&world, "agent-1").await;
    signal(agent.agent.id(), "TERM");
    assert_eq!(agent.exit().await.code(), Some(0));
    let agents = world
        .admin
        .agents(world.pool_id, &AgentQuery::default())
        .await
        .unwrap();
    assert_eq!(agents[0].status, Some(AgentStatus::Offline));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_agent_finishes_its_job_when_asked_to_leave() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({"steps": [{"script": "echo it runs; sleep 2; echo and ends"}]}))
        .await;
    world.line(&job, "it runs").await;
    signal(agent.agent.id(), "TERM");
    signal(agent.step_host.id(), "TERM");
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Succeeded);
    assert!(outcome.log.contains("and ends"));
    assert_eq!(agent.exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_waits_too_long_leaves() {
    let world = World::start().await;
    let mut identity = world.identity("agent-1", true).await;
    identity.idle_timeout_seconds = 1;
    let mut agent = world.agent_with(&identity);
    assert_eq!(agent.exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_agent_without_its_step_host_leaves_with_a_code_of_its_own() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    online(&world, "agent-1").await;
    signal(agent.step_host.id(), "KILL");
    assert_eq!(agent.exit().await.code(), Some(72));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_registration_is_deleted_leaves_with_a_code_of_its_own() {
    let world = World::start().await;
    let identity = world.identity("agent-1", true).await;
    let mut agent = world.agent_with(&identity);
    online(&world, "agent-1").await;
    world
        .admin
        .delete_agent(world.pool_id, identity.agent_id)
        .await
        .unwrap();
    assert_eq!(agent.exit().await.code(), Some(73));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_takes_too_long_fails() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    // The service cannot be asked for less than a minute, so the job's own timeout ends it: by cancellation.
    let job = world
        .queue(json!({"steps": [{"script": "trap '' INT TERM; echo it runs; sleep 300 & wait; wait", "displayName": "Stubborn"}]}))
        .await;
    world.line(&job, "it runs").await;
    world.pool.cancel(job.request_id).await.unwrap();
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Canceled);
    assert_eq!(
        outcome.record("Stubborn").result,
        Some(TaskResult::Canceled)
    );
    assert_eq!(agent.exit().await.code(), Some(0));
}

async fn online(world: &World, name: &str) {
    wait_for(&format!("{name} to be online"), || async {
        let agents = world
            .admin
            .agents(world.pool_id, &AgentQuery::default())
            .await
            .unwrap();
        agents
            .iter()
            .any(|agent| agent.name == name && agent.status == Some(AgentStatus::Online))
            .then_some(())
    })
    .await;
}

fn worker_of(agent: &AgentProcesses) -> (u32, String) {
    descendants(agent.agent.id())
        .into_iter()
        .find(|(_, line)| line.contains(" worker "))
        .expect("there is a worker")
}

fn job_record<'a>(
    outcome: &'a support::Outcome,
    job: &dayfly_wire::queue::QueuedJob,
) -> &'a dayfly_wire::timeline::Record {
    outcome
        .records
        .iter()
        .find(|record| record.id.0 == job.job_id.0)
        .expect("the job has a record")
}
