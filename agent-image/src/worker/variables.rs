//! The job's variables: names without regard to case, `$(name)` in values expanded, secrets marked.

use crate::worker::macros;
use dayfly_wire::job::Variable;
use dayfly_wire::secret::SecretText;
use std::collections::BTreeMap;

/// The most variables that may lead from one to another.
const MAX_DEPTH: usize = 50;
/// The most macros that one variable may come to, and the longest text: `$(b)$(b)` doubles at every step.
const MAX_MACROS: usize = 10_000;
const MAX_TEXT: usize = 4 << 20;

/// Texts that come from people outside the pipeline; a logging command in them would be obeyed.
const VULNERABLE: [&str; 12] = [
    "build.sourceversionmessage",
    "build.definitionname",
    "build.sourceversionauthor",
    "system.sourceversionmessage",
    "system.definitionname",
    "system.jobdisplayname",
    "system.phasedisplayname",
    "system.stagedisplayname",
    "release.definitionname",
    "release.environmentname",
    "agent.machinename",
    "agent.name",
];

/// All variables of a job.
#[derive(Default)]
pub(crate) struct Variables(BTreeMap<String, Entry>);

/// One variable's way through those that it names.
struct Walk {
    path: Vec<String>,
    secret: bool,
    macros: usize,
}

struct Entry {
    name: String,
    raw: SecretText,
    expanded: SecretText,
    secret: bool,
    read_only: bool,
    by_step: bool,
}

/// One variable, for those who sort them.
pub(crate) struct Listed<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
    pub(crate) secret: bool,
    /// A step set it while the job ran.
    pub(crate) by_step: bool,
}

/// A text with its macros replaced.
pub(crate) struct Expanded {
    /// The text.
    pub(crate) text: SecretText,
    /// Whether a secret went into it.
    pub(crate) secret: bool,
}

/// A variable may not be changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReadOnly;

impl Variables {
    /// The variables of a job message.
    pub(crate) fn from_message(message: &BTreeMap<String, Variable>) -> Self {
        let mut variables = Self::default();
        for (name, variable) in message {
            let value = variable.value.as_ref().map_or("", SecretText::expose);
            variables.put(name, value, variable.is_secret, variable.is_read_only);
        }
        variables.expand();
        variables
    }

    /// Sets a variable that no step may change.
    pub(crate) fn set_system(&mut self, name: &str, value: &str) {
        self.put(name, value, false, true);
    }

    /// Lets every step see a variable that came as a secret. What names it stays secret.
    pub(crate) fn reveal(&mut self, name: &str, value: &SecretText) {
        self.0.remove(&key(name));
        self.put(name, value.expose(), false, true);
    }

    /// Sets a variable for a step. A secret name stays secret.
    pub(crate) fn set(
        &mut self,
        name: &str,
        value: &str,
        secret: bool,
        read_only: bool,
    ) -> Result<(), ReadOnly> {
        if self.0.get(&key(name)).is_some_and(|entry| entry.read_only) {
            return Err(ReadOnly);
        }
        self.put(name, value, secret, read_only);
        if let Some(entry) = self.0.get_mut(&key(name)) {
            entry.by_step = true;
        }
        Ok(())
    }

    /// A variable's value.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0.get(&key(name)).map(|entry| entry.expanded.expose())
    }

    /// Whether a variable says yes.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| {
            value == "1"
                || value.eq_ignore_ascii_case("true")
                || value.eq_ignore_ascii_case("$true")
        })
    }

    /// Replaces `$(name)` once, from left to right; unknown names stay.
    pub(crate) fn substitute(&self, text: &str) -> Expanded {
        let mut secret = false;
        let text = macros::replace(text, |name| {
            let entry = self.0.get(&key(name))?;
            secret |= entry.secret;
            Some(entry.expanded.expose().to_owned())
        });
        Expanded {
            text: SecretText::new(text),
            secret,
        }
    }

    /// Every variable.
    pub(crate) fn all(&self) -> impl Iterator<Item = Listed<'_>> {
        self.0.values().map(|entry| Listed {
            name: &entry.name,
            value: entry.expanded.expose(),
            secret: entry.secret,
            by_step: entry.by_step,
        })
    }

    /// What steps find in their environment: everything that is not secret, by converted name.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        self.0
            .values()
            .filter(|entry| !entry.secret)
            .map(|entry| {
                (
                    environment_name(&entry.name),
                    entry.expanded.expose().to_owned(),
                )
            })
            .collect()
    }

    /// The values that must not be shown.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.0
            .values()
            .filter(|entry| entry.secret)
            .flat_map(|entry| [entry.raw.expose(), entry.expanded.expose()])
    }

    /// Expands variables that name variables. Gives the names that cannot be: cycles, or chains that are too long.
    pub(crate) fn expand(&mut self) -> Vec<String> {
        let mut failed = Vec::new();
        let mut results = Vec::with_capacity(self.0.len());
        for (key, entry) in &self.0 {
            let mut walk = Walk {
                path: vec![key.clone()],
                secret: entry.secret,
                macros: 0,
            };
            match self.expand_one(entry.raw.expose(), &mut walk) {
                Some(text) => results.push((key.clone(), text, walk.secret)),
                None => failed.push(entry.name.clone()),
            }
        }
        for (key, text, secret) in results {
            if let Some(entry) = self.0.get_mut(&key) {
                entry.expanded = SecretText::new(text);
                entry.secret |= secret;
            }
        }
        failed
    }

    fn expand_one(&self, raw: &str, walk: &mut Walk) -> Option<String> {
        let mut sound = walk.path.len() <= MAX_DEPTH;
        let text = macros::replace(raw, |name| {
            let key = key(name);
            let entry = self.0.get(&key)?;
            walk.macros += 1;
            if !sound || walk.macros > MAX_MACROS || walk.path.contains(&key) {
                sound = false;
                return None;
            }
            walk.path.push(key);
            walk.secret |= entry.secret;
            let inner = self.expand_one(entry.raw.expose(), walk);
            walk.path.pop();
            sound &= inner.is_some();
            inner
        });
        (sound && text.len() <= MAX_TEXT).then_some(text)
    }

    fn put(&mut self, name: &str, value: &str, secret: bool, read_only: bool) {
        let key = key(name);
        let value = if VULNERABLE.contains(&key.as_str()) {
            without_commands(value)
        } else {
            value.to_owned()
        };
        let was_secret = self.0.get(&key).is_some_and(|entry| entry.secret);
        let entry = Entry {
            name: name.to_owned(),
            raw: SecretText::new(value.clone()),
            expanded: SecretText::new(value),
            secret: secret || was_secret,
            read_only,
            by_step: false,
        };
        self.0.insert(key, entry);
    }
}

