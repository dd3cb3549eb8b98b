//! Durations as people write them: `30s`, `5m`, `1h30m`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::Duration;

/// A duration in text. The API server checks its shape and bounds, [`Span::parse`] its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub String);

/// The text is not a duration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration; write for example 30s, 5m or 1h30m")]
pub struct NotADuration(String);

impl Span {
    /// The duration.
    ///
    /// # Errors
    /// The text has another shape.
    pub fn parse(&self) -> Result<Duration, NotADuration> {
        humantime::parse_duration(&self.0).map_err(|_| NotADuration(self.0.clone()))
    }
}

impl From<&str> for Span {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 16,
            "pattern": "^([0-9]{1,6}(ms|s|m|h)){1,3}$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_what_is_none_is_named() {
        for (text, milliseconds) in [
            ("200ms", 200),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("24h", 86_400_000),
        ] {
            assert_eq!(
                Span::from(text).parse(),
                Ok(Duration::from_millis(milliseconds))
            );
        }
        let error = Span::from("soon").parse().unwrap_err().to_string();
        assert!(error.contains("soon") && error.contains("1h30m"), "{error}");
    }
}
