//! Task definitions: what an archive may hold, and what `task.json` must say.

use super::refusal::{Kind, Refusal};
use dayfly_wire::ids::TaskId;
use dayfly_wire::task::{TaskDefinition, TaskVersion};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The file that makes an archive a task.
pub const DEFINITION: &str = "task.json";
/// The longest `task.json`.
pub const MAX_DEFINITION: u64 = 1024 * 1024;
/// Files and folders of one archive.
pub const MAX_ENTRIES: usize = 20_000;
/// Bytes of all files of an archive, unpacked.
pub const MAX_UNPACKED: u64 = 512 * 1024 * 1024;
/// How much longer than the archive its files may be: real tasks come to about ten times.
const MAX_RATIO: u64 = 100;
/// An archive may unpack to this much whatever its ratio.
const SMALL: u64 = 16 * 1024 * 1024;
const MAX_PATH: usize = 400;
const MAX_DEPTH: usize = 40;
const MAX_NAME: usize = 128;
const MAX_INPUTS: usize = 500;

/// How much the files of an archive of this length may come to.
pub fn most_unpacked(archive: u64) -> u64 {
    archive.saturating_mul(MAX_RATIO).clamp(SMALL, MAX_UNPACKED)
}

/// A path that stays where it is unpacked.
pub fn check_entry(path: &str) -> Result<(), Refusal> {
    let refused = |why: &str| {
        let shown: String = path.chars().take(100).collect();
        Err(Refusal::invalid(format!("the archive: {shown:?} {why}")))
    };
    if path.len() > MAX_PATH || path.split('/').count() > MAX_DEPTH {
        return refused("is too long a path");
    }
    if path.starts_with('/') || path.contains(['\\', ':', '\0']) {
        return refused("is no relative path with slashes");
    }
    if path.chars().any(char::is_control) {
        return refused("holds a control character");
    }
    let inner = path.strip_suffix('/').unwrap_or(path);
    if inner.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return refused("leads out of the archive");
    }
    Ok(())
}

/// Reads and checks a `task.json`.
pub fn parse(text: &[u8]) -> Result<TaskDefinition, Refusal> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut document: Value = serde_json::from_slice(text)
        .map_err(|error| Refusal::invalid(format!("task.json: {error}")))?;
    number_the_version(&mut document);
    let mut task: TaskDefinition = serde_json::from_value(document)
        .map_err(|error| Refusal::invalid(format!("task.json: {error}")))?;
    if task.id.0.is_nil() {
        return Err(Refusal::invalid("task.json: id: a GUID that is not nil"));
    }
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if task.name.is_empty()
        || task.name.len() > MAX_NAME
        || !task.name.chars().all(good)
        || task.name.starts_with('.')
    {
        // Agents make directories of it.
        return Err(Refusal::invalid(format!(
            "task.json: name: 1 to {MAX_NAME} letters, digits and - _ ."
        )));
    }
    check_inputs(task.other.get("inputs"))?;
    for part in ["prejobexecution", "execution", "postjobexecution"] {
        if task.other.get(part).is_some_and(|part| !part.is_object()) {
            return Err(Refusal::invalid(format!(
                "task.json: {part}: an object with a member for each handler"
            )));
        }
    }
    task.contents_uploaded = true;
    Ok(task)
}

/// Many a `task.json` writes its version's numbers as text.
fn number_the_version(document: &mut Value) {
    let version = document.get_mut("version").and_then(Value::as_object_mut);
    for value in version.into_iter().flat_map(|version| version.values_mut()) {
        if let Some(number) = value.as_str().and_then(|text| text.parse::<u32>().ok()) {
            *value = number.into();
        }
    }
}