/// `Build.SourceBranch` is `BUILD_SOURCEBRANCH` in an environment.
pub(crate) fn environment_name(name: &str) -> String {
    name.replace(['.', ' '], "_").to_uppercase()
}

fn key(name: &str) -> String {
    name.to_lowercase()
}

fn without_commands(value: &str) -> String {
    let mut safe = value.to_owned();
    while let Some(at) = safe.to_ascii_lowercase().find("##vso") {
        safe.replace_range(at..at + 2, "**");
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        let mut variables = Variables::default();
        for (name, value) in pairs {
            variables.put(name, value, false, false);
        }
        variables
    }

    #[test]
    fn names_are_compared_without_case_and_converted_for_the_environment() {
        let variables = variables(&[("Build.Source Branch", "main")]);
        assert_eq!(variables.value("BUILD.SOURCE BRANCH"), Some("main"));
        assert_eq!(
            variables.environment(),
            [("BUILD_SOURCE_BRANCH".to_owned(), "main".to_owned())]
        );
    }

    #[test]
    fn variables_expand_recursively_and_cycles_stay_raw() {
        let mut variables = variables(&[
            ("a", "1$(b)"),
            ("b", "2$(C)"),
            ("c", "3$(unknown)"),
            ("x", "$(y)"),
            ("y", "$(x)"),
        ]);
        assert_eq!(variables.expand(), ["x", "y"]);
        assert_eq!(variables.value("a"), Some("123$(unknown)"));
        assert_eq!(variables.value("x"), Some("$(y)"));
    }

    #[test]
    fn thousands_of_variables_that_name_each_other_expand() {
        let mut variables = Variables::default();
        for number in 0..5000 {
            let value = format!("$(v{})", number / 2);
            variables.put(
                &format!("v{number}"),
                if number == 0 { "end" } else { &value },
                false,
                false,
            );
        }
        assert!(variables.expand().is_empty());
        assert_eq!(variables.value("v4999"), Some("end"));
    }

    #[test]
    fn a_variable_that_doubles_at_every_step_is_refused() {
        let mut variables = Variables::default();
        for step in 0..45 {
            let next = format!("$(v{0})$(v{0})", step + 1);
            variables.put(&format!("v{step}"), &next, false, false);
        }
        variables.put("v45", "", false, false);
        assert!(variables.expand().contains(&"v0".to_owned()));
    }

    #[test]
    fn what_contains_a_secret_is_secret() {
        let mut variables = variables(&[("url", "https://u:$(pw)@h")]);
        variables.put("pw", "hunter2", true, false);
        variables.expand();
        assert!(variables.environment().is_empty());
        assert!(
            variables
                .secrets()
                .any(|secret| secret == "https://u:hunter2@h")
        );
        assert!(variables.substitute("curl $(url)").secret);
        assert!(!variables.substitute("curl $(other)").secret);
    }

    #[test]
    fn secret_and_read_only_stick() {
        let mut variables = Variables::default();
        variables.put("s", "one", true, false);
        assert_eq!(variables.set("S", "two", false, false), Ok(()));
        assert!(variables.environment().is_empty());
        variables.set_system("agent.id", "7");
        assert_eq!(variables.set("Agent.Id", "8", false, false), Err(ReadOnly));
    }

    #[test]
    fn what_is_revealed_is_in_the_environment_and_cannot_be_changed() {
        let mut variables = Variables::default();
        variables.put("System.AccessToken", "from the message", true, false);
        variables.reveal("system.accessToken", &"of the connection".into());
        let expected = (
            "SYSTEM_ACCESSTOKEN".to_owned(),
            "of the connection".to_owned(),
        );
        assert_eq!(variables.environment(), [expected]);
        assert_eq!(
            variables.set("SYSTEM.accesstoken", "x", false, false),
            Err(ReadOnly)
        );
    }

    #[test]
    fn a_commit_message_cannot_carry_a_command() {
        let variables = variables(&[("Build.SourceVersionMessage", "fix ##VSO[task.complete]")]);
        assert_eq!(
            variables.value("build.sourceversionmessage"),
            Some("fix **VSO[task.complete]")
        );
    }
}
