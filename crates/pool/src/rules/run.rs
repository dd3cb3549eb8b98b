//! The life of a run: what its jobs say about it, and which of those that wait start or are left out.

use super::entities::{Run, RunJob};
use super::refusal::Refusal;
use super::run_variables;
pub use dayfly_pipeline::decide::Next;
use dayfly_pipeline::decide::{self, JobState};
use dayfly_pipeline::runtime;
use dayfly_wire::build::{BuildResult, BuildStatus};
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::JobId;
use dayfly_wire::timeline::Record;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// The name of a run's only job.
pub const ONLY_JOB: &str = "__default";
/// The most jobs of one run.
pub const MAX_JOBS: usize = 256;
const MAX_NAME: usize = 100;

/// A job that may be made, as the others of its run see it.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Its name.
    pub name: &'a str,
    /// The names of the jobs that it waits for.
    pub depends_on: &'a [String],
}

/// Checks that a run has jobs, and that none of them waits for ever.
pub fn check(jobs: &[Draft<'_>]) -> Result<(), Refusal> {
    if jobs.is_empty() || jobs.len() > MAX_JOBS {
        return Err(Refusal::invalid(format!(
            "jobs: a run has 1 to {MAX_JOBS} jobs"
        )));
    }
    let mut names = BTreeSet::new();
    for (index, job) in jobs.iter().enumerate() {
        check_name(index, job.name)?;
        if !names.insert(key(job.name)) {
            return Err(Refusal::invalid(format!(
                "jobs[{index}]: {:?} is the name of an earlier job",
                job.name
            )));
        }
    }
    for job in jobs {
        if let Some(missing) = job
            .depends_on
            .iter()
            .find(|name| !names.contains(&key(name)))
        {
            return Err(Refusal::invalid(format!(
                "job {:?} waits for {missing:?}, and there is no such job",
                job.name
            )));
        }
    }
    check_order(jobs)
}

fn check_name(index: usize, name: &str) -> Result<(), Refusal> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(good) {
        return Err(Refusal::invalid(format!(
            "jobs[{index}]: {name:?} is no name; use 1 to {MAX_NAME} letters, digits and '_'"
        )));
    }
    Ok(())
}

/// Puts jobs in an order in which each comes after those that it waits for; what is left over waits in a circle.
fn check_order(jobs: &[Draft<'_>]) -> Result<(), Refusal> {
    let mut rest: Vec<_> = jobs.iter().collect();
    let mut placed = BTreeSet::new();
    while !rest.is_empty() {
        let before = rest.len();
        rest.retain(|job| {
            let ready = job
                .depends_on
                .iter()
                .all(|name| placed.contains(&key(name)));
            if ready {
                placed.insert(key(job.name));
            }
            !ready
        });
        if rest.len() == before {
            let names: Vec<_> = rest.iter().map(|job| job.name).collect();
            return Err(Refusal::invalid(format!(
                "jobs wait for each other: {}",
                names.join(", ")
            )));
        }
    }
    Ok(())
}

fn key(name: &str) -> String {
    name.to_lowercase()
}

/// The first job about which something can be decided. It is asked again after each answer was acted upon.
pub fn ready<'a>(run: &Run, jobs: &'a [RunJob]) -> Option<&'a RunJob> {
    jobs.iter().filter(|job| job.is_pending()).find(|job| {
        // In a cancelled run only a condition of its own can start a job.
        let is_lost = run.cancelled_at.is_some() && job.condition.is_none();
        is_lost
            || waited_for(job, jobs)
                .iter()
                .all(|other| other.result.is_some())
    })
}

/// The jobs that a job waits for.
pub fn waited_for<'a>(job: &RunJob, jobs: &'a [RunJob]) -> Vec<&'a RunJob> {
    let names: BTreeSet<_> = job.depends_on.iter().map(|name| key(name)).collect();
    jobs.iter()
        .filter(|other| names.contains(&key(&other.name)))
        .collect()
}

