//! What a job's steps come to, decided before the first one runs. Pure.

use super::steps::artifacts::ArtifactTask;
use super::tasks::Task;
use super::tasks::definition::Stage;
use dayfly_pipeline::expression::{Expression, ParseError};
use dayfly_wire::job::{Step, builtin};
use std::sync::Arc;

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Checks a repository out.
    Checkout,
    /// `script:`.
    CmdLine,
    /// `bash:`.
    Bash,
    /// `pwsh:`.
    PowerShell,
    /// Publishes or downloads artifacts.
    Artifact(ArtifactTask),
    /// Restores files of earlier runs, and saves them after the steps.
    Cache,
    /// A task that the service serves.
    Task,
}

/// A step that can run, or the part of one that runs before or after all steps.
pub(crate) struct Planned {
    pub(crate) kind: Kind,
    pub(crate) stage: Stage,
    pub(crate) condition: Expression,
    pub(crate) step: Arc<Step>,
    /// What a [`Kind::Task`] runs, once it was fetched.
    pub(crate) task: Option<Arc<Task>>,
}

impl Planned {
    /// The part of the step that runs at another time.
    fn part(&self, stage: Stage, condition: Expression) -> Self {
        Self {
            kind: self.kind,
            stage,
            condition,
            step: Arc::clone(&self.step),
            task: self.task.clone(),
        }
    }

    fn has(&self, stage: Stage) -> bool {
        match &self.task {
            Some(task) => !task.definition.handlers(stage).is_empty(),
            None => match stage {
                Stage::Pre => false,
                Stage::Main => true,
                Stage::Post => matches!(self.kind, Kind::Checkout | Kind::Cache),
            },
        }
    }
}

/// What runs, in the order in which it does.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) pre: Vec<Planned>,
    pub(crate) main: Vec<Planned>,
    /// What came first is cleaned up last.
    pub(crate) post: Vec<Planned>,
}

/// Why a job cannot run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
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
    let condition = Expression::condition(step.condition.as_deref()).map_err(|problem| {
        PlanError::Condition {
            step: display_name(&step),
            problem,
            condition: step.condition.clone().unwrap_or_default(),
        }
    })?;
    Ok(Planned {
        kind: match step.reference.id.0 {
            builtin::CHECKOUT => Kind::Checkout,
            builtin::CMD_LINE => Kind::CmdLine,
            builtin::BASH => Kind::Bash,
            builtin::POWER_SHELL => Kind::PowerShell,
            builtin::CACHE => Kind::Cache,
            id => ArtifactTask::of(id).map_or(Kind::Task, Kind::Artifact),
        },
        stage: Stage::Main,
        condition,
        step: Arc::new(step),
        task: None,
    })
}

/// Sorts what the steps do before, at and after their own turn. What comes after is never left out.
pub(crate) fn parts(planned: Vec<Planned>) -> Result<Parts, ParseError> {
    let always = Expression::condition(Some("always()"))?;
    let mut parts = Parts::default();
    for step in planned {
        let (pre, post) = (step.has(Stage::Pre), step.has(Stage::Post));
        if pre {
            let condition = step.condition.clone();
            parts.pre.push(step.part(Stage::Pre, condition));
        }
        if post {
            parts.post.insert(0, step.part(Stage::Post, always.clone()));
        }
        // A task that has no part at all says so at its turn.
        if step.has(Stage::Main) || !(pre || post) {
            parts.main.push(step);
        }
    }
    Ok(parts)
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
    fn a_bad_condition_is_named() {
        let error = plan(vec![step(builtin::BASH, "eq(1)")]).err().unwrap();
        let text = error.to_string();
        assert!(
            text.contains("'A step'") && text.contains("eq(1)"),
            "{text}"
        );
    }

    fn with_task(id: u128, sections: &serde_json::Value) -> Planned {
        let mut text = serde_json::json!({"id": Uuid::from_u128(id), "name": "T",
            "version": {"Major": 1, "Minor": 0, "Patch": 0}});
        for section in sections.as_array().unwrap() {
            text[section.as_str().unwrap()] = serde_json::json!({"Node20_1": {"target": "a.js"}});
        }
        let mut planned = plan(vec![step(Uuid::from_u128(id), "failed()")])
            .unwrap_or_default()
            .remove(0);
        planned.task = Some(Arc::new(Task {
            definition: crate::worker::tasks::definition::parse(text.to_string().as_bytes())
                .unwrap(),
            directory: Default::default(),
            shown: String::new(),
            fingerprint: String::new(),
        }));
        planned
    }

    #[test]
    fn what_runs_after_the_steps_runs_in_reverse_and_always() {
        let checkout = plan(vec![step(builtin::CHECKOUT, "")]).unwrap_or_default();
        let steps = checkout.into_iter().chain([
            with_task(
                1,
                &serde_json::json!(["prejobexecution", "execution", "postjobexecution"]),
            ),
            with_task(2, &serde_json::json!(["prejobexecution"])),
            with_task(3, &serde_json::json!(["execution", "postjobexecution"])),
            with_task(4, &serde_json::json!([])),
        ]);
        let parts = parts(steps.collect()).unwrap();
        let ids = |planned: &[Planned]| -> Vec<u128> {
            let ids = planned.iter().map(|part| part.step.reference.id.0);
            ids.map(|id| {
                if id == builtin::CHECKOUT {
                    0
                } else {
                    id.as_u128()
                }
            })
            .collect()
        };
        assert_eq!(ids(&parts.pre), [1, 2]);
        assert_eq!(ids(&parts.main), [0, 1, 3, 4]);
        assert_eq!(ids(&parts.post), [3, 1, 0]);
        assert_eq!(parts.pre[0].condition.text(), "failed()");
        assert!(
            parts
                .post
                .iter()
                .all(|part| part.condition.text() == "always()")
        );
    }

    #[test]
    fn a_step_that_is_off_is_left_out() {
        let off = Step {
            enabled: false,
            ..step(Uuid::from_u128(9), "")
        };
        let planned = plan(vec![off, step(builtin::CMD_LINE, "")]).unwrap_or_default();
        assert_eq!(planned.len(), 1);
        assert_eq!(planned[0].condition.text(), "succeeded()");
    }
}
