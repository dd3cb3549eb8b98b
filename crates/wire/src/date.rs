//! Dates as the protocol writes and reads them.
//!
//! Written: RFC 3339 in UTC with milliseconds. Read: 0 to 7 fractional digits, with or without a zone, and the
//! .NET "unset" date `0001-01-01T00:00:00`, which is absence.

use jiff::{Timestamp, civil};
use serde::{Deserialize, Deserializer, Serializer};

/// The second of `0001-01-01T00:00:00Z`.
const UNSET: i64 = -62_135_596_800;

/// The text of a date.
pub fn format(date: Timestamp) -> String {
    format!("{date:.3}")
}

/// Reads a date; `None` for the unset date and for text that is no date.
pub fn parse(text: &str) -> Option<Timestamp> {
    let date = text.parse::<Timestamp>().ok().or_else(|| {
        let without_zone: civil::DateTime = text.parse().ok()?;
        without_zone
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
            .map(|zoned| zoned.timestamp())
    });
    date.filter(|date| date.as_second() != UNSET)
}

/// `#[serde(with = "date")]` for a date that is always there.
pub fn serialize<S: Serializer>(date: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*date))
}

/// See [`serialize`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| serde::de::Error::custom(format_args!("not a date: {text:?}")))
}

/// `#[serde(with = "date::optional")]` for a date that may be absent, `null` or unset.
pub mod optional {
    use super::{Deserialize, Deserializer, Serializer, Timestamp};

    /// Writes the date; combine with `skip_serializing_if = "Option::is_none"`.
    pub fn serialize<S: Serializer>(
        date: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match date {
            Some(date) => super::serialize(date, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads the date; unset and unreadable dates are absence.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?
            .as_deref()
            .and_then(super::parse))
    }
}

#[cfg(test)]
mod tests {
    use super::{format, parse};

    #[test]
    fn reads_what_servers_send_and_writes_a_zone() {
        for text in [
            "2026-11-22T10:11:12.1234567Z",
            "2026-11-22T10:11:12.1234567",
        ] {
            assert_eq!(format(parse(text).unwrap()), "2026-11-22T10:11:12.123Z");
        }
        assert_eq!(
            format(parse("2026-11-22T10:11:12+02:00").unwrap()),
            "2026-11-22T08:11:12.000Z"
        );
        for unset in [
            "0001-01-01T00:00:00",
            "0001-01-01T00:00",
            "0001-01-01T02:00:00+02:00",
        ] {
            assert_eq!(parse(unset), None, "{unset}");
        }
        assert_eq!(parse("yesterday"), None);
    }
}
