//! What a job's steps come to, decided before the first one runs. Pure.

use dayfly_pipeline::expression::{Expression, ParseError};
use dayfly_wire::job::{Step, builtin};
use dayfly_wire::timeline::TaskReference;

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Checks a repository out.
    Checkout,
    /// `script:`.
    CmdLine,
    /// `bash:`.
    Bash,
}

/// A step that can run.
pub(crate) struct Planned {
    pub(crate) kind: Kind,
    pub(crate) condition: Expression,
    pub(crate) step: Step,
}

/// Why a job cannot run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    /// A task that this agent does not run.
    #[error(
        "Task {name} (version {version}) cannot be run by this agent. It runs checkout, script and bash steps."
    )]
    UnknownTask {
        /// The task's name.
        name: String,
        /// The task's version.
        version: String,
    },
    /// A condition that does not parse.
    #[error(
        "The condition of step '{step}' is not valid: {problem}. The condition is: {condition}"
    )]
    Condition {
        /// The step.
        step: String,
        /// What is wrong.
        problem: ParseError,
        /// The condition.
        condition: String,
    },
}

/// Plans the steps, in order. A step that is switched off is left out.
pub(crate) fn plan(steps: Vec<Step>) -> Result<Vec<Planned>, PlanError> {
    steps
        .into_iter()
        .filter(|step| step.enabled)
        .map(plan_step)
        .collect()
}

fn plan_step(step: Step) -> Result<Planned, PlanError> {
    let kind = kind(&step.reference)?;
    let condition = Expression::condition(step.condition.as_deref()).map_err(|problem| {
        PlanError::Condition {
            step: display_name(&step),
            problem,
            condition: step.condition.clone().unwrap_or_default(),
        }
    })?;
    Ok(Planned {
        kind,
        condition,
        step,
    })
}

fn kind(task: &TaskReference) -> Result<Kind, PlanError> {
    match task.id.0 {
        builtin::CHECKOUT => Ok(Kind::Checkout),
        builtin::CMD_LINE => Ok(Kind::CmdLine),
        builtin::BASH => Ok(Kind::Bash),
        _ => Err(PlanError::UnknownTask {
            name: task.name.clone(),
            version: task.version.clone(),
        }),
    }
}

/// What a person reads of a step.
pub(crate) fn display_name(step: &Step) -> String {
    [&step.display_name, &step.name]
        .into_iter()
        .flatten()
        .find(|name| !name.is_empty())
        .unwrap_or(&step.reference.name)
        .clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn step(task: Uuid, condition: &str) -> Step {
        serde_json::from_value(serde_json::json!({
            "id": Uuid::nil(), "name": "s", "displayName": "A step", "condition": condition,
            "reference": {"id": task, "name": "Gradle", "version": "3.1.2"}
        }))
        .unwrap()
    }

    #[test]
    fn a_task_that_is_not_known_is_named() {
        let error = plan(vec![step(Uuid::from_u128(9), "")]).err().unwrap();
        assert!(error.to_string().starts_with("Task Gradle (version 3.1.2)"));
    }

    #[test]
    fn a_bad_condition_is_named() {
        let error = plan(vec![step(builtin::BASH, "eq(1)")]).err().unwrap();
        let text = error.to_string();
        assert!(
            text.contains("'A step'") && text.contains("eq(1)"),
            "{text}"
        );
    }

    #[test]
    fn a_step_that_is_off_need_not_be_known() {
        let off = Step {
            enabled: false,
            ..step(Uuid::from_u128(9), "")
        };
        let planned = plan(vec![off, step(builtin::CMD_LINE, "")]).unwrap_or_default();
        assert_eq!(planned.len(), 1);
        assert_eq!(planned[0].condition.text(), "succeeded()");
    }
}