/// What the steps of a run's jobs set for other jobs, as `STEP.NAME`, by job. Secret values are not there.
pub type Outputs = BTreeMap<JobId, BTreeMap<String, String>>;

/// Finds the output variables in a run's records.
pub fn outputs(records: &[Record]) -> Outputs {
    let mut found = Outputs::new();
    for record in records {
        let (Some(job), Some(step)) = (record.parent_id, &record.ref_name) else {
            continue;
        };
        let own = found.entry(JobId(job.0)).or_default();
        for (name, variable) in &record.variables {
            if let Some(value) = variable.value.as_ref().filter(|_| !variable.is_secret) {
                own.insert(format!("{step}.{name}"), value.clone());
            }
        }
    }
    found
}

/// What becomes of a job that is [`ready`], and the values of its variables, of which `written` are the plain ones.
pub fn decision(
    run: &Run,
    job: &RunJob,
    jobs: &[RunJob],
    outputs: &Outputs,
    written: &[(String, String)],
) -> (Next, BTreeMap<String, String>) {
    let none = BTreeMap::new();
    let states: Vec<_> = jobs
        .iter()
        .map(|other| JobState {
            name: &other.name,
            depends_on: &other.depends_on,
            condition: other.condition.as_deref(),
            result: other.result,
            outputs: outputs.get(&other.id).unwrap_or(&none),
        })
        .collect();
    let Some(state) = states.iter().find(|state| state.name == job.name) else {
        return (Next::Start, BTreeMap::new());
    };
    let set = |name: &str| run_variables::value(run, job, name);
    let dependencies = decide::dependencies(state, &states);
    let resolved = runtime::resolve(written, &set, &dependencies);
    let known = resolved.clone().unwrap_or_default();
    let variable = |name: &str| {
        let own = || known.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        set(name).or_else(|| own().map(|(_, value)| value.clone()))
    };
    let is_cancelled = run.cancelled_at.is_some();
    match (
        decide::next(state, &states, is_cancelled, &variable),
        resolved,
    ) {
        (Next::Start, Err(unresolved)) => (decide::no_value(&unresolved), known),
        (next, _) => (next, known),
    }
}

/// Brings a run's state up to date with its jobs; whether it changed.
pub fn follow(run: &mut Run, jobs: &[RunJob], now: Timestamp) -> bool {
    let before = (run.status, run.result, run.started_at);
    if jobs.iter().any(|job| job.started_at.is_some()) {
        run.started_at.get_or_insert(now);
    }
    run.status = status(run, jobs);
    if run.status == BuildStatus::Completed {
        run.finished_at.get_or_insert(now);
        run.result = Some(result(jobs));
    }
    before != (run.status, run.result, run.started_at)
}

fn status(run: &Run, jobs: &[RunJob]) -> BuildStatus {
    let ended = jobs.iter().filter(|job| job.result.is_some()).count();
    if ended == jobs.len() {
        BuildStatus::Completed
    } else if run.cancelled_at.is_some() {
        BuildStatus::Cancelling
    } else if ended > 0 || run.started_at.is_some() {
        BuildStatus::InProgress
    } else {
        BuildStatus::NotStarted
    }
}

/// The worst of the jobs' results. A job that was left out because another failed changes nothing.
fn result(jobs: &[RunJob]) -> BuildResult {
    let results: BTreeSet<_> = jobs.iter().map(|job| severity(job.result)).collect();
    match results.last() {
        None | Some(0) => BuildResult::Succeeded,
        Some(1) => BuildResult::PartiallySucceeded,
        Some(2) => BuildResult::Canceled,
        Some(_) => BuildResult::Failed,
    }
}

fn severity(result: Option<TaskResult>) -> u8 {
    match result {
        None | Some(TaskResult::Succeeded | TaskResult::Skipped) => 0,
        Some(TaskResult::SucceededWithIssues) => 1,
        Some(TaskResult::Canceled) => 2,
        Some(TaskResult::Failed | TaskResult::Abandoned | TaskResult::Other) => 3,
    }
}

