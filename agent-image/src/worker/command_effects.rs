//! What a logging command means. Pure: effects are named here and performed by the step.

use super::command_uploads::{Upload, attach, label, log, old_summary, publish, upload};
use super::commands::Command;
use dayfly_wire::attachment;
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
    /// Send something to the service when the process has ended.
    Upload(Upload),
    /// Change a service connection for the tasks that follow.
    SetEndpoint(SetEndpoint),
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

/// A variable to set.
#[derive(PartialEq, Eq)]
pub(crate) struct SetVariable {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) secret: bool,
    pub(crate) output: bool,
    pub(crate) read_only: bool,
    /// Its name in an environment keeps its case.
    pub(crate) preserve_case: bool,
}

/// A change of a service connection.
#[derive(PartialEq, Eq)]
pub(crate) struct SetEndpoint {
    pub(crate) id: String,
    pub(crate) part: EndpointPart,
    pub(crate) value: String,
}

/// What of a service connection is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EndpointPart {
    Url,
    Data(String),
    /// How to authenticate; the value is a secret.
    Authorization(String),
}

/// Areas of commands whose events are all known.
const AREAS: [&str; 7] = [
    "task",
    "artifact",
    "build",
    "results",
    "codecoverage",
    "telemetry",
    "release",
];
/// Commands of Microsoft's agent that this one has no call of the service for.
const UNSERVED: [(&str, &str); 5] = [
    ("results", "publish"),
    ("results", "publishtoevidencestore"),
    ("codecoverage", "publish"),
    ("codecoverage", "enable"),
    ("task", "logdetail"),
];

/// What a command means; `sources` is where the repository is.
pub(crate) fn interpret(command: Command, sources: &str) -> Effect {
    match (command.area.as_str(), command.event.as_str()) {
        ("task", "setvariable") => set_variable(command),
        ("task", "settaskvariable") => set_task_variable(command),
        ("task", "setsecret") => Effect::AddSecret(command.data),
        ("task", "logissue" | "issue") => issue(command, sources),
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
        ("task", "setendpoint") => set_endpoint(command),
        ("task", "addattachment") => attach(&command),
        ("task", "uploadsummary") => upload(&command, attachment::SUMMARY),
        ("task", "uploadfile") => upload(&command, attachment::FILE),
        ("build", "uploadsummary") => old_summary(&command),
        ("build", "uploadlog") => log(&command),
        ("build", "updatebuildnumber") => label(&command, Upload::BuildNumber),
        ("build", "addbuildtag") => label(&command, Upload::BuildTag),
        ("artifact", "upload") => publish(command, true),
        ("artifact", "associate") => publish(command, false),
        ("task", "debug") => Effect::Debug(command.data),
        ("telemetry", "publish") => Effect::Debug("Telemetry is not collected.".to_owned()),
        (area, event) if AREAS.contains(&area) && !UNSERVED.contains(&(area, event)) => {
            Effect::Fail(format!(
                "##vso[{area}.{event}] is no command that a job's output can give."
            ))
        }
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
        preserve_case: command.flag("preservecase"),
        value: command.data,
    })
}

fn set_endpoint(command: Command) -> Effect {
    let property = |name| command.property(name).map(ToOwned::to_owned);
    let field = property("field").map(|field| field.to_ascii_lowercase());
    let part = match (field.as_deref(), property("key")) {
        (Some("url"), _) => Some(EndpointPart::Url),
        (Some("dataparameter"), Some(key)) => Some(EndpointPart::Data(key)),
        (Some("authparameter"), Some(key)) => Some(EndpointPart::Authorization(key)),
        _ => None,
    };
    match (property("id"), part) {
        (Some(id), Some(part)) => Effect::SetEndpoint(SetEndpoint {
            id,
            part,
            value: command.data,
        }),
        _ => Effect::Fail(
            "The command task.setendpoint needs id, and field=url, or field=dataParameter or authParameter with key."
                .to_owned(),
        ),
    }
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

/// Paths of the repository are told as people know them there.
fn issue(mut command: Command, sources: &str) -> Effect {
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
    if let Some(path) = command.properties.get_mut("sourcepath")
        && let Some(inner) = path.strip_prefix(sources)
        && let Some(inner) = inner.strip_prefix('/')
    {
        *path = inner.to_owned();
    }
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
            Parsed::Command(command) => interpret(command, "/work/1/s"),
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
            "##vso[task.logissue type=warning;sourcepath=/work/1/s/a/b.c;linenumber=3;columnnumber=7;code=W1]oops",
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
    fn what_is_not_known_is_a_warning() {
        for unserved in [
            "##vso[results.publish type=JUnit]/x",
            "##vso[another.thing]",
            "##vso[logplugin.finish]",
        ] {
            assert!(matches!(effect(unserved), Effect::Warn(_)), "{unserved}");
        }
        for unknown in [
            "##vso[task.nothing]",
            "##vso[build.nothing]",
            "##vso[release.updatereleasename]x",
        ] {
            assert!(matches!(effect(unknown), Effect::Fail(_)), "{unknown}");
        }
    }

    #[test]
    fn connections_are_changed_part_by_part() {
        let Effect::SetEndpoint(set) =
            effect("##vso[task.setendpoint id=1;field=authParameter;key=apitoken]t0ken")
        else {
            panic!("not a connection");
        };
        assert_eq!(set.part, EndpointPart::Authorization("apitoken".to_owned()));
        for bad in [
            "##vso[task.setendpoint field=url]x",
            "##vso[task.setendpoint id=1;field=authParameter]x",
            "##vso[task.setendpoint id=1;field=other;key=a]x",
        ] {
            assert!(matches!(effect(bad), Effect::Fail(_)), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_a_line_says_panics(
            name in "(task|artifact|build|results|telemetry|x)\\.[a-z]{1,20}",
            properties in "[a-z]{0,12}=?[^\\]]{0,40}", data in "\\PC{0,40}",
        ) {
            if let Parsed::Command(command) = parse(&format!("##vso[{name} {properties}]{data}")) {
                let _ = interpret(command, "/s");
            }
        }
    }
}
