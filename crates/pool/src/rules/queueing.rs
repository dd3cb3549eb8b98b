//! Whether a job that somebody wants to queue makes sense: every complaint says where and what.

use super::refusal::Refusal;
use super::request::PRIORITIES;
use dayfly_wire::demand::Demand;
use dayfly_wire::queue::{QueueJob, QueueStep};
use std::collections::BTreeSet;

const MAX_STEPS: usize = 500;
const MAX_DEMANDS: usize = 100;
const MAX_VARIABLES: usize = 2000;
const MAX_NAME: usize = 200;
/// The most minutes that a job may ask for.
pub const MAX_MINUTES: i64 = 7 * 24 * 60;
const DEFAULT_TIMEOUT: i64 = 60;
const DEFAULT_CANCEL_TIMEOUT: i64 = 5;

/// A repository that a job names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedRepository {
    /// How steps refer to it.
    pub alias: String,
    /// Its name in the project.
    pub name: String,
    /// A branch, tag, ref or commit.
    pub reference: Option<String>,
    /// Where the job names it.
    pub place: String,
}

/// The times of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// 0 for no limit.
    pub timeout_minutes: i64,
    /// How long a cancelled job may take.
    pub cancel_timeout_minutes: i64,
}

/// Checks everything that can be checked without looking anything up.
pub fn check(job: &QueueJob) -> Result<Times, Refusal> {
    check_label("pool", Some(&job.pool))?;
    check_label("name", job.name.as_ref())?;
    check_image(job.container.as_deref())?;
    check_label("displayName", job.display_name.as_ref())?;
    if let Some(priority) = job.priority.filter(|given| !PRIORITIES.contains(given)) {
        let (low, high) = PRIORITIES.into_inner();
        return Err(Refusal::invalid(format!(
            "priority: {priority} is not between {low} and {high}"
        )));
    }
    bounded("demands", job.demands.len(), MAX_DEMANDS)?;
    for (index, demand) in job.demands.iter().enumerate() {
        demand
            .parse::<Demand>()
            .map_err(|error| Refusal::invalid(format!("demands[{index}]: {error}")))?;
    }
    check_variables(job)?;
    if job.steps.is_empty() {
        return Err(Refusal::invalid("steps: a job needs at least one step"));
    }
    bounded("steps", job.steps.len(), MAX_STEPS)?;
    let mut names = BTreeSet::new();
    for (index, step) in job.steps.iter().enumerate() {
        check_step(&format!("steps[{index}]"), step, job)?;
        if let Some(name) = &step.name
            && !names.insert(name.to_lowercase())
        {
            return Err(Refusal::invalid(format!(
                "steps[{index}].name: {name:?} is the name of an earlier step"
            )));
        }
    }
    Ok(Times {
        timeout_minutes: minutes(
            "timeoutInMinutes",
            job.timeout_in_minutes.unwrap_or(DEFAULT_TIMEOUT),
        )?,
        cancel_timeout_minutes: minutes(
            "cancelTimeoutInMinutes",
            job.cancel_timeout_in_minutes
                .unwrap_or(DEFAULT_CANCEL_TIMEOUT),
        )?,
    })
}

/// The repositories that the job names, each once; `self` first.
pub fn named_repositories(job: &QueueJob) -> Vec<NamedRepository> {
    let own = job.repository.as_ref().map(|name| NamedRepository {
        alias: SELF.to_owned(),
        name: name.clone(),
        reference: job.reference.clone(),
        place: "repository".to_owned(),
    });
    let others = job.steps.iter().enumerate().filter_map(|(index, step)| {
        let name = step.checkout.as_ref()?;
        (!is_self(name)).then(|| NamedRepository {
            alias: name.clone(),
            name: name.clone(),
            reference: None,
            place: format!("steps[{index}].checkout"),
        })
    });
    let mut seen = BTreeSet::new();
    own.into_iter()
        .chain(others)
        .filter(|named| seen.insert(named.alias.to_lowercase()))
        .collect()
}

/// The alias of the job's own repository.
pub const SELF: &str = "self";

/// Whether a checkout means the job's own repository.
pub fn is_self(name: &str) -> bool {
    name.eq_ignore_ascii_case(SELF)
}

/// A name that appears in URLs and directories: projects and repositories.
pub fn check_url_name(what: &str, name: &str) -> Result<(), Refusal> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let reserved = name.starts_with(['.', '_']) || name.ends_with('.') || name.ends_with(".git");
    if name.is_empty() || name.len() > 64 || !name.chars().all(good) || reserved {
        return Err(Refusal::invalid(format!(
            "{what}: {name:?} is no name; use 1 to 64 letters, digits, '-', '_' and '.', not beginning with '.' or '_'"
        )));
    }
    Ok(())
}

/// An image as container engines name it.
fn check_image(image: Option<&str>) -> Result<(), Refusal> {
    match image {
        Some(image) if !dayfly_pipeline::file::is_image(image) => Err(Refusal::invalid(
            "container: the name of an image is needed, for example node:20",
        )),
        Some(_) | None => Ok(()),
    }
}