fn check_inputs(inputs: Option<&Value>) -> Result<(), Refusal> {
    let Some(inputs) = inputs.filter(|inputs| !inputs.is_null()) else {
        return Ok(());
    };
    let wrong = |what: String| Err(Refusal::invalid(format!("task.json: {what}")));
    let Some(inputs) = inputs.as_array() else {
        return wrong("inputs: a list".to_owned());
    };
    if inputs.len() > MAX_INPUTS {
        return wrong(format!("inputs: at most {MAX_INPUTS}"));
    }
    let mut names = BTreeSet::new();
    for (index, input) in inputs.iter().enumerate() {
        let Some(name) = input.get("name").and_then(Value::as_str) else {
            return wrong(format!("inputs[{index}].name: needed"));
        };
        if !names.insert(name.to_lowercase()) {
            return wrong(format!(
                "inputs[{index}].name: {name:?} is the name of an earlier input"
            ));
        }
    }
    Ok(())
}

/// A version of a task that was uploaded, as pipelines find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// The task.
    pub id: TaskId,
    /// Its name.
    pub name: String,
    /// The version.
    pub version: TaskVersion,
    /// Other names of its inputs in lower case, with the names that its agents know.
    pub aliases: BTreeMap<String, String>,
}

impl Uploaded {
    /// What a pipeline needs to know of a task.
    pub fn of(definition: &TaskDefinition) -> Self {
        Self {
            id: definition.id,
            name: definition.name.clone(),
            version: definition.version,
            aliases: aliases(definition.other.get("inputs")),
        }
    }
}

fn aliases(inputs: Option<&Value>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for input in inputs.and_then(Value::as_array).into_iter().flatten() {
        let Some(name) = input.get("name").and_then(Value::as_str) else {
            continue;
        };
        let others = input.get("aliases").and_then(Value::as_array);
        for alias in others.into_iter().flatten().filter_map(Value::as_str) {
            found.insert(alias.to_lowercase(), name.to_owned());
        }
    }
    found
}

/// The newest version of the task that a pipeline means by a name, or by an id, and a major version; or why there is none.
pub fn meant<'a>(all: &'a [Uploaded], name: &str, major: u32) -> Result<&'a Uploaded, String> {
    let is_meant = |task: &&Uploaded| {
        let is_called =
            task.name.eq_ignore_ascii_case(name) || task.id.to_string().eq_ignore_ascii_case(name);
        is_called && task.version.major == major
    };
    let found: Vec<_> = all.iter().filter(is_meant).collect();
    let ids: BTreeSet<_> = found.iter().map(|task| task.id.to_string()).collect();
    if ids.len() > 1 {
        let ids: Vec<_> = ids.into_iter().collect();
        return Err(format!(
            "several tasks are called {name}@{major}; write one of their ids in the place of the name: {}",
            ids.join(", ")
        ));
    }
    let newest = found.into_iter().max_by_key(|task| task.version);
    newest.ok_or_else(|| format!("there is no task {name}@{major}; upload it to the service first"))
}

/// No such task, or not in this version.
pub fn not_found(id: TaskId, version: Option<TaskVersion>) -> Refusal {
    Refusal::new(
        Kind::TaskNotFound,
        match version {
            Some(version) => format!("there is no task {id} of version {version}"),
            None => format!("there is no task {id}"),
        },
    )
}

