//! What becomes of the jobs of a run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers of tests fail like tests.

use dayfly_pipeline::decide::{self, JobState, Next};
use dayfly_pipeline::expression::Value;
use dayfly_pipeline::runtime;
use dayfly_wire::event::TaskResult;
use std::collections::BTreeMap;

#[derive(Default)]
struct Run {
    jobs: Vec<Job>,
    is_cancelled: bool,
}

struct Job {
    name: &'static str,
    depends_on: Vec<String>,
    condition: Option<&'static str>,
    result: Option<TaskResult>,
    outputs: BTreeMap<String, String>,
}

impl Run {
    fn ended(mut self, name: &'static str, after: &[&str], result: TaskResult) -> Self {
        let depends_on = after.iter().map(|name| (*name).to_owned()).collect();
        self.jobs.push(Job {
            name,
            depends_on,
            condition: None,
            result: Some(result),
            outputs: [("setter.go".to_owned(), "yes".to_owned())].into(),
        });
        self
    }

    fn waiting(
        mut self,
        name: &'static str,
        after: &[&str],
        condition: Option<&'static str>,
    ) -> Self {
        let depends_on = after.iter().map(|name| (*name).to_owned()).collect();
        self.jobs.push(Job {
            name,
            depends_on,
            condition,
            result: None,
            outputs: BTreeMap::new(),
        });
        self
    }

    fn states(&self) -> Vec<JobState<'_>> {
        self.jobs
            .iter()
            .map(|job| JobState {
                name: job.name,
                depends_on: &job.depends_on,
                condition: job.condition,
                result: job.result,
                outputs: &job.outputs,
            })
            .collect()
    }

    /// What becomes of the last job.
    fn last(&self) -> Next {
        let states = self.states();
        let job = states.last().unwrap();
        assert!(!decide::waits(job, &states), "it still waits");
        let variable = |name: &str| (name == "wanted").then(|| "go".to_owned());
        decide::next(job, &states, self.is_cancelled, &variable)
    }
}

fn left(next: &Next) -> Option<TaskResult> {
    match next {
        Next::Start => None,
        Next::Leave { result, .. } => Some(*result),
    }
}

use TaskResult::{Abandoned, Canceled, Failed, Skipped, Succeeded, SucceededWithIssues};

#[test]
fn a_job_waits_until_all_that_it_depends_on_have_ended() {
    let run = Run::default()
        .ended("a", &[], Succeeded)
        .waiting("b", &[], None)
        .waiting("c", &["A", "b"], None);
    let states = run.states();
    assert!(!decide::waits(&states[1], &states));
    assert!(decide::waits(&states[2], &states));
}

#[test]
fn conditions_of_jobs() {
    for (result, condition, expected) in [
        (Succeeded, None, None),
        (SucceededWithIssues, None, None),
        (Failed, None, Some(Skipped)),
        (Skipped, None, Some(Skipped)),
        (Abandoned, None, Some(Skipped)),
        (Failed, Some("failed()"), None),
        (Abandoned, Some("failed('a')"), None),
        (Succeeded, Some("failed()"), Some(Skipped)),
        (Failed, Some("always()"), None),
        (Skipped, Some("succeededOrFailed()"), None),
        (Skipped, Some("succeededOrFailed('a')"), Some(Skipped)),
        (Failed, Some("succeededOrFailed('A')"), None),
        (
            Skipped,
            Some("in(dependencies.a.result, 'Succeeded', 'Skipped')"),
            None,
        ),
        (
            Succeeded,
            Some("eq(dependencies.a.outputs['setter.go'], 'yes')"),
            None,
        ),
        (
            Succeeded,
            Some("eq(dependencies.a.outputs['setter.stay'], 'yes')"),
            Some(Skipped),
        ),
        (Succeeded, Some("eq(variables.wanted, 'go')"), None),
        (
            Succeeded,
            Some("succeeded(format('{0}', 'nobody'))"),
            Some(Skipped),
        ),
        (Succeeded, Some("canceled()"), Some(Skipped)),
        // An error is no answer, and no reason to pass over a job in silence.
        (Succeeded, Some("gt(1, 'x')"), Some(Failed)),
    ] {
        let run = Run::default()
            .ended("a", &[], result)
            .waiting("b", &["a"], condition);
        assert_eq!(left(&run.last()), expected, "{result:?} {condition:?}");
    }
}

