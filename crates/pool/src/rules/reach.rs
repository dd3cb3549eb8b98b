//! How far the tokens of a pipeline's jobs reach: a setting of the pipeline, which its jobs cannot change.

use super::refusal::Refusal;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Whose build identity a job has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TokenScope {
    /// The project's: it reads the sources of its project.
    #[default]
    Project,
    /// The collection's: it reads the sources of every project.
    Collection,
}

impl TokenScope {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Collection => "collection",
        }
    }
}

impl fmt::Display for TokenScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TokenScope {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "project" => Ok(Self::Project),
            "collection" => Ok(Self::Collection),
            other => Err(Refusal::invalid(format!(
                "{other:?} is no scope of a job's token: project or collection"
            ))),
        }
    }
}

/// How far the tokens of a pipeline's jobs reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// What they read.
    pub scope: TokenScope,
    /// Whether they push to the job's own repository.
    pub pushes: bool,
}
