//! The rounds: a bare pod, the same pod with all its volumes, a job; one after the other, so that what else the
//! machine does touches all three alike.
#![allow(clippy::disallowed_methods)] // The clock is what this is about.

use crate::args::Args;
use crate::floor::{self, Shape};
use crate::summary::Sample;
use anyhow::{Context, Result};
use dayfly_e2e::deadline::until;
use dayfly_e2e::jobs::{GONE_LIMIT, JOB_LIMIT};
use dayfly_e2e::scenario::Scenario;
use dayfly_e2e::stages::{PodHistory, PodWatch, milliseconds};
use dayfly_wire::event::TaskResult;
use dayfly_wire::queue::QueuedJob;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodSpec;
use serde_json::json;

/// The step's first line begins so; its own clock follows.
const MARK: &str = "first-line ";
/// Identities without a pod: enough that no job waits for a key or a registration.
const RESERVE: usize = 3;

/// Runs all rounds, and removes what they needed.
pub(crate) async fn run(args: &Args) -> Result<Vec<Sample>> {
    let scenario = Scenario::prepare("bench", "e2e-pat").await?;
    let measured = measure(&scenario, args).await;
    let removed = scenario.remove().await;
    let samples = measured?;
    removed.context("failed to clean up")?;
    Ok(samples)
}

async fn measure(scenario: &Scenario, args: &Args) -> Result<Vec<Sample>> {
    scenario
        .put_agent_pool(json!({ "reserve": { "size": RESERVE } }))
        .await?;
    let pods = PodWatch::start(scenario.kube.clone(), &scenario.name).await?;
    let mut spec = None;
    for _ in 0..args.warm_up {
        let (_, seen) = job(scenario, &pods).await?;
        spec = spec.or(seen);
    }
    let spec = spec.context("the first job's pod was not seen")?;
    let mut samples = Vec::new();
    for number in 1..=args.jobs {
        let bare = floor::start(scenario, &spec, Shape::Bare, number).await?;
        let shaped = floor::start(scenario, &spec, Shape::SameVolumes, number).await?;
        let (sample, _) = job(scenario, &pods).await?;
        let sample = Sample {
            bare,
            shaped,
            ..sample
        };
        crate::report::progress(number, args.jobs, &sample);
        samples.push(sample);
    }
    Ok(samples)
}

/// One job, from a full reserve to nothing left of it; and the spec of the pod that ran it.
async fn job(scenario: &Scenario, pods: &PodWatch) -> Result<(Sample, Option<PodSpec>)> {
    scenario.wait_reserved(RESERVE).await?;
    let script = format!("echo {MARK}$(date +%s.%N)\nsleep 0.2");
    let job = scenario.queue(&[json!({ "bash": script })]).await?;
    let (line, first_line) = first_line(scenario, &job).await?;
    let identity = scenario.identity_of(&job).await?;
    let spec = scenario.pod(&identity).await?.and_then(|pod| pod.spec);
    let request = scenario.expect(&job, TaskResult::Succeeded).await?;
    let (deregistered, deleted) = gone(scenario, pods, &identity).await?;
    let history = pods.histories().remove(&identity).unwrap_or_default();
    let finished = request.finish_time.context("no time of finishing")?;
    let queued = request.queue_time.context("no time of queueing")?;
    let since = |time: Timestamp| milliseconds(queued, time);
    let stage = |stage: &str| history.stage(stage).map_or(f64::NAN, since);
    let sample = Sample {
        created: history.seen.map_or(f64::NAN, since),
        claimed: stage("claimed"),
        listening: stage("listening"),
        accepted: stage("accepted"),
        step: since(clock(&line)?),
        first_line: since(first_line),
        finished: since(finished),
        deregistered: since(deregistered),
        deleted: since(deleted),
        bare: f64::NAN,
        shaped: f64::NAN,
    };
    Ok((sample, spec))
}

/// The first line of the job's step as whoever follows the job sees it, and when.
async fn first_line(scenario: &Scenario, job: &QueuedJob) -> Result<(String, Timestamp)> {
    let follow = async {
        let mut after = 0;
        loop {
            let page = scenario.service.feed(job.request_id, after).await?;
            let now = Timestamp::now();
            let mut lines = page.value.iter().map(|entry| entry.line.as_str());
            if let Some(line) = lines.find_map(|line| line.split_once(MARK)) {
                return Ok((line.1.to_owned(), now));
            }
            anyhow::ensure!(page.result.is_none(), "the job ended without a line");
            after = page.next;
        }
    };
    tokio::time::timeout(JOB_LIMIT, follow)
        .await
        .context("timed out waiting for the first line of a job")?
}

/// Seconds and nanoseconds as `date +%s.%N` writes them.
pub(crate) fn clock(text: &str) -> Result<Timestamp> {
    let (seconds, nanoseconds) = text.trim().split_once('.').context("not a time")?;
    let nanoseconds = nanoseconds.parse().context("not a time")?;
    Ok(Timestamp::new(seconds.parse()?, nanoseconds)?)
}

/// When registration and pod were gone; the sealed Secret went long before.
async fn gone(
    scenario: &Scenario,
    pods: &PodWatch,
    identity: &str,
) -> Result<(Timestamp, Timestamp)> {
    let what = format!("registration of {identity} to be gone");
    let deregistered = until(&what, GONE_LIMIT, || async {
        let agents = scenario.service.agents(scenario.pool).await?;
        let left = agents.iter().any(|agent| agent.name == identity);
        Ok((!left).then(Timestamp::now))
    });
    let what = format!("pod {identity} to be gone");
    let deleted = until(&what, GONE_LIMIT, || async {
        let history: Option<PodHistory> = pods.histories().remove(identity);
        Ok(history.and_then(|history| history.deleted))
    });
    tokio::try_join!(deregistered, deleted)
}
