//! What becomes of the jobs of a run.

use crate::expression::{Expression, Place, Scope, Status, StatusQuestion, Value};
use crate::runtime::Unresolved;
use dayfly_wire::event::TaskResult;
use std::collections::BTreeMap;

/// A job of a run, as decisions see it.
#[derive(Clone, Copy, Debug)]
pub struct JobState<'a> {
    /// Its name.
    pub name: &'a str,
    /// The jobs that it waits for, by name.
    pub depends_on: &'a [String],
    /// Its condition, as it was written; none is `succeeded()`.
    pub condition: Option<&'a str>,
    /// How it ended, once it has.
    pub result: Option<TaskResult>,
    /// What its steps set for other jobs, as `STEP.NAME`; secret ones are missing.
    pub outputs: &'a BTreeMap<String, String>,
}

/// What becomes of a job that waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// It starts.
    Start,
    /// It is left out.
    Leave {
        /// As what it counts: skipped; canceled in a run that was cancelled; failed when its condition has no value.
        result: TaskResult,
        /// Why, for a person.
        reason: String,
    },
}

/// Whether a job still waits for others, so that nothing can be decided about it.
pub fn waits(job: &JobState<'_>, jobs: &[JobState<'_>]) -> bool {
    direct(job, jobs).iter().any(|other| other.result.is_none())
}

/// What becomes of a job whose dependencies have ended.
///
/// `variable` gives the job's variables, resolved. In a run that was cancelled a job starts only if its condition
/// says so, as `always()` does.
pub fn next(
    job: &JobState<'_>,
    jobs: &[JobState<'_>],
    is_cancelled: bool,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Next {
    let status = Before {
        jobs: before(job, jobs),
        is_cancelled,
    };
    let holds = Expression::condition_at(job.condition, Place::Job)
        .map_err(|error| error.to_string())
        .and_then(|condition| {
            let scope = Scope {
                variable,
                status: &status,
                dependencies: &dependencies(job, jobs),
            };
            condition.holds(&scope).map_err(|error| error.to_string())
        });
    match holds {
        Ok(true) => Next::Start,
        Ok(false) => left_out(job, &status),
        Err(reason) => no_value(&Unresolved {
            what: "condition".to_owned(),
            reason,
        }),
    }
}

/// A job whose variables or condition have no value fails: leaving it out would look like success.
pub fn no_value(unresolved: &Unresolved) -> Next {
    Next::Leave {
        result: TaskResult::Failed,
        reason: format!("The job was not started. {unresolved}"),
    }
}

fn left_out(job: &JobState<'_>, status: &Before<'_>) -> Next {
    if status.is_cancelled {
        return Next::Leave {
            result: TaskResult::Canceled,
            reason: "The run was cancelled before the job started.".to_owned(),
        };
    }
    let is_near = |other: &&&JobState<'_>| {
        let mut names = job.depends_on.iter();
        names.any(|name| name.eq_ignore_ascii_case(other.name))
    };
    // A job that it names itself says more to a person than one further up the line.
    let near = status.jobs.iter().filter(is_near);
    let bad = near.chain(&status.jobs).find(|other| !went_well(other));
    let reason = match (job.condition, bad) {
        (None, Some(other)) => format!("Job {} did not succeed.", other.name),
        (condition, _) => format!(
            "Its condition does not hold: {}",
            condition.unwrap_or("succeeded()")
        ),
    };
    Next::Leave {
        result: TaskResult::Skipped,
        reason,
    }
}

/// What `dependencies` is for a job: results and outputs of the jobs that it names in `dependsOn`.
pub fn dependencies(job: &JobState<'_>, jobs: &[JobState<'_>]) -> Value {
    Value::object(direct(job, jobs).into_iter().map(|other| {
        let outputs = other
            .outputs
            .iter()
            .map(|(name, value)| (name.clone(), Value::Text(value.clone())));
        let members = [
            (
                "result".to_owned(),
                Value::Text(word(other.result).to_owned()),
            ),
            ("outputs".to_owned(), Value::object(outputs)),
        ];
        (other.name.to_owned(), Value::object(members))
    }))
}

fn direct<'a, 'b>(job: &JobState<'_>, jobs: &'b [JobState<'a>]) -> Vec<&'b JobState<'a>> {
    jobs.iter()
        .filter(|other| {
            job.depends_on
                .iter()
                .any(|name| name.eq_ignore_ascii_case(other.name))
        })
        .collect()
}

/// All jobs that have ended before: a failure further up the line counts too.
fn before<'a, 'b>(job: &JobState<'_>, jobs: &'b [JobState<'a>]) -> Vec<&'b JobState<'a>> {
    let mut found: Vec<&JobState<'a>> = Vec::new();
    let mut open = direct(job, jobs);
    while let Some(other) = open.pop() {
        if !found.iter().any(|known| known.name == other.name) {
            open.extend(direct(other, jobs));
            found.push(other);
        }
    }
    found.sort_by_key(|other| jobs.iter().position(|each| each.name == other.name));
    found
}

/// What a job's status functions ask about.
struct Before<'a> {
    jobs: Vec<&'a JobState<'a>>,
    is_cancelled: bool,
}

impl Status for Before<'_> {
    fn holds(&self, question: StatusQuestion, names: &[String]) -> bool {
        let mut asked = Vec::new();
        for job in &self.jobs {
            if names.is_empty() || names.iter().any(|name| name.eq_ignore_ascii_case(job.name)) {
                asked.push(job);
            }
        }
        // A name that was put together and means nobody.
        let is_unknown =
            |name: &String| !asked.iter().any(|job| name.eq_ignore_ascii_case(job.name));
        match question {
            StatusQuestion::Canceled => self.is_cancelled,
            _ if self.is_cancelled || names.iter().any(is_unknown) => false,
            StatusQuestion::Succeeded => asked.iter().all(|job| went_well(job)),
            StatusQuestion::Failed => asked.iter().any(|job| went_wrong(job)),
            StatusQuestion::SucceededOrFailed => {
                names.is_empty() || asked.iter().all(|job| went_well(job) || went_wrong(job))
            }
        }
    }
}

fn went_well(job: &JobState<'_>) -> bool {
    matches!(
        job.result,
        Some(TaskResult::Succeeded | TaskResult::SucceededWithIssues)
    )
}

fn went_wrong(job: &JobState<'_>) -> bool {
    matches!(
        job.result,
        Some(TaskResult::Failed | TaskResult::Abandoned | TaskResult::Other)
    )
}

/// A result as expressions spell it.
fn word(result: Option<TaskResult>) -> &'static str {
    match result {
        None => "",
        Some(TaskResult::Succeeded) => "Succeeded",
        Some(TaskResult::SucceededWithIssues) => "SucceededWithIssues",
        Some(TaskResult::Failed | TaskResult::Other) => "Failed",
        Some(TaskResult::Canceled) => "Canceled",
        Some(TaskResult::Skipped) => "Skipped",
        Some(TaskResult::Abandoned) => "Abandoned",
    }
}
