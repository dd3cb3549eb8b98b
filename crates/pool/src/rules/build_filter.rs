//! Which runs a list call wants, and in which order.

use super::access::identity;
use super::entities::Run;
use super::refusal::Refusal;
use dayfly_wire::build::{BuildReason, BuildResult, BuildStatus};
use dayfly_wire::date;
use jiff::Timestamp;
use std::collections::HashMap;
use std::str::FromStr;

/// Runs in an answer that did not say how many it wants, and at most.
pub const MOST: usize = 1000;
/// The bits of an enumeration whose values may be combined.
const BITS: u32 = 12;

/// By what runs are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderKey {
    /// When they were queued.
    #[default]
    Queued,
    /// When they started; those that have not come last.
    Started,
    /// When they ended; those that have not come last.
    Finished,
}

/// The order of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub key: OrderKey,
    /// The latest first.
    pub descending: bool,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            key: OrderKey::Queued,
            descending: true,
        }
    }
}

impl Order {
    /// Reads an order as text or as a number.
    pub fn from_text(text: &str) -> Result<Self, Refusal> {
        let orders = [
            ("finishTimeAscending", "2", OrderKey::Finished, false),
            ("finishTimeDescending", "3", OrderKey::Finished, true),
            ("queueTimeDescending", "4", OrderKey::Queued, true),
            ("queueTimeAscending", "5", OrderKey::Queued, false),
            ("startTimeDescending", "6", OrderKey::Started, true),
            ("startTimeAscending", "7", OrderKey::Started, false),
        ];
        let known = orders
            .iter()
            .find(|(name, number, ..)| name.eq_ignore_ascii_case(text) || *number == text);
        known
            .map(|(_, _, key, descending)| Self {
                key: *key,
                descending: *descending,
            })
            .ok_or_else(|| Refusal::invalid(format!("queryOrder: {text:?} is no order")))
    }

    /// Where a run stands in this order.
    pub fn position(self, run: &Run) -> Position {
        Position {
            date: self.date(run).unwrap_or(Timestamp::MAX).as_millisecond(),
            run: run.plan.build.0,
        }
    }

    fn date(self, run: &Run) -> Option<Timestamp> {
        match self.key {
            OrderKey::Queued => Some(run.queued_at),
            OrderKey::Started => run.started_at,
            OrderKey::Finished => run.finished_at,
        }
    }
}

/// A place in an order: what a continuation token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The date that runs are ordered by.
    pub date: i64,
    /// Among those of the same date, their id.
    pub run: i64,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.date, self.run)
    }
}

impl FromStr for Position {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let parts = text.split_once('.');
        parts
            .and_then(|(date, run)| {
                Some(Self {
                    date: date.parse().ok()?,
                    run: run.parse().ok()?,
                })
            })
            .ok_or_else(|| {
                Refusal::invalid(format!(
                    "continuationToken: {text:?} was not given by this service"
                ))
            })
    }
}

/// Which runs are wanted. What is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildFilter {
    /// Of one of these pipelines.
    pub definitions: Option<Vec<i64>>,
    /// To one of these pools.
    pub queues: Option<Vec<i64>>,
    /// One of these.
    pub ids: Option<Vec<i64>>,
    /// With this number; a `*` at the end stands for anything.
    pub number: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Not after.
    pub to: Option<Timestamp>,
    /// By name or id.
    pub requested_for: Option<String>,
    /// For one of these reasons.
    pub reasons: Option<Vec<BuildReason>>,
    /// In one of these states.
    pub statuses: Option<Vec<BuildStatus>>,
    /// With one of these results.
    pub results: Option<Vec<BuildResult>>,
    /// Of this branch.
    pub branch: Option<String>,
    /// Of this repository, by id.
    pub repository: Option<String>,
    /// With all of these tags: runs have none.
    pub tags: Option<String>,
    /// The order.
    pub order: Order,
    /// At most so many.
    pub most: Option<usize>,
    /// At most so many of each pipeline.
    pub most_per_definition: Option<usize>,
    /// Those after this one.
    pub after: Option<Position>,
}

impl BuildFilter {
    /// How many runs are wanted.
    pub fn room(&self) -> usize {
        self.most.unwrap_or(MOST).min(MOST)
    }

    /// Whether only runs that have not ended are wanted.
    pub fn only_unfinished(&self) -> bool {
        self.statuses
            .as_ref()
            .is_some_and(|wanted| !wanted.contains(&BuildStatus::Completed))
    }

    /// The one pipeline that is wanted, if it is one.
    pub fn only_definition(&self) -> Option<i64> {
        match self.definitions.as_deref() {
            Some([one]) => Some(*one),
            Some(_) | None => None,
        }
    }

    /// Whether the run is wanted.
    pub fn matches(&self, run: &Run) -> bool {
        let plan = &run.plan;
        self.matches_state(run)
            && one_of(self.definitions.as_ref(), &plan.definition.0)
            && one_of(self.queues.as_ref(), &run.pool.0)
            && one_of(self.ids.as_ref(), &plan.build.0)
            && self
                .number
                .as_ref()
                .is_none_or(|number| like(&plan.build_number, number))
            && self.matches_source(run)
            && self.tags.is_none()
            && self
                .requested_for
                .as_ref()
                .is_none_or(|wanted| is_person(&run.requested_by, wanted))
    }

    fn matches_state(&self, run: &Run) -> bool {
        let date = self.order.date(run);
        one_of(self.reasons.as_ref(), &run.reason)
            && one_of(self.statuses.as_ref(), &run.status)
            && self
                .results
                .as_ref()
                .is_none_or(|wanted| run.result.is_some_and(|result| wanted.contains(&result)))
            && self
                .from
                .is_none_or(|from| date.is_some_and(|date| from <= date))
            && self.to.is_none_or(|to| date.is_some_and(|date| date <= to))
    }