/// Asks for the end of a run; false when it was asked for before, or the run has ended.
pub fn cancel(run: &mut Run, now: Timestamp) -> bool {
    if run.finished_at.is_some() || run.cancelled_at.is_some() {
        return false;
    }
    run.cancelled_at = Some(now);
    true
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, run, run_job};
    use super::*;
    use dayfly_wire::ids::RecordId;
    use dayfly_wire::timeline::RecordVariable;

    /// The first job about which something can be decided, and what.
    fn next<'a>(run: &Run, jobs: &'a [RunJob]) -> Option<(&'a RunJob, Next)> {
        let job = ready(run, jobs)?;
        Some((job, decision(run, job, jobs, &Outputs::new(), &[]).0))
    }

    fn ended(name: &str, result: TaskResult) -> RunJob {
        RunJob {
            result: Some(result),
            ..run_job(name, &[])
        }
    }

    fn drafts<'a>(jobs: &'a [(&'a str, Vec<String>)]) -> Vec<Draft<'a>> {
        jobs.iter()
            .map(|(name, depends_on)| Draft { name, depends_on })
            .collect()
    }

    fn after(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_job_that_would_wait_for_ever_is_refused_by_name() {
        let circle = [
            ("first", after(&[])),
            ("a", after(&["first", "B"])),
            ("b", after(&["a"])),
        ];
        let refusal = check(&drafts(&circle)).unwrap_err();
        assert_eq!(refusal.message, "jobs wait for each other: a, b");
        let missing = [("a", after(&["nobody"]))];
        let refusal = check(&drafts(&missing)).unwrap_err();
        assert!(refusal.message.contains("\"nobody\""), "{refusal}");
        let twice = [("a", after(&[])), ("A", after(&[]))];
        assert!(check(&drafts(&twice)).is_err());
        let good = [("b", after(&["A"])), ("a", after(&[]))];
        assert!(check(&drafts(&good)).is_ok());
        assert!(check(&[]).is_err());
    }

    #[test]
    fn a_job_starts_when_those_that_it_waits_for_succeeded() {
        let run = run();
        let waiting = run_job("last", &["one", "two"]);
        let started = RunJob {
            request: Some(dayfly_wire::ids::RequestId(1)),
            ..run_job("two", &[])
        };
        let issues = ended("one", TaskResult::SucceededWithIssues);
        let jobs = [waiting.clone(), issues.clone(), started];
        assert_eq!(next(&run, &jobs), None, "the other one still runs");
        let jobs = [waiting, issues, ended("TWO", TaskResult::Succeeded)];
        let (job, what) = next(&run, &jobs).unwrap();
        assert_eq!((job.name.as_str(), what), ("last", Next::Start));
    }

    #[test]
    fn a_job_is_left_out_when_one_that_it_waits_for_failed_or_was_left_out() {
        for result in [
            TaskResult::Failed,
            TaskResult::Skipped,
            TaskResult::Abandoned,
        ] {
            let jobs = [ended("one", result), run_job("two", &["one"])];
            let (_, what) = next(&run(), &jobs).unwrap();
            let Next::Leave { result, reason } = what else {
                panic!("it starts");
            };
            assert_eq!(result, TaskResult::Skipped);
            assert!(reason.contains("one"), "{reason}");
        }
    }

    #[test]
    fn nothing_starts_in_a_cancelled_run() {
        let mut run = run();
        assert!(cancel(&mut run, at(1)));
        assert!(!cancel(&mut run, at(2)), "asking twice changes nothing");
        let jobs = [run_job("one", &[])];
        let (_, what) = next(&run, &jobs).unwrap();
        assert!(matches!(
            what,
            Next::Leave {
                result: TaskResult::Canceled,
                ..
            }
        ));
    }

    #[test]
    fn a_run_is_what_its_jobs_are() {
        let mut run = run();
        let waiting = run_job("one", &[]);
        assert!(!follow(&mut run, std::slice::from_ref(&waiting), at(1)));
        assert_eq!(run.status, BuildStatus::NotStarted);
        let running = RunJob {
            started_at: Some(at(2)),
            ..waiting
        };
        let jobs = [running, ended("two", TaskResult::Succeeded)];
        assert!(follow(&mut run, &jobs, at(2)));
        assert_eq!(
            (run.status, run.started_at),
            (BuildStatus::InProgress, Some(at(2)))
        );
        assert!(cancel(&mut run, at(3)));
        assert!(follow(&mut run, &jobs, at(3)));
        assert_eq!((run.status, run.result), (BuildStatus::Cancelling, None));
        let jobs = [
            ended("one", TaskResult::Canceled),
            ended("two", TaskResult::Succeeded),
        ];
        assert!(follow(&mut run, &jobs, at(4)));
        assert_eq!(run.status, BuildStatus::Completed);
        assert_eq!(
            (run.result, run.finished_at),
            (Some(BuildResult::Canceled), Some(at(4)))
        );
        assert!(!follow(&mut run, &jobs, at(5)), "an end is an end");
    }

    #[test]
    fn the_worst_result_of_a_job_is_the_runs() {
        use TaskResult::{Abandoned, Canceled, Failed, Skipped, Succeeded, SucceededWithIssues};
        let of = |results: &[TaskResult]| {
            let jobs: Vec<_> = results.iter().map(|each| ended("job", *each)).collect();
            result(&jobs)
        };
        assert_eq!(of(&[Succeeded, Skipped]), BuildResult::Succeeded);
        assert_eq!(
            of(&[Succeeded, SucceededWithIssues]),
            BuildResult::PartiallySucceeded
        );
        assert_eq!(of(&[SucceededWithIssues, Canceled]), BuildResult::Canceled);
        assert_eq!(of(&[Canceled, Failed]), BuildResult::Failed);
        assert_eq!(of(&[Abandoned, Succeeded]), BuildResult::Failed);
    }

    #[test]
    fn in_a_cancelled_run_a_job_with_a_condition_is_asked_when_its_turn_comes() {
        let mut run = run();
        assert!(cancel(&mut run, at(1)));
        let insists = RunJob {
            condition: Some("always()".to_owned()),
            ..run_job("cleanup", &["one"])
        };
        let started = RunJob {
            request: Some(dayfly_wire::ids::RequestId(1)),
            ..run_job("one", &[])
        };
        assert_eq!(next(&run, &[insists.clone(), started]), None);
        let jobs = [insists, ended("one", TaskResult::Canceled)];
        assert_eq!(next(&run, &jobs).unwrap().1, Next::Start);
    }

    #[test]
    fn outputs_of_steps_reach_the_jobs_that_wait() {
        let job = ended("build", TaskResult::Succeeded);
        let variable = |value: Option<&str>, is_secret| RecordVariable {
            value: value.map(ToOwned::to_owned),
            is_secret,
        };
        let step = Record {
            parent_id: Some(RecordId(job.id.0)),
            ref_name: Some("setter".to_owned()),
            variables: [
                ("version".to_owned(), variable(Some("1.2"), false)),
                ("hidden".to_owned(), variable(Some("never"), true)),
            ]
            .into(),
            ..Record::default()
        };
        let outputs = outputs(&[step]);
        let waiting = RunJob {
            condition: Some("eq(variables.v, '1.2')".to_owned()),
            ..run_job("test", &["build"])
        };
        let jobs = [job, waiting];
        let written = [
            ("v", "$[ dependencies.build.outputs['setter.version'] ]"),
            ("h", "$[ dependencies.build.outputs['setter.hidden'] ]"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (next, values) = decision(&run(), &jobs[1], &jobs, &outputs, &written);
        assert_eq!(next, Next::Start);
        assert_eq!((values["v"].as_str(), values["h"].as_str()), ("1.2", ""));
        let broken = [("v".to_owned(), "$[ gt(1, 'x') ]".to_owned())];
        let (next, _) = decision(&run(), &jobs[1], &jobs, &outputs, &broken);
        assert!(matches!(next, Next::Leave { .. }), "{next:?}");
    }
}
