//! Commands that send something to the service once the step's process has ended. Pure.

use super::command_effects::Effect;
use super::commands::Command;
use dayfly_wire::attachment;
use std::collections::BTreeMap;

/// The longest path that a command may name, and what else it may name.
const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 256;

/// What is done when the process has ended.
#[derive(PartialEq, Eq)]
pub(crate) enum Upload {
    /// Publish files, or name what is published already.
    Artifact(Publishing),
    /// Hang a file on the step's record.
    Attachment(Attachment),
    /// Store a file as a log of the run.
    Log(String),
    /// Give the run another number.
    BuildNumber(String),
    /// Tag the run.
    BuildTag(String),
}

/// An artifact that output asked to publish.
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

/// A file that output asked to hang on the step's record.
#[derive(PartialEq, Eq)]
pub(crate) struct Attachment {
    pub(crate) kind: String,
    /// The file's own when absent.
    pub(crate) name: Option<String>,
    pub(crate) path: String,
}

impl Upload {
    /// How much memory it takes until the process has ended, about.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Artifact(it) => {
                let properties = it.properties.iter();
                let properties: usize = properties
                    .map(|(name, value)| name.len() + value.len())
                    .sum();
                it.name.len() + it.folder.len() + it.data.len() + properties
            }
            Self::Attachment(it) => {
                it.kind.len() + it.name.as_ref().map_or(0, String::len) + it.path.len()
            }
            Self::Log(text) | Self::BuildNumber(text) | Self::BuildTag(text) => text.len(),
        }
    }

    /// What a person reads while it is done.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Artifact(it) => format!("publish the artifact '{}'", it.name),
            Self::Attachment(it) => format!("attach {}", it.path),
            Self::Log(path) => format!("store the log {path}"),
            Self::BuildNumber(number) => format!("set the run's number to '{number}'"),
            Self::BuildTag(tag) => format!("tag the run '{tag}'"),
        }
    }
}

/// `task.addattachment`.
pub(crate) fn attach(command: &Command) -> Effect {
    let property = |name| command.property(name).map(ToOwned::to_owned);
    let (Some(kind), Some(name)) = (property("type"), property("name")) else {
        return Effect::Fail("The command task.addattachment needs type and name.".to_owned());
    };
    let bad = |text: &str| {
        text.chars().count() > MAX_NAME || text.chars().any(|c| c == '/' || c.is_control())
    };
    if bad(&kind) || bad(&name) {
        return Effect::Fail(format!(
            "The command task.addattachment needs a type and a name of at most {MAX_NAME} characters without slashes and control characters."
        ));
    }
    of_path(command, |path| {
        Upload::Attachment(Attachment {
            kind,
            name: Some(name),
            path,
        })
    })
}

/// `task.uploadsummary` and `task.uploadfile`.
pub(crate) fn upload(command: &Command, kind: &str) -> Effect {
    of_path(command, |path| {
        Upload::Attachment(Attachment {
            kind: kind.to_owned(),
            name: None,
            path,
        })
    })
}

/// `build.uploadsummary`, the older way: every file has a type of its own.
pub(crate) fn old_summary(command: &Command) -> Effect {
    of_path(command, |path| {
        let name = file_name(&path).to_owned();
        Upload::Attachment(Attachment {
            kind: format!("{}{name}", attachment::OLD_SUMMARY),
            name: Some(name),
            path,
        })
    })
}

/// `build.uploadlog`.
pub(crate) fn log(command: &Command) -> Effect {
    of_path(command, Upload::Log)
}

/// `build.updatebuildnumber` and `build.addbuildtag`.
pub(crate) fn label(command: &Command, make: impl FnOnce(String) -> Upload) -> Effect {
    let text = command.data.trim().to_owned();
    let is_fine =
        !text.is_empty() && text.chars().count() <= MAX_NAME && !text.chars().any(char::is_control);
    if is_fine {
        return Effect::Upload(make(text));
    }
    Effect::Fail(format!(
        "The command {}.{} needs 1 to {MAX_NAME} characters on one line.",
        command.area, command.event
    ))
}

