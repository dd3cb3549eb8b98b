//! The operator without its credential, gone, and killed, and the service away: jobs run on, once each, and what is
//! left is cleaned up later. These tests disturb every AgentPool, so they have a program of their own (cargo runs one after the other) and
//! take turns in it.

use anyhow::{Context, Result, ensure};
use dayfly_e2e::deadline::until;
use dayfly_e2e::jobs::{GONE_LIMIT, JOB_LIMIT, bash, hold};
use dayfly_e2e::names::SERVICE_URL;
use dayfly_e2e::scenario::{Scenario, name_of};
use dayfly_e2e::service::{Outage, Service, create_pat, revoke_pat};
use dayfly_e2e::{kubectl, operator};
use dayfly_wire::event::TaskResult;
use serde_json::json;
use std::time::Duration;
use tokio::sync::Mutex;

/// One at a time.
static TURN: Mutex<()> = Mutex::const_new(());
/// How long a renewed credential, or a new operator, may take until all is as it should be, on a busy machine.
const RECOVERY_LIMIT: Duration = Duration::from_secs(120);
/// What the last step of a job makes.
const LAST: &str = "/work/last";

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_while_the_credential_is_revoked_and_clean_up_waits_for_its_renewal() -> Result<()>
{
    let _turn = TURN.lock().await;
    let secret = "e2e-pat-revoked";
    let scenario = Scenario::outline("revoked").await?;
    let outcome = async {
        let (old, new) = (
            format!("{}-old", scenario.name),
            format!("{}-new", scenario.name),
        );
        scenario
            .put_credential(secret, &create_pat(&old).await?)
            .await?;
        let own = [scenario.name.as_str()];
        scenario
            .put_connection(SERVICE_URL, secret, &own, &own)
            .await?;
        let spec = json!({ "scaling": { "minIdle": 1, "maxAgents": 2 }, "reserve": { "size": 2 } });
        scenario.put_agent_pool(spec).await?;
        scenario.wait_reserved(2).await?;
        wait_idle(&scenario).await?;
        revoke_pat(&old).await?;
        scenario
            .wait_connection("CredentialsValid", "False", RECOVERY_LIMIT)
            .await?;

        // The agent that listens needs nobody's credential but its own; its successor comes from the reserve.
        let mut identities = Vec::new();
        for number in 1..=2 {
            let job = scenario
                .queue(&[bash(&format!("echo job {number}"))])
                .await?;
            identities.push(scenario.identity_of(&job).await?);
            scenario.expect(&job, TaskResult::Succeeded).await?;
        }
        ensure!(identities[0] != identities[1], "one agent ran two jobs");

        // Nobody can deregister them now, and that is known.
        for identity in &identities {
            let left = scenario.left_of(identity).await?;
            ensure!(
                left.contains(&"registration"),
                "of {identity} there is {left:?}"
            );
        }
        until("retired agents in the status", RECOVERY_LIMIT, || async {
            let status = &scenario.agent_pool().await?["status"];
            let retired = status["agents"]["retired"].as_i64().unwrap_or(0);
            Ok((retired >= 1).then_some(()))
        })
        .await?;

        scenario
            .put_credential(secret, &create_pat(&new).await?)
            .await?;
        for identity in &identities {
            scenario.wait_gone(identity, RECOVERY_LIMIT).await?;
        }
        scenario
            .wait_connection("CredentialsValid", "True", RECOVERY_LIMIT)
            .await
            .map(drop)
    }
    .await;
    scenario.conclude(outcome).await
}

