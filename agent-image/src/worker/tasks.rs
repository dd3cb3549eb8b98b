//! Tasks that the service serves: fetched, looked through, unpacked where job code cannot write, and run by the
//! job image's own `node`.

pub(crate) mod archive;
pub(crate) mod definition;
pub(crate) mod environment;
pub(crate) mod fetch;
pub(crate) mod handler;
pub(crate) mod inputs;
pub(crate) mod trust;

use dayfly_wire::secret::SecretText;
use definition::Definition;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Whether bytes are a `task.json` that can be used.
pub fn is_definition(bytes: &[u8]) -> bool {
    definition::parse(bytes).is_ok_and(|task| {
        let stages = [
            definition::Stage::Pre,
            definition::Stage::Main,
            definition::Stage::Post,
        ];
        let _ = stages.map(|stage| task.handlers(stage).len());
        true
    })
}

/// What a step may set for its other parts.
const MOST_SET: usize = 1000;
const MOST_SET_TEXT: usize = 1 << 20;

/// A task that is ready to run.
pub(crate) struct Task {
    pub(crate) definition: Definition,
    /// Where it is in the agent's container.
    pub(crate) directory: PathBuf,
    /// The same place as the job's container sees it.
    pub(crate) shown: String,
    /// What its files were when they were unpacked.
    pub(crate) fingerprint: String,
}

/// Variables of one step, which its pre-job, main and post-job parts share.
#[derive(Default)]
pub(crate) struct TaskVariables(BTreeMap<String, SecretText>);

impl TaskVariables {
    /// Sets a variable; names are compared without regard to case. Whether there was room for it.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> bool {
        let name = name.to_uppercase();
        let others = self.0.iter().filter(|(other, _)| **other != name);
        let text: usize = others
            .clone()
            .map(|(name, value)| name.len() + value.expose().len())
            .sum();
        let fits = others.count() < MOST_SET && text + name.len() + value.len() <= MOST_SET_TEXT;
        if fits {
            self.0.insert(name, value.into());
        }
        fits
    }

    /// Names, in upper case, and values.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose()))
    }
}
