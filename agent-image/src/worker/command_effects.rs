//! What a logging command means. Pure: effects are named here and performed by the step.

use super::commands::Command;
use dayfly_wire::event::TaskResult;
use dayfly_wire::timeline::IssueKind;
use std::collections::BTreeMap;

/// What a command leads to. May hold secrets, so it has no `Debug`.
#[derive(PartialEq, Eq)]
pub(crate) enum Effect {
    /// Set a variable for the steps that follow.
    SetVariable(SetVariable),
    /// Set a variable for the other parts of the same step.
    SetTaskVariable {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
        /// Whether it is masked.
        secret: bool,
    },
    /// Publish files, or name what is published already, when the process has ended.
    Publish(Publishing),
    /// Mask this text from now on.
    AddSecret(String),
    /// Add an issue.
    Issue {
        /// Error or warning.
        kind: IssueKind,
        /// The text.
        message: String,
        /// Further facts.
        data: BTreeMap<String, String>,
    },
    /// Show how far the step is.
    Progress {
        /// 0 to 100.
        percent: i64,
        /// What it is doing.
        operation: String,
    },
    /// The step's result, whatever its exit code.
    Complete {
        /// The result.
        result: TaskResult,
        /// What a person reads.
        message: String,
        /// The step is over, whatever its process does.
        done: bool,
    },
    /// Put a directory before `PATH` for the steps that follow.
    PrependPath(String),
    /// A debug line.
    Debug(String),
    /// A warning of the agent's.
    Warn(String),
    /// An error of the agent's, which fails the step.
    Fail(String),
}

/// What output asked to publish.
#[derive(PartialEq, Eq)]
pub(crate) struct Publishing {
    /// The artifact.
    pub(crate) name: String,
    /// Whether files are uploaded: from `data`, to `folder`. Otherwise `data` says where the artifact is.
    pub(crate) upload: bool,
    pub(crate) folder: String,
    pub(crate) data: String,
    /// What the artifact is, where the command says so.
    pub(crate) kind: Option<String>,
    pub(crate) properties: BTreeMap<String, String>,
}

/// A variable to set.
#[derive(PartialEq, Eq)]
pub(crate) struct SetVariable {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) secret: bool,
    pub(crate) output: bool,
    pub(crate) read_only: bool,
}

/// What a command means.
pub(crate) fn interpret(command: Command) -> Effect {
    match (command.area.as_str(), command.event.as_str()) {
        ("task", "setvariable") => set_variable(command),
        ("task", "settaskvariable") => set_task_variable(command),
        ("task", "setsecret") => Effect::AddSecret(command.data),
        ("task", "logissue" | "issue") => issue(command),
        ("task", "setprogress") => Effect::Progress {
            percent: command
                .property("value")
                .and_then(|value| value.trim().parse::<i64>().ok())
                .unwrap_or(0)
                .clamp(0, 100),
            operation: command.data,
        },
        ("task", "complete") => complete(command),
        ("task", "prependpath") if command.data.is_empty() => {
            Effect::Fail("The command task.prependpath needs a directory.".to_owned())
        }
        ("task", "prependpath") => Effect::PrependPath(command.data),
        ("artifact", "upload") => publish(command, true),
        ("artifact", "associate") => publish(command, false),
        ("task", "debug") => Effect::Debug(command.data),
        ("telemetry", "publish") => Effect::Debug("Telemetry is not collected.".to_owned()),
        (area, event) => Effect::Warn(format!(
            "The command ##vso[{area}.{event}] is not supported by this agent; it was ignored."
        )),
    }
}

fn set_variable(command: Command) -> Effect {
    let Some(name) = command.property("variable").map(ToOwned::to_owned) else {
        return Effect::Fail(
            "The command task.setvariable needs the property variable.".to_owned(),
        );
    };
    let secret = command.flag("issecret");
    if secret && command.data.contains(['\r', '\n']) {
        return Effect::Fail(
            "Secrets cannot contain multiple lines: they could not be masked line by line."
                .to_owned(),
        );
    }
    Effect::SetVariable(SetVariable {
        name,
        secret,
        output: command.flag("isoutput"),
        read_only: command.flag("isreadonly"),
        value: command.data,
    })
}

fn set_task_variable(command: Command) -> Effect {
    match command.property("variable").map(ToOwned::to_owned) {
        Some(name) => Effect::SetTaskVariable {
            name,
            secret: command.flag("issecret"),
            value: command.data,
        },
        None => {
            Effect::Fail("The command task.settaskvariable needs the property variable.".to_owned())
        }
    }
}