/// Waits until the service sees an agent listen.
async fn wait_idle(scenario: &Scenario) -> Result<()> {
    until("an agent that listens", JOB_LIMIT, || async {
        let status = &scenario.agent_pool().await?["status"];
        let idle = status["agents"]["idle"].as_i64().unwrap_or(0);
        Ok((idle >= 1).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_outlives_the_operator_and_is_cleaned_up_by_the_next() -> Result<()> {
    let _turn = TURN.lock().await;
    Scenario::with("outlive", async |scenario| {
        let job = scenario.queue(&[hold("echo the operator is gone")]).await?;
        let identity = scenario.wait_holding(&job).await?;
        operator::stop().await?;
        let without = async {
            scenario.release(&identity).await?;
            scenario.expect(&job, TaskResult::Succeeded).await?;
            let logs = scenario.service.logs(&job).await?;
            ensure!(logs.contains("the operator is gone"), "{logs}");
            let left = scenario.left_of(&identity).await?;
            ensure!(
                left.contains(&"registration"),
                "somebody else cleaned up: {left:?}"
            );
            Ok(())
        }
        .await;
        // Whatever came of it: the other tests need an operator.
        operator::start().await?;
        without?;
        scenario.wait_gone(&identity, RECOVERY_LIMIT).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_runs_while_the_operator_is_killed_runs_to_its_end() -> Result<()> {
    let _turn = TURN.lock().await;
    Scenario::with("killed", async |scenario| {
        let job = scenario.queue(&[hold("echo done")]).await?;
        let identity = scenario.wait_holding(&job).await?;
        operator::kill().await?;
        operator::wait_ready().await?;
        // The new one may not have looked at anything yet when the job ends; it knows what to do all the same.
        ensure!(scenario.pod(&identity).await?.is_some(), "the pod is gone");
        scenario.release(&identity).await?;
        scenario.expect(&job, TaskResult::Succeeded).await?;
        scenario.wait_gone(&identity, GONE_LIMIT).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_killed_before_the_claim_replaces_the_pod_and_the_job_runs_once() -> Result<()>
{
    let _turn = TURN.lock().await;
    let scenario = Scenario::prepare("unclaimed", "e2e-pat").await?;
    let label = format!("dayfly.dev/{}", scenario.name);
    let outcome = async {
        // The pods find a node when the test says so.
        let pod = json!({ "spec": { "nodeSelector": { label.as_str(): "yes" } } });
        scenario
            .put_agent_pool(json!({ "templates": [{ "name": "default", "pod": pod }] }))
            .await?;
        scenario.wait_reserved(2).await?;
        // A script of one line is shown in the log as it is written; what it says is another text.
        let job = scenario.queue(&[bash("echo ran-$((6 * 7))")]).await?;
        let first = scenario.wait_pods(1).await?.remove(0);
        let burned = name_of(&first.metadata).to_owned();
        operator::kill().await?;
        operator::wait_ready().await?;
        // Whoever could have claimed it before, nobody may now: another takes its place.
        scenario.wait_gone(&burned, RECOVERY_LIMIT).await?;
        kubectl::run(&["label", "nodes", "--all", &format!("{label}=yes")]).await?;
        let request = scenario
            .service
            .expect(scenario.pool, &job, TaskResult::Succeeded, RECOVERY_LIMIT)
            .await?;
        let agent = request.reserved_agent.context("no agent")?.name;
        ensure!(agent != burned, "the burned identity ran the job");
        let feed = scenario.service.feed(job.request_id, 0).await?.value;
        let times = feed
            .iter()
            .filter(|entry| entry.line.contains("ran-42"))
            .count();
        ensure!(times == 1, "it ran {times} times: {feed:#?}");
        scenario.wait_gone(&agent, GONE_LIMIT).await
    }
    .await;
    kubectl::run(&["label", "nodes", "--all", &format!("{label}-")]).await?;
    scenario.conclude(outcome).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_outlives_an_outage_of_the_service_and_reports_its_end_afterwards() -> Result<()> {
    let _turn = TURN.lock().await;
    let mut scenario = Scenario::start("outage").await?;
    let outcome = async {
        let job = scenario
            .queue(&[
                hold("echo the service is away"),
                bash(&format!("echo a second step; touch {LAST}")),
            ])
            .await?;
        let identity = scenario.wait_holding(&job).await?;
        let outage = Outage::begin().await?;
        let during = async {
            scenario
                .wait_connection("Reachable", "False", RECOVERY_LIMIT)
                .await?;
            // The job goes on to its end with nobody to tell.
            scenario.release(&identity).await?;
            wait_for_the_last_step(&scenario, &identity).await
        }
        .await;
        // Whatever came of it: the other tests need a service.
        outage.end().await?;
        scenario.service = Service::connect().await?;
        during?;
        let request = scenario.expect(&job, TaskResult::Succeeded).await?;
        let agent = request.reserved_agent.context("no agent")?.name;
        ensure!(agent == identity, "another agent ran it: {agent}");
        let logs = scenario.service.logs(&job).await?;
        for line in ["the service is away", "a second step"] {
            ensure!(logs.contains(line), "{line:?} is not in the logs:\n{logs}");
        }
        scenario
            .wait_connection("Reachable", "True", RECOVERY_LIMIT)
            .await?;
        scenario.wait_gone(&identity, RECOVERY_LIMIT).await
    }
    .await;
    scenario.conclude(outcome).await
}

/// Waits until the last step made its file.
async fn wait_for_the_last_step(scenario: &Scenario, identity: &str) -> Result<()> {
    let namespace = scenario.name.as_str();
    let look = [
        "-n", namespace, "exec", identity, "-c", "job", "--", "test", "-e", LAST,
    ];
    until("the job's last step", JOB_LIMIT, || async {
        let (there, ..) = kubectl::attempt(&look, "").await?;
        Ok(there.then_some(()))
    })
    .await
}
