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
    /// Whether every step and script sees them, as `SYSTEM_ACCESSTOKEN`, without mapping them.
    pub scripts: bool,
}

/// What is to be changed of it; what is absent stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What they read.
    pub scope: Option<TokenScope>,
    /// Whether they push.
    pub pushes: Option<bool>,
    /// Whether scripts see them.
    pub scripts: Option<bool>,
}

impl Reach {
    /// What holds after a change.
    #[must_use]
    pub fn changed(self, change: Change) -> Self {
        Self {
            scope: change.scope.unwrap_or(self.scope),
            pushes: change.pushes.unwrap_or(self.pushes),
            scripts: change.scripts.unwrap_or(self.scripts),
        }
    }
}
