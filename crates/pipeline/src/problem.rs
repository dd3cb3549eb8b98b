//! What is wrong with a pipeline file, and where.

use crate::yaml::below;

/// A place in a file, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// Where something stands in a file, for complaints that come after the file was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where it begins.
    pub at: Position,
    /// Its key, for example `jobs[1].steps[0]`.
    pub key: String,
}

impl Mark {
    /// A member of it.
    #[must_use]
    pub fn member(&self, name: &str) -> Self {
        Self {
            at: self.at,
            key: below(&self.key, name),
        }
    }

    /// As a person looks for it: `FILE:LINE:COLUMN: KEY`.
    pub fn in_file(&self, path: &str) -> String {
        format!("{path}:{}:{}: {}", self.at.line, self.at.column, self.key)
    }

    /// A problem of it.
    pub fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::new(self.at, &self.key, message)
    }
}

/// The first thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {}{message}", at.line, at.column, prefix(key))]
pub struct Problem {
    /// Where it is.
    pub at: Position,
    /// The key that it is about, for example `jobs[1].steps[0].script`; empty when it is about the file.
    pub key: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Problem {
    /// A problem of a key.
    pub fn new(at: Position, key: &str, message: impl Into<String>) -> Self {
        Self {
            at,
            key: key.to_owned(),
            message: message.into(),
        }
    }

    /// As a person looks for it: `FILE:LINE:COLUMN: KEY: what is wrong`.
    pub fn in_file(&self, path: &str) -> String {
        let Self { at, key, message } = self;
        format!("{path}:{}:{}: {}{message}", at.line, at.column, prefix(key))
    }
}

fn prefix(key: &str) -> String {
    if key.is_empty() {
        String::new()
    } else {
        format!("{key}: ")
    }
}
