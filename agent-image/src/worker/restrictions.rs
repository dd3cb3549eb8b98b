//! What a task, or a step of the pipeline, says that its own output may not do. Pure.

use super::commands::Command;
use super::patterns::matches;
use dayfly_wire::job::{RESTRICTED, StepTarget};
use serde_json::Value;

/// Commands that a restricted step may still give.
const ALLOWED: [(&str, &str); 11] = [
    ("task", "logissue"),
    ("task", "issue"),
    ("task", "setprogress"),
    ("task", "logdetail"),
    ("task", "complete"),
    ("task", "setsecret"),
    ("task", "setvariable"),
    ("task", "debug"),
    ("task", "settaskvariable"),
    ("task", "prependpath"),
    ("telemetry", "publish"),
];

/// Limits on the commands in a step's output.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Restrictions {
    restricted: bool,
    /// Patterns of the variables that it may set; `None` for all.
    variables: Option<Vec<String>>,
}

impl Restrictions {
    /// Reads the member of a `task.json`.
    pub(crate) fn read(member: Option<&Value>) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_lowercase);
        let mode = member.and_then(|member| text(member.pointer("/commands/mode")?));
        let allowed = member.and_then(|member| member.pointer("/settableVariables/allowed"));
        Self {
            restricted: mode.as_deref() == Some(RESTRICTED),
            variables: allowed
                .and_then(Value::as_array)
                .map(|patterns| patterns.iter().filter_map(text).collect()),
        }
    }

    /// Those of a step's `target`.
    pub(crate) fn of_step(target: Option<&StepTarget>) -> Self {
        let Some(target) = target else {
            return Self::default();
        };
        let commands = target.commands.as_deref().unwrap_or_default();
        let settable = target.settable_variables.as_ref();
        Self {
            restricted: commands.eq_ignore_ascii_case(RESTRICTED),
            variables: settable.map(|settable| {
                let patterns = settable.allowed.iter();
                patterns.map(|pattern| pattern.to_lowercase()).collect()
            }),
        }
    }

    /// Why a command is not obeyed; `None` when it is.
    pub(crate) fn refusal(&self, command: &Command) -> Option<String> {
        let name = (command.area.as_str(), command.event.as_str());
        if self.restricted && !ALLOWED.contains(&name) {
            return Some(format!(
                "##vso[{}.{}] is not allowed in this step due to policy restrictions.",
                name.0, name.1
            ));
        }
        let variable = match name {
            ("task", "setvariable") => command.property("variable").unwrap_or_default(),
            ("task", "prependpath") => "PATH",
            _ => return None,
        };
        (!self.may_set(variable)).then(|| {
            format!(
                "Setting the variable '{variable}' is not allowed in this step due to policy restrictions."
            )
        })
    }

    fn may_set(&self, variable: &str) -> bool {
        let variable = variable.to_lowercase();
        self.variables.as_ref().is_none_or(|patterns| {
            patterns
                .iter()
                .any(|pattern| matches(pattern.as_bytes(), variable.as_bytes()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::commands::{Parsed, parse};

    fn refused(restrictions: &Restrictions, line: &str) -> bool {
        let Parsed::Command(command) = parse(line) else {
            panic!("{line}");
        };
        restrictions.refusal(&command).is_some()
    }

    #[test]
    fn a_restricted_task_sets_what_it_declares_and_uploads_nothing() {
        let member = serde_json::json!({
            "commands": {"mode": "Restricted"}, "settableVariables": {"allowed": ["PATH", "node*"]}
        });
        let restrictions = Restrictions::read(Some(&member));
        for line in [
            "##vso[task.setvariable variable=NodeVersion]1",
            "##vso[task.prependpath]/x",
            "##vso[task.complete result=Succeeded]",
        ] {
            assert!(!refused(&restrictions, line), "{line}");
        }
        for line in [
            "##vso[task.setvariable variable=other]1",
            "##vso[task.uploadfile]/etc/passwd",
            "##vso[artifact.upload artifactname=a]/x",
        ] {
            assert!(refused(&restrictions, line), "{line}");
        }
    }

    #[test]
    fn a_step_of_the_pipeline_restricts_its_output_too() {
        let target = |value: Value| serde_json::from_value::<StepTarget>(value).unwrap();
        let set = "##vso[task.setvariable variable=Version.Major]1";
        let upload = "##vso[task.uploadsummary]/x";
        let restricted = target(serde_json::json!({"commands": "Restricted"}));
        let restricted = Restrictions::of_step(Some(&restricted));
        assert!(refused(&restricted, upload) && !refused(&restricted, set));
        let listed = target(serde_json::json!({"settableVariables": {"allowed": ["VERSION.*"]}}));
        let listed = Restrictions::of_step(Some(&listed));
        assert!(!refused(&listed, upload) && !refused(&listed, set));
        assert!(refused(&listed, "##vso[task.prependpath]/x"));
        assert!(!refused(&Restrictions::of_step(None), upload));
    }

    #[test]
    fn no_restrictions_restrict_nothing_and_an_empty_list_everything() {
        let line = "##vso[task.setvariable variable=a]1";
        assert!(!refused(&Restrictions::default(), line));
        let member = serde_json::json!({"settableVariables": {"allowed": []}});
        assert!(refused(&Restrictions::read(Some(&member)), line));
    }
}
