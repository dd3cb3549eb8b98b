//! How results add up.

use dayfly_wire::event::TaskResult;

/// The worse of two results; what is worse than failed stays.
pub fn merge(current: Option<TaskResult>, new: TaskResult) -> TaskResult {
    match current {
        None => new,
        Some(current) if rank(current) > rank(TaskResult::Failed) => current,
        Some(current) if rank(new) >= rank(current) => new,
        Some(current) => current,
    }
}

/// What a step's result does to the job's: skipped and canceled steps do not count, a canceled job is marked by
/// the cancellation itself.
pub fn merge_into_job(job: Option<TaskResult>, step: TaskResult) -> Option<TaskResult> {
    match step {
        TaskResult::SucceededWithIssues | TaskResult::Failed => Some(merge(job, step)),
        TaskResult::Succeeded
        | TaskResult::Canceled
        | TaskResult::Skipped
        | TaskResult::Abandoned
        | TaskResult::Other => job,
    }
}

/// The word for `agent.jobstatus`.
pub fn status_word(result: Option<TaskResult>) -> &'static str {
    match result.unwrap_or(TaskResult::Succeeded) {
        TaskResult::Succeeded => "Succeeded",
        TaskResult::SucceededWithIssues => "SucceededWithIssues",
        TaskResult::Failed => "Failed",
        TaskResult::Canceled => "Canceled",
        TaskResult::Skipped => "Skipped",
        TaskResult::Abandoned | TaskResult::Other => "Abandoned",
    }
}

/// The result as a worker's exit code.
pub fn exit_code(result: TaskResult) -> u8 {
    100 + rank(result)
}

/// The result in a worker's exit code; `None` when the worker did not end by itself.
pub fn from_exit_code(code: i32) -> Option<TaskResult> {
    match code {
        100 => Some(TaskResult::Succeeded),
        101 => Some(TaskResult::SucceededWithIssues),
        102 => Some(TaskResult::Failed),
        103 => Some(TaskResult::Canceled),
        104 => Some(TaskResult::Skipped),
        105 => Some(TaskResult::Abandoned),
        _ => None,
    }
}

fn rank(result: TaskResult) -> u8 {
    match result {
        TaskResult::Succeeded => 0,
        TaskResult::SucceededWithIssues => 1,
        TaskResult::Failed => 2,
        TaskResult::Canceled => 3,
        TaskResult::Skipped => 4,
        TaskResult::Abandoned | TaskResult::Other => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TaskResult::{Abandoned, Canceled, Failed, Skipped, Succeeded, SucceededWithIssues};

    #[test]
    fn the_worse_result_wins_until_it_is_worse_than_failed() {
        for (current, new, merged) in [
            (None, Succeeded, Succeeded),
            (Some(Succeeded), SucceededWithIssues, SucceededWithIssues),
            (Some(Failed), Succeeded, Failed),
            (Some(Failed), Canceled, Canceled),
            (Some(Canceled), Failed, Canceled),
        ] {
            assert_eq!(merge(current, new), merged, "{current:?} {new:?}");
        }
    }

    #[test]
    fn skipped_steps_leave_the_job_alone() {
        assert_eq!(merge_into_job(None, Skipped), None);
        assert_eq!(merge_into_job(Some(Succeeded), Failed), Some(Failed));
        assert_eq!(merge_into_job(Some(Canceled), Failed), Some(Canceled));
    }

    #[test]
    fn exit_codes_go_both_ways_and_others_are_crashes() {
        for result in [
            Succeeded,
            SucceededWithIssues,
            Failed,
            Canceled,
            Skipped,
            Abandoned,
        ] {
            assert_eq!(from_exit_code(i32::from(exit_code(result))), Some(result));
        }
        assert_eq!(from_exit_code(0), None);
        assert_eq!(from_exit_code(137), None);
    }
}
