//! One step: its condition, its attempts, its result.

use super::command_uploads::Upload;
use super::job::Job;
use super::plan::{Kind, Planned};
use super::process::until;
use super::record::RecordWriter;
use super::result::merge;
use super::steps::{artifacts, cache, checkout, node, script};
use super::tasks::Task;
use crate::host::link::HostError;
use dayfly_pipeline::expression::{EvaluateError, Scope, Value};
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::RecordId;
use dayfly_wire::timeline::TaskReference;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The most retries that a step may ask for.
const MOST_RETRIES: i64 = 10;
const SKIPPED: &str = "Skipping step due to condition evaluation.";

/// A record of a step, as it is shown.
pub(crate) struct StepRow {
    pub(crate) id: RecordId,
    pub(crate) name: String,
    pub(crate) ref_name: Option<String>,
    pub(crate) task: Option<TaskReference>,
    /// The step that it belongs to.
    pub(crate) step: Option<RecordId>,
}

/// A step while it runs.
pub(crate) struct Running<'a> {
    pub(crate) job: &'a mut Job,
    pub(crate) planned: &'a Planned,
    pub(crate) ref_name: Option<&'a str>,
    pub(crate) record: RecordWriter,
    /// When the step has taken too long.
    pub(crate) deadline: Option<Instant>,
    /// What the step's own commands said of its result.
    pub(crate) said: Option<TaskResult>,
    /// A command could not be obeyed, in whichever attempt.
    pub(crate) command_failed: bool,
    /// What its output asked to send; done when its process has ended.
    pub(crate) uploads: Vec<Upload>,
    /// How far the step has said that it is.
    pub(crate) percent: i64,
    /// How much of its outputs is published, in bytes.
    pub(crate) outputs: usize,
    /// Why it ended as it did, where that is not plain.
    pub(crate) result_code: Option<String>,
    /// When the step is over even if its process is not: its own command said so.
    pub(crate) over: Option<Instant>,
    /// A cancellation was seen, and the step runs on because its condition still holds.
    pub(crate) runs_on: bool,
}

/// Why an attempt did not end by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// It cannot work; the text says why and what to do.
    #[error("{0}")]
    Failed(String),
    /// The step host is gone.
    #[error("the job container is gone")]
    StepHostLost,
    /// The job was canceled.
    #[error("The operation was canceled.")]
    Canceled,
    /// The step took longer than it may.
    #[error("The task has timed out.")]
    TimedOut,
    /// It may not run here; the text says why.
    #[error("{0}")]
    Skipped(String),
}

impl From<HostError> for StepError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Refused(reason) => Self::Failed(reason),
            HostError::Lost => Self::StepHostLost,
        }
    }
}

/// Runs a step, or skips it, and adds its result to the job's.
pub(crate) async fn run(job: &mut Job, planned: Planned, row: &StepRow) {
    job.refresh_variables();
    let mut record = job.writer(row.id);
    record.begin();
    if job.lost.is_some() {
        return record.complete(
            TaskResult::Skipped,
            Some("The job container is gone.".to_owned()),
        );
    }
    match holds(job, &planned) {
        Ok(true) => {}
        Ok(false) => {
            record.write(SKIPPED);
            for line in in_state(job, |scope| planned.condition.trace(scope)).lines() {
                record.write(&line);
            }
            return record.complete(TaskResult::Skipped, Some(SKIPPED.to_owned()));
        }
        Err(error) => {
            record.error(&format!("The step's condition has no value: {error}"));
            job.add_result(TaskResult::Failed);
            return record.complete(TaskResult::Failed, None);
        }
    }
    record.section(&format!("Starting: {}", row.name));
    job.begin_task_variables(&planned, &row.name);
    let mut running = Running {
        ref_name: row.ref_name.as_deref(),
        deadline: deadline(planned.step.timeout_in_minutes),
        planned: &planned,
        record,
        said: None,
        command_failed: false,
        uploads: Vec::new(),
        percent: 0,
        outputs: 0,
        result_code: None,
        over: None,
        runs_on: job.listener.canceled().is_cancelled(),
        job,
    };
    let result = running.with_retries().await;
    let result = match result {
        TaskResult::Failed if planned.step.continue_on_error => TaskResult::SucceededWithIssues,
        other => other,
    };
    running.record.section(&format!("Finishing: {}", row.name));
    let result_code = running.result_code.take();
    running.record.complete(result, result_code);
    running.job.add_result(result);
    running.job.end_task_variables();
}

/// Whether the step's condition holds in the job's present state.
pub(crate) fn holds(job: &Job, planned: &Planned) -> Result<bool, EvaluateError> {
    in_state(job, |scope| planned.condition.holds(scope))
}

/// Whether the step would run on if the job were canceled now.
pub(crate) fn would_run_on(job: &Job, planned: &Planned) -> bool {
    let holds = with_status(job, TaskResult::Canceled, |scope| {
        planned.condition.holds(scope)
    });
    holds.unwrap_or(false)
}

