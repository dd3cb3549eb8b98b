//! What the agent and the operator say to each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // It is all test code.

mod support;

use dayfly_wire::event::TaskResult;
use dayfly_wire::identity::{Claim, Termination};
use dayfly_wire::secret::SecretText;
use serde_json::json;
use std::collections::VecDeque;
use std::process::Command;
use std::time::{Duration, Instant};
use support::operator::{Operator, Script};
use support::{AgentProcesses, World, agent_program, signal, wait_for};

const CALLBACK: &str = "Bearer callback-token";

async fn claiming_agent(world: &World, script: Script) -> (Operator, AgentProcesses) {
    let mut identity = world.identity("pod-1", true).await;
    identity.callback_token = SecretText::from("callback-token");
    let operator = Operator::start(Script {
        identity: Some(identity),
        ..script
    })
    .await;
    let token = world.agent_directory("pod-1").join("token");
    std::fs::write(&token, "pod-token\n").unwrap();
    let mut command = Command::new(agent_program());
    command
        .arg("listen")
        .env("DAYFLY_IDENTITY", "pod-1")
        .env("DAYFLY_OPERATOR_URL", &operator.url)
        .env("DAYFLY_OPERATOR_CA", &operator.ca)
        .env("DAYFLY_TOKEN_FILE", &token);
    let agent = world.start_agent("pod-1", command);
    (operator, agent)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_claimed_used_and_given_back() {
    let world = World::start().await;
    let script = Script {
        claim_refusals: VecDeque::from([503, 429]),
        accepted_delay: Duration::from_millis(2500),
        ..Script::default()
    };
    let (operator, mut agent) = claiming_agent(&world, script).await;
    let job = world
        .queue(json!({"steps": [{"script": "echo quick"}]}))
        .await;
    let outcome = world.outcome(&job).await;
    let ended = Instant::now();
    assert_eq!(outcome.result, TaskResult::Succeeded);
    assert_eq!(agent.exit().await.code(), Some(0));

    let claims = operator.calls("/v1/claim");
    assert_eq!(claims.len(), 3);
    let nonces: Vec<_> = claims
        .iter()
        .map(|(authorization, body)| {
            assert_eq!(authorization, "Bearer pod-token");
            let claim: Claim = serde_json::from_str(body).unwrap();
            assert_eq!(claim.identity, "pod-1");
            claim.nonce
        })
        .collect();
    assert!(
        nonces
            .iter()
            .all(|nonce| *nonce == nonces[0] && nonce.len() >= 26)
    );
    let body = |path: &str| match &operator.calls(path)[..] {
        [(authorization, body)] => {
            assert_eq!(authorization, CALLBACK, "{path}");
            body.clone()
        }
        other => panic!("{path}: {other:?}"),
    };
    assert_eq!(body("/v1/listening"), "");
    assert_eq!(
        body("/v1/accepted"),
        format!("{{\"requestId\":{}}}", job.request_id)
    );
    assert_eq!(body("/v1/finished"), "{\"result\":\"succeeded\"}");
    // The job's end was not reported before the operator had answered.
    let answered = operator.script.lock().unwrap().accepted_answered.unwrap();
    assert!(answered <= ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_does_not_answer_holds_up_a_job_s_end_for_five_seconds_only() {
    let world = World::start().await;
    let script = Script {
        accepted_delay: Duration::from_secs(600),
        ..Script::default()
    };
    let (operator, mut agent) = claiming_agent(&world, script).await;
    let job = world
        .queue(json!({"steps": [{"script": "echo quick"}]}))
        .await;
    assert_eq!(world.outcome(&job).await.result, TaskResult::Succeeded);
    let asked = operator.script.lock().unwrap().accepted_asked.unwrap();
    let waited = asked.elapsed();
    assert!(
        waited > Duration::from_millis(4500) && waited < Duration::from_secs(20),
        "{waited:?}"
    );
    assert_eq!(agent.exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_claim_ends_the_agent_with_a_code_of_its_own() {
    let world = World::start().await;
    let script = Script {
        claim_refusals: VecDeque::from([409]),
        ..Script::default()
    };
    let (operator, mut agent) = claiming_agent(&world, script).await;
    assert_eq!(agent.exit().await.code(), Some(70));
    assert_eq!(operator.calls("/v1/claim").len(), 1);
    let log = agent.agent_log();
    assert!(log.contains("status 409: not now"), "{log}");
    assert!(!log.contains("pod-token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_why_the_job_container_ended_reaches_the_job() {
    let world = World::start().await;
    let (operator, mut agent) = claiming_agent(&world, Script::default()).await;
    let job = world
        .queue(json!({"steps": [{"script": "echo it runs; sleep 20"}]}))
        .await;
    world.line(&job, "it runs").await;
    // The kubelet notices some time after the agent.
    signal(agent.step_host.id(), "KILL");
    wait_for("the question why", || async {
        (!operator.calls("/v1/termination").is_empty()).then_some(())
    })
    .await;
    operator.script.lock().unwrap().termination = Some(Termination {
        reason: "OOMKilled".to_owned(),
        exit_code: 137,
        memory_limit: Some("64Mi".to_owned()),
    });
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Failed);
    let text = "OOMKilled, exit code 137, memory limit 64Mi";
    assert!(outcome.everything.contains(text), "{}", outcome.everything);
    assert_eq!(agent.exit().await.code(), Some(0));
}
