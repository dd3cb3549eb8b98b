//! The demand grammar: what a job asks of an agent, and whether capabilities satisfy it.

use crate::agent::Capabilities;
use std::cmp::Ordering;
use std::fmt;

/// One demand, parsed from `name`, `name -equals value` or `name -gtVersion value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The capability's name.
    pub name: String,
    /// What its value must be.
    pub condition: Condition,
}

/// What a demand asks of the capability's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Any value.
    Exists,
    /// This value, without regard to case.
    Equals(String),
    /// This version or a later one (despite the operator's name).
    AtLeastVersion(String),
}

/// The text is not a demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDemand(pub String);

impl fmt::Display for InvalidDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not a demand: {:?}; write \"name\", \"name -equals value\" or \"name -gtVersion 1.2.3\"",
            self.0
        )
    }
}

impl std::error::Error for InvalidDemand {}

impl std::str::FromStr for Demand {
    type Err = InvalidDemand;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidDemand(text.to_owned());
        let trimmed = text.trim();
        let (name, rest) = trimmed
            .split_once(char::is_whitespace)
            .unwrap_or((trimmed, ""));
        if name.is_empty() {
            return Err(invalid());
        }
        let rest = rest.trim_start();
        let condition = if rest.is_empty() {
            Condition::Exists
        } else {
            let (operator, value) = rest.split_once(char::is_whitespace).ok_or_else(invalid)?;
            let value = value.trim().to_owned();
            if value.is_empty() {
                return Err(invalid());
            }
            match operator {
                _ if operator.eq_ignore_ascii_case("-equals") => Condition::Equals(value),
                _ if operator.eq_ignore_ascii_case("-gtversion") => {
                    parse_version(&value).ok_or_else(invalid)?;
                    Condition::AtLeastVersion(value)
                }
                _ => return Err(invalid()),
            }
        };
        Ok(Self {
            name: name.to_owned(),
            condition,
        })
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.condition {
            Condition::Exists => f.write_str(&self.name),
            Condition::Equals(value) => write!(f, "{} -equals {value}", self.name),
            Condition::AtLeastVersion(value) => write!(f, "{} -gtVersion {value}", self.name),
        }
    }
}

impl Demand {
    /// Whether any of the capability sets satisfies this demand.
    pub fn is_satisfied_by(&self, capabilities: &[&Capabilities]) -> bool {
        capabilities
            .iter()
            .flat_map(|set| set.iter())
            .filter(|(name, _)| name.eq_ignore_ascii_case(&self.name))
            .any(|(_, value)| self.accepts(value))
    }

    fn accepts(&self, value: &str) -> bool {
        match &self.condition {
            Condition::Exists => true,
            Condition::Equals(wanted) => value.to_lowercase() == wanted.to_lowercase(),
            Condition::AtLeastVersion(wanted) => {
                match (parse_version(value), parse_version(wanted)) {
                    (Some(offered), Some(wanted)) => compare_versions(&offered, &wanted).is_ge(),
                    _ => false,
                }
            }
        }
    }
}

/// The first demand that no capability set satisfies; texts that do not parse are never satisfied.
pub fn first_unsatisfied<'a>(
    demands: &'a [String],
    capabilities: &[&Capabilities],
) -> Option<&'a str> {
    demands
        .iter()
        .find(|text| {
            text.parse::<Demand>()
                .map_or(true, |demand| !demand.is_satisfied_by(capabilities))
        })
        .map(String::as_str)
}

/// Numbers separated by dots, anything from the first `-` on ignored.
fn parse_version(text: &str) -> Option<Vec<u64>> {
    let numbers = text.trim().split('-').next()?;
    numbers.split('.').map(|part| part.parse().ok()).collect()
}

fn compare_versions(left: &[u64], right: &[u64]) -> Ordering {
    let length = left.len().max(right.len());
    let part = |version: &[u64], index: usize| version.get(index).copied().unwrap_or(0);
    (0..length)
        .map(|index| part(left, index).cmp(&part(right, index)))
        .find(|ordering| ordering.is_ne())
        .unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered() -> Capabilities {
        [
            ("Agent.Version", "4.260.0"),
            ("docker", ""),
            ("Size", "Small"),
            ("odd", "not.a.version"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    #[test]
    fn table_of_demands() {
        for (text, satisfied) in [
            ("docker", true),
            ("DOCKER", true),
            ("java", false),
            ("size -equals small", true),
            ("size -equals large", false),
            ("Agent.Version -gtVersion 2.182.1", true),
            ("agent.version -GTVERSION 4.260.0", true),
            ("Agent.Version -gtVersion 4.260", true),
            ("Agent.Version -gtVersion 4.260.1", false),
            ("Agent.Version -gtVersion 4.260.0-beta", true),
            ("odd -gtVersion 1.0", false),
        ] {
            let demand: Demand = text.parse().unwrap();
            assert_eq!(
                demand.is_satisfied_by(&[&Capabilities::new(), &offered()]),
                satisfied,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_demand_is_refused_with_the_grammar() {
        for text in [
            "",
            "  ",
            "java -equals",
            "java -lt 3",
            "java -gtVersion x.y",
            "java 21",
        ] {
            let error = text.parse::<Demand>().unwrap_err();
            assert!(error.to_string().contains("-equals value"), "{text:?}");
        }
    }

    #[test]
    fn the_first_unsatisfied_demand_is_named() {
        let demands = ["docker", "java -equals 21", "size"].map(str::to_owned);
        assert_eq!(
            first_unsatisfied(&demands, &[&offered()]),
            Some("java -equals 21")
        );
        assert_eq!(first_unsatisfied(&demands[..1], &[&offered()]), None);
    }
}
