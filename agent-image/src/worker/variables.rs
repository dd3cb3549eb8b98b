//! The job's variables: names without regard to case, `$(name)` in values expanded, secrets marked.

use crate::worker::macros;
use dayfly_wire::job::Variable;
use dayfly_wire::secret::SecretText;
use std::collections::{BTreeMap, BTreeSet};

/// The most variables that may lead from one to another.
const MAX_DEPTH: usize = 50;
/// The most macros that one variable may come to, and the longest text: `$(b)$(b)` doubles at every step.
const MAX_MACROS: usize = 10_000;
const MAX_TEXT: usize = 4 << 20;

/// Texts that come from people outside the pipeline; a logging command in them would be obeyed.
const VULNERABLE: [&str; 18] = [
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
    // And these, which the official agent leaves as they are.
    "agent.jobname",
    "system.jobname",
    "build.requestedfor",
    "build.queuedby",
    "task.displayname",
    "system.taskdisplayname",
];

/// What steps may set in a job, and how much longer than they are written variables may get by others.
const MOST_SET: usize = 10_000;
const MOST_SET_TEXT: usize = 4 << 20;
const MOST_GROWTH: usize = 16 << 20;
/// The longest entry of an environment that Linux passes on to a program, name and value.
const LONGEST_ENTRY: usize = (128 << 10) - 2;

/// All variables of a job.
#[derive(Default)]
pub(crate) struct Variables {
    entries: BTreeMap<String, Entry>,
    /// The names in environments of what neither the pipeline nor a step may change: `AGENT_NAME` is `agent.name` there.
    fixed: BTreeSet<String>,
    /// How much steps have set.
    set_text: usize,
    set_count: usize,
}

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
    preserve_case: bool,
}

/// One variable, for those who sort them.
pub(crate) struct Listed<'a> {
    pub(crate) name: &'a str,
    /// Its name in an environment.
    pub(crate) environment_name: String,
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

/// Why a step does not set a variable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SetError {
    /// It may not be changed.
    ReadOnly,
    /// There are too many already, or they are too long.
    TooMuch,
}

impl Variables {
    /// The variables of a job message.
    pub(crate) fn from_message(message: &BTreeMap<String, Variable>) -> Self {
        let mut variables = Self::default();
        for (name, variable) in message {
            let value = variable.value.as_ref().map_or("", SecretText::expose);
            variables.put(name, value, variable.is_secret, variable.is_read_only);
            if variable.is_read_only {
                variables.fixed.insert(environment_name(name));
            }
        }
        variables.expand();
        variables
    }

    /// Sets a variable that no step may change.
    pub(crate) fn set_system(&mut self, name: &str, value: &str) {
        self.put(name, value, false, true);
        self.fixed.insert(environment_name(name));
    }

    /// Takes a variable away that was set for a time.
    pub(crate) fn remove(&mut self, name: &str) {
        self.entries.remove(&key(name));
    }

    /// Sets a secret variable that no step may change.
    pub(crate) fn set_system_secret(&mut self, name: &str, value: &SecretText) {
        self.put(name, value.expose(), true, true);
    }

    /// Lets every step see a variable that came as a secret. What names it stays secret.
    pub(crate) fn reveal(&mut self, name: &str, value: &SecretText) {
        self.entries.remove(&key(name));
        self.put(name, value.expose(), false, true);
        self.fixed.insert(environment_name(name));
    }

    /// Sets a variable for a step. A secret name stays secret. A name that would hide a fixed one in environments is as
    /// fixed as that.
    pub(crate) fn set(
        &mut self,
        name: &str,
        value: &str,
        secret: bool,
        read_only: bool,
    ) -> Result<(), SetError> {
        let before = self.entries.get(&key(name));
        if before.is_some_and(|entry| entry.read_only)
            || self.fixed.contains(&environment_name(name))
        {
            return Err(SetError::ReadOnly);
        }
        let replaced = before.filter(|entry| entry.by_step);
        let freed = replaced.map_or(0, |entry| entry.name.len() + entry.raw.expose().len());
        let text = self.set_text - freed + name.len() + value.len();
        let count = self.set_count + usize::from(replaced.is_none());
        if text > MOST_SET_TEXT || count > MOST_SET {
            return Err(SetError::TooMuch);
        }
        (self.set_text, self.set_count) = (text, count);
        self.put(name, value, secret, read_only);
        if let Some(entry) = self.entries.get_mut(&key(name)) {
            entry.by_step = true;
        }
        Ok(())
    }

