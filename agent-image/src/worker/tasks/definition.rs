//! `task.json`: what a task is, what it wants, and what runs it. Pure. It was written by whoever wrote the task, so
//! nothing in it is believed to be of the right kind or size.

use crate::worker::restrictions::Restrictions;
use serde_json::{Map, Value};

/// The longest `task.json`.
pub(crate) const MAX_LENGTH: u64 = 1 << 20;
const MAX_INPUTS: usize = 500;

/// What a task is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) author: String,
    pub(crate) help: String,
    pub(crate) inputs: Vec<Input>,
    /// Variables of these names are outputs, also when nobody says so.
    pub(crate) outputs: Vec<String>,
    pub(crate) restrictions: Restrictions,
    parts: [Vec<Handler>; 3],
}

/// An input that a task declares.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) default: String,
    pub(crate) aliases: Vec<String>,
}

/// When a part of a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Before all steps.
    Pre,
    /// As the step.
    Main,
    /// After all steps.
    Post,
}

/// One way to run a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handler {
    /// As `task.json` names it.
    pub(crate) name: String,
    pub(crate) target: String,
    pub(crate) directory: Option<String>,
}

/// Why a `task.json` cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DefinitionError {
    /// It is no JSON object.
    #[error("its task.json does not parse (line {line}, column {column})")]
    Json {
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
    /// A member is missing or of another kind.
    #[error("its task.json has no usable {0}")]
    Member(&'static str),
    /// More than a task can need.
    #[error("its task.json declares more than {MAX_INPUTS} inputs")]
    TooManyInputs,
}

impl Definition {
    /// What runs a part, in the order in which `task.json` lists it; empty when the task has no such part.
    pub(crate) fn handlers(&self, stage: Stage) -> &[Handler] {
        let [pre, main, post] = &self.parts;
        match stage {
            Stage::Pre => pre,
            Stage::Main => main,
            Stage::Post => post,
        }
    }
}

/// Reads a `task.json`.
pub(crate) fn parse(text: &[u8]) -> Result<Definition, DefinitionError> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let root: Map<String, Value> =
        serde_json::from_slice(text).map_err(|error| DefinitionError::Json {
            line: error.line(),
            column: error.column(),
        })?;
    let id = text_of(&root, "id").to_lowercase();
    uuid::Uuid::parse_str(&id).map_err(|_| DefinitionError::Member("id"))?;
    let name = text_of(&root, "name");
    if name.is_empty() {
        return Err(DefinitionError::Member("name"));
    }
    let title = Some(text_of(&root, "friendlyName")).filter(|title| !title.is_empty());
    Ok(Definition {
        id,
        title: title.unwrap_or_else(|| name.clone()),
        name,
        version: version(&root).ok_or(DefinitionError::Member("version"))?,
        description: text_of(&root, "description"),
        author: text_of(&root, "author"),
        help: [text_of(&root, "helpUrl"), text_of(&root, "helpMarkDown")]
            .into_iter()
            .find(|help| !help.is_empty())
            .unwrap_or_default(),
        inputs: inputs(&root)?,
        outputs: list(&root, "outputVariables")
            .iter()
            .filter_map(Value::as_object)
            .map(|output| text_of(output, "name"))
            .filter(|name| !name.is_empty())
            .collect(),
        restrictions: Restrictions::read(member(&root, "restrictions")),
        parts: ["prejobexecution", "execution", "postjobexecution"]
            .map(|section| handlers(&root, section)),
    })
}

fn version(root: &Map<String, Value>) -> Option<String> {
    let version = member(root, "version")?.as_object()?;
    let number = |name| text_of(version, name).parse::<u32>().ok();
    let (major, minor, patch) = (number("major")?, number("minor")?, number("patch")?);
    Some(format!("{major}.{minor}.{patch}"))
}