fn check_variables(job: &QueueJob) -> Result<(), Refusal> {
    bounded("variables", job.variables.len(), MAX_VARIABLES)?;
    for name in job.variables.keys() {
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(Refusal::invalid(format!(
                "variables: {name:?} is no name of a variable"
            )));
        }
        if crate::message::is_set_by_service(name) {
            return Err(Refusal::invalid(format!(
                "variables.{name}: the service sets this variable itself"
            )));
        }
    }
    Ok(())
}

fn check_step(place: &str, step: &QueueStep, job: &QueueJob) -> Result<(), Refusal> {
    let kinds = [
        step.script.is_some(),
        step.bash.is_some(),
        step.checkout.is_some(),
        step.task.is_some(),
    ];
    if kinds.iter().filter(|set| **set).count() != 1 {
        return Err(Refusal::invalid(format!(
            "{place}: exactly one of script, bash, checkout and task is needed"
        )));
    }
    if let Some(name) = &step.checkout {
        if is_self(name) && job.repository.is_none() {
            return Err(Refusal::invalid(format!(
                "{place}.checkout: `self` needs `repository`, the name of a repository of the project"
            )));
        }
        if !is_self(name) {
            check_url_name(&format!("{place}.checkout"), name)?;
        }
    }
    if let Some(task) = &step.task {
        check_label(&format!("{place}.task.name"), Some(&task.name))?;
        let numbers: Vec<_> = task.version.split('.').collect();
        if numbers.len() != 3 || numbers.iter().any(|part| part.parse::<u32>().is_err()) {
            return Err(Refusal::invalid(format!(
                "{place}.task.version: {:?} is no full version; write for example 2.1.0",
                task.version
            )));
        }
    }
    if let Some(name) = &step.name
        && (name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
    {
        return Err(Refusal::invalid(format!(
            "{place}.name: {name:?} is no name; use letters, digits and '_'"
        )));
    }
    check_label(&format!("{place}.displayName"), step.display_name.as_ref())?;
    minutes(
        &format!("{place}.timeoutInMinutes"),
        step.timeout_in_minutes,
    )?;
    if !(0..=10).contains(&step.retry_count_on_task_failure) {
        return Err(Refusal::invalid(format!(
            "{place}.retryCountOnTaskFailure: 0 to 10"
        )));
    }
    Ok(())
}

fn check_label(place: &str, label: Option<&String>) -> Result<(), Refusal> {
    match label {
        Some(text) if text.trim().is_empty() => {
            Err(Refusal::invalid(format!("{place}: must not be empty")))
        }
        Some(text) if text.chars().count() > MAX_NAME || text.chars().any(char::is_control) => {
            Err(Refusal::invalid(format!(
                "{place}: at most {MAX_NAME} characters, none of them a control character"
            )))
        }
        Some(_) | None => Ok(()),
    }
}

fn minutes(place: &str, value: i64) -> Result<i64, Refusal> {
    if (0..=MAX_MINUTES).contains(&value) {
        Ok(value)
    } else {
        Err(Refusal::invalid(format!(
            "{place}: 0 to {MAX_MINUTES} minutes"
        )))
    }
}

fn bounded(place: &str, count: usize, most: usize) -> Result<(), Refusal> {
    if count > most {
        return Err(Refusal::invalid(format!("{place}: at most {most}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(value: serde_json::Value) -> QueueJob {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn complaints_say_where() {
        for (value, place) in [
            (serde_json::json!({"pool": ""}), "pool:"),
            (serde_json::json!({"pool": "p"}), "steps:"),
            (
                serde_json::json!({"pool": "p", "demands": ["a", "b -like c"], "steps": [{"script": "x"}]}),
                "demands[1]:",
            ),
            (
                serde_json::json!({"pool": "p", "steps": [{"script": "x"}, {}]}),
                "steps[1]:",
            ),
            (
                serde_json::json!({"pool": "p", "steps": [{"checkout": "self"}]}),
                "steps[0].checkout:",
            ),
            (
                serde_json::json!({"pool": "p", "steps": [{"checkout": "../x"}]}),
                "steps[0].checkout:",
            ),
            (
                serde_json::json!({"pool": "p", "variables": {"System.AccessToken": "x"}, "steps": [{"script": "x"}]}),
                "variables.System.AccessToken:",
            ),
            (
                serde_json::json!({"pool": "p", "steps": [{"script": "x", "name": "a"}, {"script": "x", "name": "A"}]}),
                "steps[1].name:",
            ),
            (
                serde_json::json!({"pool": "p", "timeoutInMinutes": -1, "steps": [{"script": "x"}]}),
                "timeoutInMinutes:",
            ),
        ] {
            let refusal = check(&job(value)).unwrap_err();
            assert!(refusal.message.starts_with(place), "{refusal} ({place})");
        }
    }

    #[test]
    fn repositories_are_named_once() {
        let job = job(serde_json::json!({
            "pool": "p", "repository": "app", "ref": "main",
            "steps": [{"checkout": "self"}, {"checkout": "lib"}, {"checkout": "LIB"}],
        }));
        let aliases: Vec<_> = named_repositories(&job)
            .into_iter()
            .map(|named| named.alias)
            .collect();
        assert_eq!(aliases, ["self", "lib"]);
    }
}
