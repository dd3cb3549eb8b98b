//! Typed access to the members of a YAML map; a member that nobody asked for is refused.

use crate::problem::{Mark, Position, Problem};
use crate::yaml::{Node, Value, below};
use std::collections::BTreeMap;

const MAX_TEXT: usize = 200;

/// A text and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) text: String,
    pub(crate) at: Position,
    pub(crate) key: String,
}

impl Spot {
    pub(crate) fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::new(self.at, &self.key, message)
    }
}

/// The members of a map that were not asked for yet.
pub(crate) struct Fields {
    pub(crate) at: Position,
    pub(crate) key: String,
    rest: Vec<(String, Position, Node)>,
    asked: Vec<&'static str>,
}

impl Fields {
    pub(crate) fn of(node: Node, key: &str) -> Result<Self, Problem> {
        let Value::Map(entries) = node.value else {
            return Err(Problem::new(
                node.at,
                key,
                "a map (`key: value`) is needed here",
            ));
        };
        Ok(Self {
            at: node.at,
            key: key.to_owned(),
            rest: entries
                .into_iter()
                .map(|entry| (entry.key, entry.at, entry.value))
                .collect(),
            asked: Vec::new(),
        })
    }

    /// Where it is.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            at: self.at,
            key: self.key.clone(),
        }
    }

    /// A member as it is.
    pub(crate) fn node(&mut self, name: &'static str) -> Option<(Node, String)> {
        self.asked.push(name);
        let index = self.rest.iter().position(|(key, ..)| key == name)?;
        let (key, _, node) = self.rest.remove(index);
        Some((node, below(&self.key, &key)))
    }

    /// Whether a member is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.rest.iter().any(|(key, ..)| key == name)
    }

    /// A text of any length.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<Spot>, Problem> {
        self.node(name)
            .map(|(node, key)| text_of(node, &key))
            .transpose()
    }

    /// A text that fits on a line.
    pub(crate) fn label(&mut self, name: &'static str) -> Result<Option<Spot>, Problem> {
        let Some(spot) = self.text(name)? else {
            return Ok(None);
        };
        let is_long = spot.text.chars().count() > MAX_TEXT;
        if spot.text.trim().is_empty() || is_long || spot.text.chars().any(char::is_control) {
            return Err(spot.problem(format!(
                "1 to {MAX_TEXT} characters on one line are needed here"
            )));
        }
        Ok(Some(spot))
    }

    /// `true` or `false`.
    pub(crate) fn yes_or_no(&mut self, name: &'static str) -> Result<Option<bool>, Problem> {
        let Some(spot) = self.text(name)? else {
            return Ok(None);
        };
        match spot.text.to_ascii_lowercase().as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(spot.problem("`true` or `false` is needed here")),
        }
    }

    /// A whole number in a range.
    pub(crate) fn number(&mut self, name: &'static str, most: i64) -> Result<Option<i64>, Problem> {
        let Some(spot) = self.text(name)? else {
            return Ok(None);
        };
        match spot.text.parse::<i64>() {
            Ok(number) if (0..=most).contains(&number) => Ok(Some(number)),
            _ => Err(spot.problem(format!("a number from 0 to {most} is needed here"))),
        }
    }

    /// A text, or a list of them.
    pub(crate) fn texts(&mut self, name: &'static str) -> Result<Option<Vec<Spot>>, Problem> {
        let Some((node, key)) = self.node(name) else {
            return Ok(None);
        };
        let spots = match node.value {
            Value::List(_) => list_of(node, &key)?,
            _ => vec![text_of(node, &key)?],
        };
        Ok(Some(spots))
    }

    /// Names and texts.
    pub(crate) fn map(&mut self, name: &'static str) -> Result<BTreeMap<String, Spot>, Problem> {
        match self.node(name) {
            None => Ok(BTreeMap::new()),
            Some((node, key)) => Ok(map_of(node, &key)?.into_iter().collect()),
        }
    }

    /// The members of a map.
    pub(crate) fn fields(&mut self, name: &'static str) -> Result<Option<Self>, Problem> {
        self.node(name)
            .map(|(node, key)| Self::of(node, &key))
            .transpose()
    }

    pub(crate) fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::new(self.at, &self.key, message)
    }

    /// Refuses what nobody asked for.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        let Some((name, at, _)) = self.rest.first() else {
            return Ok(());
        };
        Err(Problem::new(
            *at,
            &below(&self.key, name),
            format!(
                "this key is not taken here; taken are {}",
                self.asked.join(", ")
            ),
        ))
    }
}

/// A text; nothing (`key:`) is an empty one.
pub(crate) fn text_of(node: Node, key: &str) -> Result<Spot, Problem> {
    let Value::Text { text, plain } = node.value else {
        return Err(Problem::new(node.at, key, "a text is needed here"));
    };
    let is_nothing = plain && matches!(text.as_str(), "~" | "null" | "Null" | "NULL");
    Ok(Spot {
        text: if is_nothing { String::new() } else { text },
        at: node.at,
        key: key.to_owned(),
    })
}

/// A list of texts.
pub(crate) fn list_of(node: Node, key: &str) -> Result<Vec<Spot>, Problem> {
    items(node, key)?
        .into_iter()
        .map(|(node, key)| text_of(node, &key))
        .collect()
}

/// The items of a list.
pub(crate) fn items(node: Node, key: &str) -> Result<Vec<(Node, String)>, Problem> {
    let Value::List(items) = node.value else {
        return Err(Problem::new(
            node.at,
            key,
            "a list (`- ...`) is needed here",
        ));
    };
    Ok(items
        .into_iter()
        .enumerate()
        .map(|(index, node)| (node, format!("{key}[{index}]")))
        .collect())
}

/// Names and texts, in order.
pub(crate) fn map_of(node: Node, key: &str) -> Result<Vec<(String, Spot)>, Problem> {
    let Value::Map(entries) = node.value else {
        return Err(Problem::new(
            node.at,
            key,
            "a map (`name: value`) is needed here",
        ));
    };
    entries
        .into_iter()
        .map(|entry| {
            let key = below(key, &entry.key);
            Ok((entry.key, text_of(entry.value, &key)?))
        })
        .collect()
}