    /// Keeps the case of a variable's name in environments.
    pub(crate) fn preserve_case(&mut self, name: &str) {
        if let Some(entry) = self.entries.get_mut(&key(name)) {
            entry.preserve_case = true;
        }
    }

    /// A variable's value.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.entries
            .get(&key(name))
            .map(|entry| entry.expanded.expose())
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
            let entry = self.entries.get(&key(name))?;
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
        self.entries.values().map(|entry| Listed {
            name: &entry.name,
            environment_name: entry.environment_name(),
            value: entry.expanded.expose(),
            secret: entry.secret,
            by_step: entry.by_step,
        })
    }

    /// What steps find in their environment: everything that is not secret, by converted name.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        self.entries
            .values()
            .filter(|entry| !entry.secret)
            .map(|entry| (entry.environment_name(), entry.expanded.expose().to_owned()))
            .collect()
    }

    /// The values that must not be shown.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.entries
            .values()
            .filter(|entry| entry.secret)
            .flat_map(|entry| [entry.raw.expose(), entry.expanded.expose()])
    }

    /// Expands variables that name variables. Gives the names that cannot be: cycles, or chains that are too long.
    pub(crate) fn expand(&mut self) -> Vec<String> {
        let mut failed = Vec::new();
        let mut results = Vec::with_capacity(self.entries.len());
        let mut growth = 0;
        for (key, entry) in &self.entries {
            let mut walk = Walk {
                path: vec![key.clone()],
                secret: entry.secret,
                macros: 0,
            };
            let text = self
                .expand_one(entry.raw.expose(), &mut walk)
                .filter(|text| {
                    growth += text.len().saturating_sub(entry.raw.expose().len());
                    growth <= MOST_GROWTH
                });
            match text {
                Some(text) => results.push((key.clone(), text, walk.secret)),
                None => failed.push(entry.name.clone()),
            }
        }
        for (key, text, secret) in results {
            if let Some(entry) = self.entries.get_mut(&key) {
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
            let entry = self.entries.get(&key)?;
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
        let was_secret = self.entries.get(&key).is_some_and(|entry| entry.secret);
        let entry = Entry {
            name: name.to_owned(),
            raw: SecretText::new(value.clone()),
            expanded: SecretText::new(value),
            secret: secret || was_secret,
            read_only,
            by_step: false,
            preserve_case: false,
        };
        self.entries.insert(key, entry);
    }
}

impl Entry {
    fn environment_name(&self) -> String {
        if self.preserve_case {
            self.name.replace(['.', ' '], "_")
        } else {
            environment_name(&self.name)
        }
    }
}

/// What the kernel cannot pass on would keep the program from starting.
pub(crate) fn is_passable(name: &str, value: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
}

/// Longer than an environment's entry can be.
pub(crate) fn is_too_long(name: &str, value: &str) -> bool {
    name.len() + value.len() > LONGEST_ENTRY
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
        for name in ["Agent.Id", "AGENT_ID", "agent id"] {
            let set = variables.set(name, "8", false, false);
            assert_eq!(set, Err(SetError::ReadOnly), "{name}");
        }
    }

    #[test]
    fn what_steps_set_is_bounded_and_setting_again_costs_nothing() {
        let mut variables = Variables::default();
        let long = "x".repeat(MOST_SET_TEXT / 2);
        for _ in 0..10 {
            assert_eq!(variables.set("a", &long, false, false), Ok(()));
        }
        let much = variables.set("b", &format!("{long}x"), false, false);
        assert_eq!(much, Err(SetError::TooMuch));
        assert_eq!(variables.set("a", "", false, false), Ok(()));
        for number in 1..MOST_SET {
            let name = format!("n{number}");
            assert_eq!(variables.set(&name, "", false, false), Ok(()));
        }
        assert_eq!(
            variables.set("last", "", false, false),
            Err(SetError::TooMuch)
        );
    }

    #[test]
    fn a_name_keeps_its_case_in_environments_when_it_is_to() {
        let mut variables = Variables::default();
        variables.set("my.Name", "x", false, false).unwrap();
        variables.preserve_case("MY.NAME");
        assert_eq!(
            variables.environment(),
            [("my_Name".to_owned(), "x".to_owned())]
        );
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
            Err(SetError::ReadOnly)
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
