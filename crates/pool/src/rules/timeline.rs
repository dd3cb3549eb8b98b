//! Timeline records: a patch merges into what is there.

use super::entities::Request;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::RecordId;
use dayfly_wire::timeline::{ISSUES_PER_KIND, Issue, IssueKind, JOB, Record, RecordState};
use jiff::Timestamp;

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

/// The job's record as it is when the job is queued.
pub fn pending(request: &Request) -> Record {
    Record {
        id: RecordId(request.job.0),
        kind: Some(JOB.to_owned()),
        name: Some(request.name.clone()),
        ref_name: Some("__default".to_owned()),
        state: Some(RecordState::Pending),
        order: Some(1),
        ..Record::default()
    }
}

/// The patch that ends the job's record when the service ends the job.
pub fn ended(request: &Request, result: TaskResult, now: Timestamp) -> Record {
    let issue = request.status_message.as_ref().map(|message| Issue {
        kind: IssueKind::Error,
        category: Some("General".to_owned()),
        message: message.clone(),
        data: std::collections::BTreeMap::new(),
    });
    Record {
        id: RecordId(request.job.0),
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
    use super::*;
    use dayfly_wire::timeline::RecordVariable;

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