#[test]
fn a_failure_further_up_the_line_counts() {
    let run = Run::default()
        .ended("a", &[], Failed)
        .ended("cleanup", &["a"], Succeeded)
        .waiting("publish", &["cleanup"], None);
    let Next::Leave { result, reason } = run.last() else {
        panic!("it starts");
    };
    assert_eq!(
        (result, reason.as_str()),
        (Skipped, "Job a did not succeed.")
    );
    let run = Run::default()
        .ended("a", &[], Failed)
        .ended("cleanup", &["a"], Succeeded)
        .waiting("publish", &["cleanup"], Some("succeeded('cleanup')"));
    assert_eq!(run.last(), Next::Start);
}

#[test]
fn only_jobs_of_dependson_are_seen() {
    let run = Run::default()
        .ended("a", &[], Succeeded)
        .ended("b", &["a"], Succeeded)
        .waiting("c", &["b"], Some("eq(dependencies.a.result, '')"));
    assert_eq!(run.last(), Next::Start);
}

#[test]
fn in_a_cancelled_run_jobs_start_only_when_they_insist() {
    for (condition, expected) in [
        (None, Some(Canceled)),
        (Some("succeededOrFailed()"), Some(Canceled)),
        (Some("failed()"), Some(Canceled)),
        (Some("always()"), None),
        (Some("canceled()"), None),
    ] {
        let run = Run {
            is_cancelled: true,
            ..Run::default()
        };
        let run = run
            .ended("a", &[], Succeeded)
            .waiting("b", &["a"], condition);
        assert_eq!(left(&run.last()), expected, "{condition:?}");
    }
}

#[test]
fn variables_see_each_other_in_whatever_order_they_are() {
    let variables = [
        ("early", "$[ variables.late ]"),
        ("plain", "1"),
        (
            "tag",
            "$[ format('{0}-{1}', variables['Build.SourceBranchName'], variables.PLAIN) ]",
        ),
        ("late", "$[ upper(variables.tag) ]"),
        ("go", "$[ dependencies.a.outputs['setter.go'] ]"),
        ("none", "$[ dependencies.a.outputs['x'] ]"),
        ("text", "echo $[1]"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let run = Run::default()
        .ended("a", &[], Succeeded)
        .waiting("b", &["a"], None);
    let states = run.states();
    let dependencies = decide::dependencies(&states[1], &states);
    let own = |name: &str| {
        name.eq_ignore_ascii_case("build.sourceBranchName")
            .then(|| "main".to_owned())
    };
    let resolved = runtime::resolve(&variables, &own, &dependencies).unwrap();
    let values: Vec<_> = variables
        .iter()
        .map(|(name, _)| resolved[name].as_str())
        .collect();
    assert_eq!(
        values,
        ["MAIN-1", "1", "main-1", "MAIN-1", "yes", "", "echo $[1]"]
    );
}

#[test]
fn a_variable_without_a_value_fails_the_job_by_name() {
    let resolve = |pairs: &[(&str, &str)]| {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables: Vec<_> = pairs.iter().map(owned).collect();
        runtime::resolve(&variables, &|_| None, &Value::Null)
    };
    let circle = [("a", "$[ variables.b ]"), ("b", "$[ variables.A ]")];
    let error = resolve(&circle).unwrap_err();
    assert!(error.reason.contains("refers to itself"), "{error}");
    let error = resolve(&[("v", "$[ gt(1, 'x') ]")]).unwrap_err();
    let Next::Leave { result, reason } = decide::no_value(&error) else {
        panic!("it starts");
    };
    assert_eq!(result, Failed);
    assert!(reason.contains("variables.v"), "{reason}");
}
