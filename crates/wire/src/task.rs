//! Task definitions: what a step may run, by id and version.

use crate::ids::TaskId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A task definition: what its `task.json` says, with what the service adds. Members that are not named here are
/// kept as they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskDefinition {
    /// The task.
    pub id: TaskId,
    /// How pipelines name it.
    pub name: String,
    /// Its version.
    pub version: TaskVersion,
    /// Whether its files are there.
    #[serde(default)]
    pub contents_uploaded: bool,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A version. `task.json` writes its members with capitals, services without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskVersion {
    /// Incompatible changes.
    #[serde(alias = "Major")]
    pub major: u32,
    /// Additions.
    #[serde(alias = "Minor")]
    pub minor: u32,
    /// Corrections.
    #[serde(alias = "Patch")]
    pub patch: u32,
    /// Whether it is a test version.
    #[serde(default, alias = "IsTest")]
    pub is_test: bool,
}

impl std::fmt::Display for TaskVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl std::str::FromStr for TaskVersion {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
        match parts.as_deref() {
            Some([major, minor, patch]) => Ok(Self {
                major: *major,
                minor: *minor,
                patch: *patch,
                is_test: false,
            }),
            Some(_) | None => Err("a version has three numbers, for example 2.1.0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_in_both_forms_and_everything_else_is_kept() {
        let text = serde_json::json!({
            "id": "d9bafed4-0b18-4f58-968d-86655b4d2ce9", "name": "CmdLine",
            "version": {"Major": 2, "Minor": 1, "Patch": 0}, "execution": {"Node20_1": {"target": "x.js"}},
        });
        let task: TaskDefinition = serde_json::from_value(text).unwrap();
        assert_eq!(task.version.to_string(), "2.1.0");
        assert_eq!("2.1.0".parse(), Ok(task.version));
        let written = serde_json::to_value(&task).unwrap();
        assert_eq!(written["version"]["major"], 2);
        assert_eq!(written["execution"]["Node20_1"]["target"], "x.js");
        for wrong in ["2.1", "2.1.x", "", "2.1.0.0", "-1.0.0"] {
            assert!(wrong.parse::<TaskVersion>().is_err(), "{wrong}");
        }
    }
}
