//! Timeline records: a patch merges into what is there.

use super::entities::{Plan, Run, RunJob};
use super::refusal::{Kind, Refusal};
use dayfly_wire::build::{BuildResult, BuildStatus};
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{JobId, RecordId};
use dayfly_wire::timeline::{
    ISSUES_PER_KIND, Issue, IssueKind, JOB, PHASE as PHASE_KIND, Record, RecordState,
    STAGE as STAGE_KIND,
};
use jiff::Timestamp;
use uuid::Uuid;

/// Merges a patch: absent members stay, issues replace, variables join.
pub fn merge(existing: Option<Record>, patch: Record, change: i64, now: Timestamp) -> Record {
    let old = existing.unwrap_or_else(|| Record {
        id: patch.id,
        ..Record::default()
    });
    let mut variables = old.variables;
    variables.extend(patch.variables);
    for variable in variables.values_mut() {
        // A job may report a secret output by mistake; what is stored can be read by many.
        if variable.is_secret {
            variable.value = None;
        }
    }
    Record {
        id: old.id,
        parent_id: patch.parent_id.or(old.parent_id),
        kind: patch.kind.or(old.kind),
        name: patch.name.or(old.name),
        start_time: patch.start_time.or(old.start_time),
        finish_time: patch.finish_time.or(old.finish_time),
        current_operation: patch.current_operation.or(old.current_operation),
        percent_complete: patch.percent_complete.or(old.percent_complete),
        state: patch.state.or(old.state),
        result: patch.result.or(old.result),
        result_code: patch.result_code.or(old.result_code),
        change_id: Some(change),
        last_modified: Some(now),
        worker_name: patch.worker_name.or(old.worker_name),
        order: patch.order.or(old.order),
        ref_name: patch.ref_name.or(old.ref_name),
        log: patch.log.or(old.log),
        details: patch.details.or(old.details),
        attempt: patch.attempt.or(old.attempt),
        identifier: patch.identifier.or(old.identifier),
        error_count: patch.error_count.or(old.error_count),
        warning_count: patch.warning_count.or(old.warning_count),
        issues: if patch.issues.is_empty() {
            old.issues
        } else {
            bounded(patch.issues)
        },
        task: patch.task.or(old.task),
        variables,
    }
}

/// The stage that all jobs of a run are in.
const STAGE: &str = "__default";

/// The id of a run's stage: the same whenever it is asked for.
pub fn stage_id(plan: &Plan) -> RecordId {
    RecordId(Uuid::new_v5(&plan.id.0, b"stage"))
}

/// The id of the phase that holds a job.
pub fn phase_id(job: &RunJob) -> RecordId {
    RecordId(Uuid::new_v5(&job.id.0, b"phase"))
}

/// The record of a run's stage.
pub fn stage(run: &Run) -> Record {
    let (state, result) = match run.status {
        BuildStatus::NotStarted => (RecordState::Pending, None),
        BuildStatus::InProgress | BuildStatus::Cancelling | BuildStatus::Other => {
            (RecordState::InProgress, None)
        }
        BuildStatus::Completed => (RecordState::Completed, run.result.map(stage_result)),
    };
    Record {
        id: stage_id(&run.plan),
        kind: Some(STAGE_KIND.to_owned()),
        name: Some(STAGE.to_owned()),
        ref_name: Some(STAGE.to_owned()),
        order: Some(1),
        state: Some(state),
        result,
        start_time: run.started_at,
        finish_time: run.finished_at,
        ..Record::default()
    }
}

fn stage_result(result: BuildResult) -> TaskResult {
    match result {
        BuildResult::Succeeded => TaskResult::Succeeded,
        BuildResult::PartiallySucceeded => TaskResult::SucceededWithIssues,
        BuildResult::Canceled => TaskResult::Canceled,
        BuildResult::Failed | BuildResult::Other => TaskResult::Failed,
    }
}

/// The record of the phase that holds a job; it goes as the job goes.
pub fn phase(plan: &Plan, job: &RunJob) -> Record {
    let state = match (job.result, job.started_at) {
        (Some(_), _) => RecordState::Completed,
        (None, Some(_)) => RecordState::InProgress,
        (None, None) => RecordState::Pending,
    };
    Record {
        id: phase_id(job),
        parent_id: Some(stage_id(plan)),
        kind: Some(PHASE_KIND.to_owned()),
        name: Some(job.display_name.clone()),
        ref_name: Some(job.name.clone()),
        order: Some(job.number),
        state: Some(state),
        result: job.result,
        start_time: job.started_at,
        finish_time: job.finished_at,
        ..Record::default()
    }
}

/// The job's record before the job is started.
pub fn pending(job: &RunJob) -> Record {
    Record {
        id: RecordId(job.id.0),
        parent_id: Some(phase_id(job)),
        kind: Some(JOB.to_owned()),
        name: Some(job.display_name.clone()),
        ref_name: Some(job.name.clone()),
        state: Some(RecordState::Pending),
        order: Some(1),
        ..Record::default()
    }
}