/// `artifact.upload` and `artifact.associate`.
pub(crate) fn publish(command: Command, upload: bool) -> Effect {
    let own = ["artifactname", "containerfolder", "artifacttype"];
    let property = |name| command.property(name).map(ToOwned::to_owned);
    let (name, folder, kind) = (property(own[0]), property(own[1]), property(own[2]));
    let Some(name) = name.filter(|_| !command.data.is_empty()) else {
        return Effect::Fail(format!(
            "The command artifact.{} needs artifactname, and a path or place.",
            command.event
        ));
    };
    Effect::Upload(Upload::Artifact(Publishing {
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
    }))
}

/// The last part of a path.
pub(crate) fn file_name(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

fn of_path(command: &Command, make: impl FnOnce(String) -> Upload) -> Effect {
    let path = command.data.trim();
    let is_fine = !file_name(path).is_empty() && path.len() <= MAX_PATH && !path.contains('\0');
    if is_fine {
        return Effect::Upload(make(path.to_owned()));
    }
    Effect::Fail(format!(
        "The command {}.{} needs the path of a file.",
        command.area, command.event
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::command_effects::interpret;
    use crate::worker::commands::{Parsed, parse};

    fn upload(line: &str) -> Option<Upload> {
        match parse(line) {
            Parsed::Command(command) => match interpret(command, "/s") {
                Effect::Upload(upload) => Some(upload),
                _ => None,
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_get_the_types_that_clients_look_for() {
        for (line, kind, name) in [
            (
                "##vso[task.addattachment type=my.kind;name=a b]/x/y.md",
                "my.kind",
                Some("a b"),
            ),
            (
                "##vso[task.uploadsummary]/x/y.md",
                attachment::SUMMARY,
                None,
            ),
            ("##vso[task.uploadfile]y.md", attachment::FILE, None),
            (
                "##vso[build.uploadsummary]/x/y.md",
                "CustomMarkDownSummary-y.md",
                Some("y.md"),
            ),
        ] {
            let Some(Upload::Attachment(attachment)) = upload(line) else {
                panic!("{line}");
            };
            assert_eq!(attachment.kind, kind);
            assert_eq!(attachment.name.as_deref(), name);
        }
        assert!(matches!(
            upload("##vso[build.uploadlog]/x"),
            Some(Upload::Log(_))
        ));
        assert!(matches!(
            upload("##vso[build.updatebuildnumber] 7 "),
            Some(Upload::BuildNumber(number)) if number == "7"
        ));
    }

    #[test]
    fn what_names_no_file_or_is_too_long_fails() {
        let long = "x".repeat(5000);
        for line in [
            "##vso[task.addattachment type=a]/x",
            "##vso[task.addattachment type=a;name=b/c]/x",
            "##vso[task.addattachment type=a;name=b]",
            "##vso[task.uploadsummary]",
            "##vso[task.uploadfile]/",
            "##vso[build.addbuildtag]",
            "##vso[build.updatebuildnumber]a%0Ab",
            &format!("##vso[task.uploadfile]/{long}"),
            &format!("##vso[build.addbuildtag]{long}"),
        ] {
            assert!(upload(line).is_none(), "{line}");
        }
    }

    #[test]
    fn artifacts_need_a_name_and_keep_what_else_is_said_of_them() {
        let made = upload("##vso[artifact.upload artifactname=drop;containerfolder=f;extra=1]/x");
        let Some(Upload::Artifact(publishing)) = made else {
            panic!("not a publication");
        };
        assert!(publishing.upload);
        assert_eq!((&*publishing.folder, &*publishing.data), ("f", "/x"));
        assert_eq!(publishing.properties.len(), 1);
        assert!(upload("##vso[artifact.upload]/x").is_none());
    }
}