fn publish(command: Command, upload: bool) -> Effect {
    let own = ["artifactname", "containerfolder", "artifacttype"];
    let property = |name| command.property(name).map(ToOwned::to_owned);
    let (name, folder, kind) = (property(own[0]), property(own[1]), property(own[2]));
    let Some(name) = name.filter(|_| !command.data.is_empty()) else {
        return Effect::Fail(format!(
            "The command artifact.{} needs artifactname, and a path or place.",
            command.event
        ));
    };
    Effect::Publish(Publishing {
        folder: folder.unwrap_or_else(|| name.clone()),
        name,
        upload,
        kind,
        properties: command
            .properties
            .into_iter()
            .filter(|(name, _)| !own.contains(&name.as_str()))
            .collect(),
        data: command.data,
    })
}

fn issue(command: Command) -> Effect {
    let kind = match command
        .property("type")
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        Some("error") => IssueKind::Error,
        Some("warning") => IssueKind::Warning,
        _ => {
            return Effect::Fail(
                "The command task.logissue needs type=error or type=warning.".to_owned(),
            );
        }
    };
    let message = match command.property("sourcepath") {
        Some(path) => {
            let line = command.property("linenumber").unwrap_or("0");
            let column = command.property("columnnumber").unwrap_or("0");
            let code = command.property("code").unwrap_or_default();
            format!("{path}({line},{column}): {kind} {code}: {}", command.data)
        }
        None => command.data.clone(),
    };
    let data = command
        .properties
        .into_iter()
        .filter(|(name, _)| name != "type")
        .collect();
    Effect::Issue {
        kind,
        message,
        data,
    }
}

/// The result's name is compared with its case, as the official agent does.
fn complete(command: Command) -> Effect {
    let result = match command.property("result") {
        Some("Succeeded") => TaskResult::Succeeded,
        Some("SucceededWithIssues") => TaskResult::SucceededWithIssues,
        Some("Failed") => TaskResult::Failed,
        Some("Canceled") => TaskResult::Canceled,
        Some("Skipped") => TaskResult::Skipped,
        _ => {
            return Effect::Fail(
                "The command task.complete needs result=Succeeded, SucceededWithIssues, Failed, Canceled or Skipped."
                    .to_owned(),
            );
        }
    };
    Effect::Complete {
        result,
        done: command.flag("done"),
        message: command.data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::commands::{Parsed, parse};

    fn effect(line: &str) -> Effect {
        match parse(line) {
            Parsed::Command(command) => interpret(command),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn variables() {
        let Effect::SetVariable(set) =
            effect("##vso[task.setvariable variable=x;isSecret=true;isOutput=TRUE]v")
        else {
            panic!("not a variable");
        };
        assert!(set.secret && set.output && !set.read_only);
        assert_eq!((&*set.name, &*set.value), ("x", "v"));
        for bad in [
            "##vso[task.setvariable]v",
            "##vso[task.setvariable variable=x;issecret=true]a%0Ab",
        ] {
            assert!(matches!(effect(bad), Effect::Fail(_)), "{bad}");
        }
    }

    #[test]
    fn issues_name_their_place() {
        let Effect::Issue {
            kind,
            message,
            data,
        } = effect(
            "##vso[task.logissue type=warning;sourcepath=a/b.c;linenumber=3;columnnumber=7;code=W1]oops",
        )
        else {
            panic!("not an issue");
        };
        assert_eq!(kind, IssueKind::Warning);
        assert_eq!(message, "a/b.c(3,7): warning W1: oops");
        assert_eq!(data.get("code").map(String::as_str), Some("W1"));
        assert!(matches!(
            effect("##vso[task.logissue type=x]"),
            Effect::Fail(_)
        ));
    }

    #[test]
    fn results_and_progress() {
        assert!(matches!(
            effect("##vso[task.complete result=Failed;]because"),
            Effect::Complete {
                result: TaskResult::Failed,
                ..
            }
        ));
        assert!(matches!(
            effect("##vso[task.complete result=failed]"),
            Effect::Fail(_)
        ));
        assert!(matches!(
            effect("##vso[task.setprogress value=250]far"),
            Effect::Progress { percent: 100, .. }
        ));
    }

    #[test]
    fn artifacts_need_a_name_and_keep_what_else_is_said_of_them() {
        let Effect::Publish(publishing) =
            effect("##vso[artifact.upload artifactname=drop;containerfolder=f;extra=1]/x")
        else {
            panic!("not a publication");
        };
        assert!(publishing.upload);
        assert_eq!((&*publishing.folder, &*publishing.data), ("f", "/x"));
        assert_eq!(publishing.properties.len(), 1);
        assert!(matches!(
            effect("##vso[artifact.upload]/x"),
            Effect::Fail(_)
        ));
    }

    #[test]
    fn what_is_not_known_is_a_warning() {
        assert!(matches!(
            effect("##vso[results.publish type=JUnit]/x"),
            Effect::Warn(_)
        ));
    }
}