/// Whether a job may write a record: its own, or one below it.
pub fn belongs_to(job: JobId, existing: Option<&Record>, patch: &Record) -> bool {
    let own = RecordId(job.0);
    let parent = match existing {
        Some(existing) => existing.parent_id,
        None => patch.parent_id,
    };
    patch.id == own || parent == Some(own)
}

/// Whether a job may attach something to a record: not to one that another job has written.
pub fn may_attach(job: JobId, existing: Option<&Record>) -> bool {
    existing.is_none_or(|existing| belongs_to(job, Some(existing), existing))
}

/// Refuses what another job of the plan has made.
pub fn check_maker(job: JobId, maker: Option<JobId>, what: &str) -> Result<(), Refusal> {
    if maker.is_none_or(|maker| maker == job) {
        return Ok(());
    }
    Err(Refusal::new(
        Kind::Denied,
        format!("{what} belongs to another job than the token's"),
    ))
}

/// The patch that ends the job's record when the service ends the job.
pub fn ended(job: JobId, result: TaskResult, reason: Option<&str>, now: Timestamp) -> Record {
    let issue = reason.map(|reason| Issue {
        kind: IssueKind::Error,
        category: Some("General".to_owned()),
        message: reason.to_owned(),
        data: std::collections::BTreeMap::new(),
    });
    Record {
        id: RecordId(job.0),
        state: Some(RecordState::Completed),
        result: Some(result),
        finish_time: Some(now),
        issues: issue.into_iter().collect(),
        ..Record::default()
    }
}

fn bounded(issues: Vec<Issue>) -> Vec<Issue> {
    let (mut errors, mut warnings) = (0, 0);
    let mut keep = |issue: &Issue| {
        let count = match issue.kind {
            IssueKind::Warning => &mut warnings,
            IssueKind::Error | IssueKind::Other => &mut errors,
        };
        *count += 1;
        *count <= ISSUES_PER_KIND
    };
    issues.into_iter().filter(|issue| keep(issue)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{run, run_job};
    use super::*;
    use dayfly_wire::timeline::RecordVariable;

    #[test]
    fn records_of_a_run_hang_together() {
        let (run, job) = (run(), run_job("one", &[]));
        let phase = phase(&run.plan, &job);
        assert_eq!(pending(&job).parent_id, Some(phase.id));
        assert_eq!(phase.parent_id, Some(stage(&run).id));
        assert_eq!(phase.id, phase_id(&job), "asked twice, it is the same");
    }

    #[test]
    fn a_job_writes_its_own_records_and_no_others() {
        let (own, other) = (run_job("one", &[]), run_job("two", &[]));
        let step = |job: &RunJob| Record {
            id: RecordId(Uuid::new_v4()),
            parent_id: Some(RecordId(job.id.0)),
            ..Record::default()
        };
        let theirs = step(&other);
        assert!(belongs_to(own.id, None, &step(&own)));
        assert!(belongs_to(own.id, Some(&pending(&own)), &pending(&own)));
        assert!(!belongs_to(own.id, None, &theirs));
        assert!(!belongs_to(own.id, None, &pending(&other)));
        // A step of another job does not become one's own by saying so.
        let claimed = Record {
            parent_id: Some(RecordId(own.id.0)),
            ..theirs.clone()
        };
        assert!(!belongs_to(own.id, Some(&theirs), &claimed));
        assert!(may_attach(own.id, Some(&step(&own))) && may_attach(own.id, None));
        assert!(!may_attach(own.id, Some(&theirs)));
        assert!(check_maker(own.id, Some(own.id), "log 1").is_ok());
        assert!(check_maker(own.id, None, "log 1").is_ok());
        assert!(check_maker(own.id, Some(other.id), "log 1").is_err());
    }

    #[test]
    fn absent_members_stay_and_variables_join() {
        let old = Record {
            name: Some("build".to_owned()),
            state: Some(RecordState::InProgress),
            variables: [("a".to_owned(), RecordVariable::default())].into(),
            ..Record::default()
        };
        let secret = RecordVariable {
            value: Some("hush".to_owned()),
            is_secret: true,
        };
        let patch = Record {
            state: Some(RecordState::Completed),
            variables: [("b".to_owned(), secret)].into(),
            ..Record::default()
        };
        let merged = merge(Some(old), patch, 7, Timestamp::UNIX_EPOCH);
        assert_eq!(merged.name.as_deref(), Some("build"));
        assert_eq!(merged.state, Some(RecordState::Completed));
        assert_eq!(merged.change_id, Some(7));
        assert_eq!(merged.variables.len(), 2);
        assert_eq!(merged.variables["b"].value, None, "a secret is not stored");
    }
}
