//! Logging commands: `##vso[area.event name=value;...]data` anywhere in a line of output.

use std::collections::BTreeMap;

const START: &str = "##vso[";
const KEYWORD: &str = "##vso";

/// What a line of output is.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Ordinary text.
    Text,
    /// Looks like a command, but is none.
    Malformed,
    /// A command.
    Command(Command),
}

/// A command, unescaped. It may carry a secret, so it is not printed.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// For example `task`, lower case.
    pub area: String,
    /// For example `setvariable`, lower case.
    pub event: String,
    /// By lower-case name.
    pub properties: BTreeMap<String, String>,
    /// What follows the header.
    pub data: String,
}

impl Command {
    /// A property's value; absent and empty are the same.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Whether a property says yes.
    pub fn flag(&self, name: &str) -> bool {
        self.property(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

/// Reads one line.
pub fn parse(line: &str) -> Parsed {
    match line.find(START) {
        Some(at) => {
            parse_from(&line[at + START.len()..]).map_or(Parsed::Malformed, Parsed::Command)
        }
        None if line.contains(KEYWORD) => Parsed::Malformed,
        None => Parsed::Text,
    }
}

fn parse_from(text: &str) -> Option<Command> {
    let (header, data) = text.split_once(']')?;
    let (name, properties) = header.split_once(' ').unwrap_or((header, ""));
    let (area, event) = name.split_once('.')?;
    if area.is_empty() || event.is_empty() || event.contains('.') {
        return None;
    }
    Some(Command {
        area: area.to_ascii_lowercase(),
        event: event.to_ascii_lowercase(),
        properties: properties
            .split(';')
            .filter_map(|property| property.split_once('='))
            .filter(|(name, value)| !name.is_empty() && !value.is_empty())
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), unescape(value)))
            .collect(),
        data: unescape(data),
    })
}

/// The percent sign comes last: what it completes is not unescaped again.
fn unescape(text: &str) -> String {
    text.replace("%3B", ";")
        .replace("%0D", "\r")
        .replace("%0A", "\n")
        .replace("%5D", "]")
        .replace("%AZP25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn command(line: &str) -> Command {
        match parse(line) {
            Parsed::Command(command) => command,
            other => panic!("{line} is {other:?}"),
        }
    }

    #[test]
    fn reads_a_command_wherever_it_stands() {
        let read = command("noise ##vso[Task.SetVariable variable=a b;isSecret=TRUE;]va]lue");
        assert_eq!((&*read.area, &*read.event), ("task", "setvariable"));
        assert_eq!(read.property("variable"), Some("a b"));
        assert!(read.flag("issecret"));
        assert_eq!(read.data, "va]lue");
    }

    #[test]
    fn unescapes_values_and_data_once() {
        let read = command("##vso[task.debug x=a%3Bb%5D;]%0D%0A%AZP250A");
        assert_eq!(read.property("x"), Some("a;b]"));
        assert_eq!(read.data, "\r\n%0A");
    }

    #[test]
    fn tells_malformed_from_text() {
        for (line, expected) in [
            ("plain", Parsed::Text),
            ("##[group]x", Parsed::Text),
            ("##vso", Parsed::Malformed),
            ("##vso[nodot]x", Parsed::Malformed),
            ("##vso[a.b.c]x", Parsed::Malformed),
            ("##vso[.b]x", Parsed::Malformed),
            ("##vso[task.debug never closed", Parsed::Malformed),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(line in "\\PC*(##vso\\[)?\\PC*") {
            let _ = parse(&line);
        }
    }
}