    fn matches_source(&self, run: &Run) -> bool {
        let source = run.source.as_ref();
        self.branch.as_ref().is_none_or(|wanted| {
            let branch = source.and_then(|source| source.branch.as_deref());
            branch.is_some_and(|branch| {
                branch == wanted || branch.strip_prefix("refs/heads/") == Some(wanted)
            })
        }) && self.repository.as_ref().is_none_or(|wanted| {
            source.is_some_and(|source| {
                wanted.eq_ignore_ascii_case(&source.repository.to_string())
                    || wanted.eq_ignore_ascii_case(&source.repository_name)
            })
        })
    }
}

/// Counts what was taken of each pipeline.
#[derive(Debug, Default)]
pub struct Tally(HashMap<i64, usize>);

impl Tally {
    /// Whether there is room for another run of this one's pipeline; it is counted then.
    pub fn admits(&mut self, run: &Run, most: Option<usize>) -> bool {
        let Some(most) = most else {
            return true;
        };
        let taken = self.0.entry(run.plan.definition.0).or_default();
        *taken += 1;
        *taken <= most
    }
}

fn one_of<T: PartialEq>(wanted: Option<&Vec<T>>, value: &T) -> bool {
    wanted.is_none_or(|wanted| wanted.contains(value))
}

/// Whether a text is what is wanted; a `*` at the end of it stands for anything.
pub fn like(text: &str, wanted: &str) -> bool {
    let (text, wanted) = (text.to_lowercase(), wanted.to_lowercase());
    match wanted.strip_suffix('*') {
        Some(begin) => text.starts_with(begin),
        None => text == wanted,
    }
}

fn is_person(name: &str, wanted: &str) -> bool {
    name.eq_ignore_ascii_case(wanted) || identity(name).id.to_string().eq_ignore_ascii_case(wanted)
}

/// Reads the values of an enumeration: names, or a number that combines them. None when all are meant.
pub fn values<T>(
    text: &str,
    from_text: fn(&str) -> T,
    from_number: fn(i64) -> T,
    all: i64,
) -> Option<Vec<T>> {
    if text.eq_ignore_ascii_case("all") {
        return None;
    }
    if let Ok(number) = text.parse::<i64>() {
        let bits = (0..BITS)
            .map(|bit| 1 << bit)
            .filter(|bit| number & bit != 0);
        return (number != all && number != 0).then(|| bits.map(from_number).collect());
    }
    Some(text.split(',').map(|name| from_text(name.trim())).collect())
}

/// Reads a list of numbers; what is no number is refused by the parameter's name.
pub fn numbers(name: &str, text: &str) -> Result<Vec<i64>, Refusal> {
    text.split(',')
        .map(|number| {
            number
                .trim()
                .parse()
                .map_err(|_| Refusal::invalid(format!("{name}: {number:?} is no number")))
        })
        .collect()
}

/// Reads a date of a query: as documents have them, or as a JavaScript client writes them.
pub fn query_date(name: &str, text: &str) -> Result<Timestamp, Refusal> {
    date::parse(text)
        .or_else(|| {
            jiff::fmt::rfc2822::parse(text)
                .ok()
                .map(|date| date.timestamp())
        })
        .ok_or_else(|| Refusal::invalid(format!("{name}: {text:?} is no date")))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, run};
    use super::*;

    #[test]
    fn values_come_as_names_or_as_one_number() {
        let statuses = |text| values(text, BuildStatus::from_text, BuildStatus::from_number, 47);
        let unfinished = vec![BuildStatus::InProgress, BuildStatus::NotStarted];
        assert_eq!(statuses("inProgress, NotStarted"), Some(unfinished.clone()));
        assert_eq!(statuses("33"), Some(unfinished));
        assert_eq!(statuses("all"), None);
        assert_eq!(statuses("47"), None);
        assert_eq!(statuses("0"), None);
        assert_eq!(
            statuses("postponed"),
            Some(vec![BuildStatus::Other]),
            "none is that"
        );
    }

    #[test]
    fn dates_come_in_two_forms() {
        let iso = query_date("minTime", "1970-01-01T00:02:00Z").unwrap();
        let mail = query_date("minTime", "Thu, 01 Jan 1970 00:02:00 GMT").unwrap();
        assert_eq!((iso, mail), (at(2), at(2)));
        assert!(query_date("minTime", "yesterday").is_err());
    }

    #[test]
    fn a_filter_leaves_out_what_differs() {
        let run = run();
        let yes = |filter: BuildFilter| filter.matches(&run);
        assert!(yes(BuildFilter::default()));
        let named = |name: &str| BuildFilter {
            requested_for: Some(name.to_owned()),
            ..BuildFilter::default()
        };
        assert!(yes(named("Somebody")) && !yes(named("nobody")));
        let numbered = |number: &str| BuildFilter {
            number: Some(number.to_owned()),
            ..BuildFilter::default()
        };
        assert!(yes(numbered("1")) && yes(numbered("*")) && !yes(numbered("2*")));
        let finished = BuildFilter {
            order: Order::from_text("3").unwrap(),
            from: Some(at(0)),
            ..BuildFilter::default()
        };
        assert!(!yes(finished), "it has not finished at any time");
        let branch = BuildFilter {
            branch: Some("main".to_owned()),
            ..BuildFilter::default()
        };
        assert!(!yes(branch), "it has no source");
    }

    #[test]
    fn a_position_is_read_as_it_is_written() {
        let position = Order::default().position(&run());
        assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        assert!("yesterday".parse::<Position>().is_err());
    }
}