fn inputs(root: &Map<String, Value>) -> Result<Vec<Input>, DefinitionError> {
    let inputs = list(root, "inputs");
    if inputs.len() > MAX_INPUTS {
        return Err(DefinitionError::TooManyInputs);
    }
    Ok(inputs
        .iter()
        .filter_map(Value::as_object)
        .map(|input| Input {
            name: text_of(input, "name").trim().to_owned(),
            kind: text_of(input, "type"),
            default: text_of(input, "defaultValue").trim().to_owned(),
            aliases: list(input, "aliases")
                .iter()
                .filter_map(Value::as_str)
                .map(|alias| alias.trim().to_owned())
                .collect(),
        })
        .filter(|input| !input.name.is_empty())
        .collect())
}

fn handlers(root: &Map<String, Value>, section: &str) -> Vec<Handler> {
    let Some(section) = member(root, section).and_then(Value::as_object) else {
        return Vec::new();
    };
    section
        .iter()
        .filter_map(|(name, handler)| {
            let handler = handler.as_object()?;
            let directory = text_of(handler, "workingDirectory");
            Some(Handler {
                name: name.clone(),
                target: text_of(handler, "target"),
                directory: Some(directory).filter(|directory| !directory.is_empty()),
            })
        })
        .collect()
}

/// A member, whatever the case of its name.
fn member<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    map.get(name).or_else(|| {
        map.iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    })
}

fn list<'a>(map: &'a Map<String, Value>, name: &str) -> &'a [Value] {
    member(map, name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Numbers and truth values are texts too: many a default is written as one.
fn text_of(map: &Map<String, Value>, name: &str) -> String {
    match member(map, name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "0B0F01ED-7DDE-43FF-9CBB-E48954DAF9B1";

    #[test]
    fn a_definition_is_read_as_tasks_write_it() {
        let text = format!(
            "\u{feff}{}",
            serde_json::json!({
                "id": ID, "name": "Greet", "friendlyName": "Greet somebody", "helpMarkDown": "ask",
                "version": {"Major": "1", "Minor": 2, "Patch": 3},
                "inputs": [
                    {"name": "who ", "type": "string", "defaultValue": " you ", "aliases": ["whom"]},
                    {"name": "loud", "type": "boolean", "defaultValue": true}, {"type": "string"}, 7],
                "outputVariables": [{"name": "said"}],
                "PreJobExecution": {"Node10": {"target": "pre.js"}},
                "execution": {"PowerShell3": {"target": "a.ps1"},
                    "Node20_1": {"target": "main.js", "workingDirectory": "$(currentDirectory)"}},
            })
        );
        let read = parse(text.as_bytes()).unwrap();
        assert_eq!((&*read.id, &*read.version), (&*ID.to_lowercase(), "1.2.3"));
        assert_eq!((&*read.title, &*read.help), ("Greet somebody", "ask"));
        assert_eq!(read.inputs.len(), 2);
        assert_eq!(
            (&*read.inputs[0].name, &*read.inputs[0].default),
            ("who", "you")
        );
        assert_eq!(read.inputs[0].aliases, ["whom"]);
        assert_eq!(read.inputs[1].default, "true");
        assert_eq!(read.outputs, ["said"]);
        assert_eq!(read.handlers(Stage::Pre)[0].target, "pre.js");
        assert_eq!(read.handlers(Stage::Main).len(), 2);
        assert!(read.handlers(Stage::Post).is_empty());
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(matches!(parse(b"[]"), Err(DefinitionError::Json { .. })));
        for (text, missing) in [
            (r#"{"id": "x", "name": "n"}"#.to_owned(), "id"),
            (format!(r#"{{"id": "{ID}"}}"#), "name"),
            (
                format!(r#"{{"id": "{ID}", "name": "n", "version": "1"}}"#),
                "version",
            ),
        ] {
            assert_eq!(
                parse(text.as_bytes()),
                Err(DefinitionError::Member(missing))
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_document_panics(name in "[a-z]{1,12}", value in "[0-9a-z\\[\\]{}\":,]{0,40}") {
            let _ = parse(format!("{{\"id\": \"{ID}\", \"name\": \"n\", \"{name}\": {value}}}").as_bytes());
        }
    }
}