/// Looks at an expression in the job's present state.
fn in_state<T>(job: &Job, look: impl FnOnce(&Scope<'_>) -> T) -> T {
    let status = job.result.unwrap_or(TaskResult::Succeeded);
    with_status(job, status, look)
}

fn with_status<T>(job: &Job, status: TaskResult, look: impl FnOnce(&Scope<'_>) -> T) -> T {
    look(&Scope {
        variable: &|name| job.variables.value(name).map(ToOwned::to_owned),
        status: &status,
        dependencies: &Value::Null,
    })
}

fn deadline(minutes: i64) -> Option<Instant> {
    let minutes = u64::try_from(minutes).ok().filter(|minutes| *minutes > 0)?;
    Instant::now().checked_add(Duration::from_secs(minutes.checked_mul(60)?))
}

impl Running<'_> {
    async fn with_retries(&mut self) -> TaskResult {
        let retries = self.retries();
        let mut attempt = 0;
        loop {
            (self.said, self.over) = (None, None);
            let (result, again) = self.attempt().await;
            if !again || result != TaskResult::Failed || attempt >= retries {
                return result;
            }
            attempt += 1;
            let wait = Duration::from_secs(u64::from(attempt * attempt));
            self.record.warning(&format!(
                "RetryHelper encountered task failure, will retry (attempt #: {attempt} out of {retries}) after {} ms",
                wait.as_millis()
            ));
            tokio::select! {
                () = sleep(wait) => {}
                () = self.job.listener.canceled().cancelled(), if !self.runs_on => return TaskResult::Canceled,
                () = until(self.deadline) => {
                    self.record.error(&StepError::TimedOut.to_string());
                    return TaskResult::Failed;
                }
            }
        }
    }

    fn retries(&mut self) -> u32 {
        let wanted = self.planned.step.retry_count_on_task_failure;
        if wanted > MOST_RETRIES {
            self.record.warning(&format!(
                "The maximum allowed number of attempts is {MOST_RETRIES} but got {wanted}."
            ));
        }
        u32::try_from(wanted.clamp(0, MOST_RETRIES)).unwrap_or(0)
    }

    /// One attempt: its result, and whether another may be made.
    async fn attempt(&mut self) -> (TaskResult, bool) {
        let outcome = match self.planned.kind {
            Kind::Checkout => checkout::run(self).await,
            Kind::CmdLine | Kind::Bash | Kind::PowerShell => script::run(self).await,
            Kind::Artifact(task) => artifacts::run(self, task).await,
            Kind::Cache => cache::run(self).await,
            Kind::Task => node::run(self).await,
        };
        match outcome {
            Ok(result) => {
                let result = self.said.map_or(result, |said| merge(Some(said), result));
                let result = if self.command_failed {
                    merge(Some(result), TaskResult::Failed)
                } else {
                    result
                };
                (result, true)
            }
            Err(StepError::StepHostLost) => {
                let reason = self.job.step_host_lost().await;
                self.record.error(&reason);
                (TaskResult::Failed, false)
            }
            Err(error @ StepError::Canceled) => {
                self.job.note_cancellation();
                self.record.error(&error.to_string());
                (TaskResult::Canceled, false)
            }
            Err(error @ StepError::TimedOut) => {
                self.record.error(&error.to_string());
                (TaskResult::Failed, false)
            }
            Err(StepError::Failed(reason)) => {
                self.record.error(&reason);
                (TaskResult::Failed, true)
            }
            Err(StepError::Skipped(reason)) => {
                self.record.write(&format!("##[warning]{reason}"));
                self.result_code = Some(reason);
                (TaskResult::Skipped, false)
            }
        }
    }

    /// An input without macros; `None` when it is absent or blank. The second part says whether a secret went in.
    pub(crate) fn input(&self, name: &str) -> (Option<String>, bool) {
        let found = self
            .planned
            .step
            .inputs
            .iter()
            .find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
        let Some((_, value)) = found else {
            return (None, false);
        };
        let expanded = self.job.variables.substitute(value.expose().trim());
        let text = expanded.text.expose().to_owned();
        (Some(text).filter(|text| !text.is_empty()), expanded.secret)
    }

    /// The task that the step runs, if it runs one of the service's.
    pub(crate) fn task(&self) -> Option<&Task> {
        self.planned.task.as_deref()
    }

    /// Whether an input says yes.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.input(name)
            .0
            .is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
    }

    /// Kills what earlier steps left running, and says so.
    pub(crate) async fn stop_leftovers(&mut self, because: &str) -> Result<(), StepError> {
        let killed = self.job.link.kill_everything().await;
        let processes = killed.map_err(|error| match error {
            HostError::Refused(reason) => StepError::Failed(format!(
                "What earlier steps left running must be stopped because {because}, and {reason}."
            )),
            HostError::Lost => StepError::StepHostLost,
        })?;
        if !processes.is_empty() {
            self.record.write(&format!(
                "Stopped what earlier steps left running, because {because}: {}",
                processes.join(", ")
            ));
        }
        Ok(())
    }

    /// Called when the job is canceled while the step runs: whether the step has to end. A step whose condition
    /// still holds runs on.
    pub(crate) fn must_end(&mut self) -> bool {
        self.job.note_cancellation();
        let holds = holds(self.job, self.planned).unwrap_or(false);
        self.runs_on = holds;
        !holds
    }
}
