//! The end of a job: what is cleaned up, and the last call.

use super::job::Job;
use super::plan::{Kind, Planned};
use super::report::sender::{Destination, Sending};
use super::result::merge;
use super::step::{self, StepRow};
use crate::backoff::{doubling, jitter};
use crate::control::FromWorker;
use crate::host::link::HostError;
use dayfly_client::Error;
use dayfly_wire::error::key;
use dayfly_wire::event::{JOB_COMPLETED, JobEvent, TaskResult};
use dayfly_wire::ids::RequestId;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How often a refusal is tried again that trying again is not known to mend.
const REFUSALS: u32 = 5;

/// The post-job parts, in order.
pub(crate) async fn post_job(job: &mut Job, parts: Vec<Planned>, rows: &[StepRow]) {
    for (part, row) in parts.into_iter().zip(rows) {
        if part.kind == Kind::Checkout {
            after_checkout(job, row).await;
        } else {
            step::run(job, part, row).await;
            job.note_cancellation();
        }
    }
}

/// Removes the credentials that were kept for later steps.
async fn after_checkout(job: &mut Job, row: &StepRow) {
    let record = job.writer(row.id);
    record.begin();
    if job.checked_out == 0 || job.lost.is_some() {
        return record.complete(TaskResult::Skipped, None);
    }
    record.section(&format!("Starting: {}", row.name));
    let kept = std::mem::take(&mut job.kept_credentials);
    if kept.is_empty() {
        record.write("No credential was stored with the sources.");
    }
    for file in kept {
        match job.link.remove(&file).await {
            Ok(()) => record.write("Removed the credential that was kept for the steps."),
            // The memory volume goes with the pod.
            Err(error) => record.write(&format!("The credential is left in {file}: {error}.")),
        }
    }
    record.section(&format!("Finishing: {}", row.name));
    record.complete(TaskResult::Succeeded, None);
}

/// Kills what is left in the job container.
pub(crate) async fn finalize(job: &mut Job, row: &StepRow) {
    let record = job.writer(row.id);
    record.begin();
    record.section(&format!("Starting: {}", row.name));
    if job.lost.is_none() {
        record.write("Cleaning up task key");
        let key = format!(
            "{}/_temp/.taskkey",
            job.facts.job_work.trim_end_matches('/')
        );
        // It opens nothing that outlives the tasks; if the container is gone, so is it.
        let _ = job.link.remove(&key).await;
        record.write("Start cleaning up orphan processes.");
        match job.link.kill_everything().await {
            Ok(processes) => {
                for process in processes {
                    record.write(&format!("Terminate orphan process: pid {process}"));
                }
            }
            // They end with the pod.
            Err(HostError::Refused(reason)) => record.write(&format!("##[warning]{reason}")),
            // Between the last step and now; nothing of the job is lost by it.
            Err(HostError::Lost) => record.write("The job container ended early."),
        }
    }
    record.section(&format!("Finishing: {}", row.name));
    record.complete(TaskResult::Succeeded, None);
}

/// Sends what is left and raises the job's end; `None` when the service does not have it.
pub(crate) async fn report(job: Job, sending: Sending) -> Option<TaskResult> {
    let mut result = job.result.unwrap_or(TaskResult::Succeeded);
    job.record
        .section(&format!("Finishing: {}", job.message.job_display_name));
    job.record.complete(result, None);
    let reporter = Arc::clone(&job.reporter);
    if !sending.finish(&reporter).await {
        tracing::error!("failed to publish all records");
        result = merge(Some(result), TaskResult::Failed);
    }
    job.listener.say(FromWorker::Ending { result }).await;
    job.listener.may_complete().await;
    let event = completed(&job, job.message.request_id, result);
    if !raise(&job.destination, &event).await {
        return None;
    }
    job.listener.say(FromWorker::Reported { result }).await;
    Some(result)
}

fn completed(job: &Job, request_id: RequestId, result: TaskResult) -> JobEvent {
    JobEvent {
        name: JOB_COMPLETED.to_owned(),
        job_id: job.message.job_id,
        request_id,
        result: Some(result),
        agent_shutting_down: true,
    }
}

async fn raise(destination: &Destination, event: &JobEvent) -> bool {
    let deadline = Instant::now() + destination.trouble_limit;
    let mut may_be_there = false;
    for attempt in 0.. {
        let sent = destination
            .client
            .raise_event(&destination.scope, event)
            .await;
        let error = match sent {
            Ok(()) => return true,
            Err(error) => error,
        };
        // The token ends with the job, so it is refused when an answer that was lost had said yes.
        let had_arrived = may_be_there && matches!(error, Error::Unauthorized(_));
        may_be_there |= matches!(
            error,
            Error::Transport(_) | Error::Decode { .. } | Error::TooLong { .. }
        );
        if is_over(&error) || had_arrived {
            tracing::warn!(%error, "the service has ended the job already");
            return true;
        }
        tracing::warn!(%error, attempt, "failed to report the job's end");
        let refused = !error.is_retryable() && attempt + 1 >= REFUSALS;
        if refused || Instant::now() >= deadline {
            return false;
        }
        sleep(doubling(FIRST_WAIT, LONGEST_WAIT, attempt, jitter())).await;
    }
    false
}

/// There is nothing left to report the end to: the service ended the job itself.
fn is_over(error: &Error) -> bool {
    matches!(
        error.type_key(),
        Some(key::PLAN_NOT_FOUND | key::PLAN_SECURITY | key::JOB_NOT_FOUND)
    )
}
