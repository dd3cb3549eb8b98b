//! Values and how they turn into each other.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A value of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// Yes or no.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// Two to four numbers.
    Version(Vec<u32>),
    /// A text.
    Text(String),
    /// Several values.
    List(Vec<Self>),
    /// Values by name; names are compared without regard to case.
    Object(Arc<BTreeMap<String, Self>>),
    /// What `*` gives: an index goes to each of the values.
    Filtered(Vec<Self>),
    /// The job's variables.
    Variables,
}

impl Value {
    /// Values by name.
    pub fn object(members: impl IntoIterator<Item = (String, Self)>) -> Self {
        Self::Object(Arc::new(members.into_iter().collect()))
    }

    /// The values of a list, an object, or what `*` gave; none of anything else.
    pub(crate) fn items(&self) -> Vec<&Self> {
        match self {
            Self::List(values) | Self::Filtered(values) => values.iter().collect(),
            Self::Object(members) => members.values().collect(),
            Self::Null
            | Self::Boolean(_)
            | Self::Number(_)
            | Self::Version(_)
            | Self::Text(_)
            | Self::Variables => Vec::new(),
        }
    }

    /// The member of this name.
    pub(crate) fn member(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else {
            return None;
        };
        let wanted = name.to_lowercase();
        members
            .iter()
            .find(|(name, _)| name.to_lowercase() == wanted)
            .map(|(_, value)| value)
    }

    /// Reads a number: sign, digits, point.
    pub fn number(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Some(Self::Number(0.0));
        }
        let plain = text
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | ','));
        let parsed: f64 = text.replace(',', "").parse().ok()?;
        plain.then_some(Self::Number(parsed))
    }

    /// Reads a version of two to four parts.
    pub fn version(text: &str) -> Option<Self> {
        let parts: Vec<u32> = text
            .trim()
            .split('.')
            .map(|part| part.parse().ok())
            .collect::<Option<_>>()?;
        (2..=4)
            .contains(&parts.len())
            .then_some(Self::Version(parts))
    }

    /// As a condition; a text is true when it is not empty, so `'false'` is true.
    pub fn truth(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Boolean(value) => *value,
            Self::Number(value) => *value != 0.0,
            Self::Text(value) => !value.is_empty(),
            Self::Version(_)
            | Self::List(_)
            | Self::Object(_)
            | Self::Filtered(_)
            | Self::Variables => true,
        }
    }

    /// As a text, when it has one.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Null => Some(String::new()),
            Self::Boolean(value) => Some(if *value { "True" } else { "False" }.to_owned()),
            Self::Number(value) => Some(format_number(*value)),
            Self::Version(parts) => Some(
                parts
                    .iter()
                    .map(u32::to_string)
                    .collect::<Vec<_>>()
                    .join("."),
            ),
            Self::Text(value) => Some(value.clone()),
            Self::List(_) | Self::Object(_) | Self::Filtered(_) | Self::Variables => None,
        }
    }

    /// As a number, when it is one.
    pub(crate) fn to_number(&self) -> Option<Self> {
        match self {
            Self::Null => Some(Self::Number(0.0)),
            Self::Boolean(value) => Some(Self::Number(f64::from(u8::from(*value)))),
            Self::Number(_) => Some(self.clone()),
            Self::Text(text) => Self::number(text),
            Self::Version(_)
            | Self::List(_)
            | Self::Object(_)
            | Self::Filtered(_)
            | Self::Variables => None,
        }
    }

    fn to_version(&self) -> Option<Self> {
        match self {
            Self::Version(_) => Some(self.clone()),
            Self::Number(_) | Self::Text(_) => Self::version(&self.text()?),
            Self::Null
            | Self::Boolean(_)
            | Self::List(_)
            | Self::Object(_)
            | Self::Filtered(_)
            | Self::Variables => None,
        }
    }

    /// This value as the kind that `model` is, when it can be.
    pub fn like(&self, model: &Self) -> Option<Self> {
        match model {
            Self::Null => match self {
                Self::Null => Some(Self::Null),
                Self::Text(text) if text.is_empty() => Some(Self::Null),
                _ => None,
            },
            Self::Boolean(_) => Some(Self::Boolean(self.truth())),
            Self::Number(_) => self.to_number(),
            Self::Version(_) => self.to_version(),
            Self::Text(_) => self.text().map(Self::Text),
            Self::List(_) | Self::Object(_) | Self::Filtered(_) | Self::Variables => None,
        }
    }

    /// Whether `right`, turned into this value's kind, is equal; what cannot be turned is not.
    pub fn equals(&self, right: &Self) -> bool {
        right
            .like(self)
            .is_some_and(|right| self.compare_same(&right) == Some(Ordering::Equal))
    }

    /// Compares with `right` turned into this value's kind; `None` when it cannot be.
    pub fn compare(&self, right: &Self) -> Option<Ordering> {
        let left = match self {
            Self::Null | Self::List(_) | Self::Object(_) | Self::Filtered(_) | Self::Variables => {
                &self.to_number()?
            }
            other => other,
        };
        left.compare_same(&right.like(left)?)
    }

    fn compare_same(&self, right: &Self) -> Option<Ordering> {
        match (self, right) {
            (Self::Null, Self::Null) => Some(Ordering::Equal),
            (Self::Boolean(left), Self::Boolean(right)) => Some(left.cmp(right)),
            (Self::Number(left), Self::Number(right)) => left.partial_cmp(right),
            (Self::Version(left), Self::Version(right)) => Some(left.cmp(right)),
            (Self::Text(left), Self::Text(right)) => {
                Some(left.to_uppercase().cmp(&right.to_uppercase()))
            }
            _ => None,
        }
    }
}

/// At most seven digits behind the point, none that are zero.
fn format_number(value: f64) -> String {
    let text = format!("{value:.7}");
    match text.trim_end_matches('0').trim_end_matches('.') {
        "-0" => "0".to_owned(),
        text => text.to_owned(),
    }
}