/// The newest version of each task and major version.
pub fn newest(mut tasks: Vec<TaskDefinition>) -> Vec<TaskDefinition> {
    tasks.sort_by_key(|task| (task.id.0, std::cmp::Reverse(task.version)));
    tasks.dedup_by_key(|task| (task.id, task.version.major));
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(change: impl FnOnce(&mut Value)) -> Result<TaskDefinition, Refusal> {
        let mut document = serde_json::json!({
            "id": "11111111-1111-4111-8111-111111111111", "name": "Greet",
            "version": {"Major": "1", "Minor": 2, "Patch": 3},
            "inputs": [{"name": "who", "type": "string"}],
            "execution": {"Node20_1": {"target": "main.js"}},
        });
        change(&mut document);
        parse(document.to_string().as_bytes())
    }

    #[test]
    fn a_definition_is_read_with_its_version_as_numbers_or_text() {
        let read = task(|_| {}).unwrap();
        assert_eq!(
            (read.name.as_str(), read.version.to_string()),
            ("Greet", "1.2.3".to_owned())
        );
        assert!(read.contents_uploaded);
    }

    #[test]
    fn what_is_wrong_is_named() {
        type Change = fn(&mut Value);
        let cases: [(&str, Change); 7] = [
            ("id", |task| task["id"] = "nonsense".into()),
            ("id", |task| {
                task["id"] = uuid::Uuid::nil().to_string().into()
            }),
            ("name", |task| task["name"] = "../escape".into()),
            ("Patch", |task| {
                task["version"] = serde_json::json!({"Major": 1, "Minor": 2})
            }),
            ("inputs[0].name", |task| {
                task["inputs"] = serde_json::json!([{}])
            }),
            ("inputs[1].name", |task| {
                task["inputs"] = serde_json::json!([{"name": "a"}, {"name": "A"}]);
            }),
            ("execution", |task| task["execution"] = "node".into()),
        ];
        for (named, change) in cases {
            let refusal = task(change).unwrap_err().message;
            assert!(
                refusal.contains("task.json")
                    && refusal.to_lowercase().contains(&named.to_lowercase())
                    || named == "id" && refusal.contains("UUID"),
                "{named}: {refusal}"
            );
        }
        assert!(parse(b"{").is_err());
        assert!(parse(b"[]").is_err());
    }

    #[test]
    fn paths_stay_in_the_archive() {
        for good in ["task.json", "node_modules/", "a/b/c.js", "..a/b..", "a b"] {
            assert!(check_entry(good).is_ok(), "{good}");
        }
        for bad in [
            "/etc/passwd",
            "../a",
            "a/../../b",
            "a//b",
            "./a",
            "a\\b",
            "C:/a",
            "a\nb",
            "",
            "/",
        ] {
            assert!(check_entry(bad).is_err(), "{bad}");
        }
        assert!(check_entry(&"a/".repeat(MAX_DEPTH + 1)).is_err());
    }

    #[test]
    fn the_newest_of_each_major_version_is_listed() {
        let version = |text: &str| {
            let mut read = task(|_| {}).unwrap();
            read.version = text.parse().unwrap();
            read
        };
        let all = ["1.0.0", "1.10.0", "2.0.1", "1.9.9", "2.0.0"].map(version);
        let newest = newest(all.into());
        let versions: Vec<_> = newest.iter().map(|task| task.version.to_string()).collect();
        assert_eq!(versions, ["2.0.1", "1.10.0"]);
    }

    #[test]
    fn a_pipeline_means_the_newest_version_of_the_one_task_of_that_name() {
        let uploaded = |id: u128, name: &str, version: &str| Uploaded {
            id: TaskId(uuid::Uuid::from_u128(id)),
            name: name.to_owned(),
            version: version.parse().unwrap(),
            aliases: BTreeMap::new(),
        };
        let all = [
            uploaded(1, "Greet", "1.9.9"),
            uploaded(1, "Greet", "1.10.0"),
            uploaded(1, "Greet", "2.0.0"),
            uploaded(2, "greet", "2.0.1"),
        ];
        let found =
            |name: &str, major| meant(&all, name, major).map(|task| task.version.to_string());
        assert_eq!(found("GREET", 1), Ok("1.10.0".to_owned()));
        let id = uuid::Uuid::from_u128(1).to_string();
        assert_eq!(found(&id, 2), Ok("2.0.0".to_owned()));
        let why = found("Greet", 2).unwrap_err();
        assert!(why.contains("several") && why.contains(&id), "{why}");
        assert!(found("Greet", 3).unwrap_err().contains("no task Greet@3"));
    }

    #[test]
    fn small_archives_may_unpack_to_much_and_large_ones_to_some_times_their_length() {
        assert_eq!(most_unpacked(1), SMALL);
        assert_eq!(most_unpacked(1024 * 1024), 100 * 1024 * 1024);
        assert_eq!(most_unpacked(u64::MAX), MAX_UNPACKED);
    }
}
