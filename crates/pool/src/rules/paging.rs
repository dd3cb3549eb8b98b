//! Where a list of requests goes on: the unfinished ones by id, then those that ended, the last one first.

use super::entities::Request;
use super::refusal::Refusal;
use std::fmt;
use std::str::FromStr;

/// A place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// After the unfinished request of this id.
    Unfinished(i64),
    /// Before the request that ended then, in milliseconds, and has this id.
    Ended(i64, i64),
}

impl Continuation {
    /// The beginning of the list.
    pub const START: Self = Self::Unfinished(0);
    /// The beginning of those that ended.
    pub const ENDED: Self = Self::Ended(i64::MAX, i64::MAX);

    /// After a request.
    pub fn after(request: &Request) -> Self {
        match request.finished_at {
            None => Self::Unfinished(request.id.0),
            Some(end) => Self::Ended(end.as_millisecond(), request.id.0),
        }
    }
}

impl fmt::Display for Continuation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfinished(id) => write!(f, "u.{id}"),
            Self::Ended(end, id) => write!(f, "e.{end}.{id}"),
        }
    }
}

impl FromStr for Continuation {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('.').collect();
        let number = |part: &str| part.parse::<i64>().ok();
        let parsed = match parts.as_slice() {
            ["u", id] => number(id).map(Self::Unfinished),
            ["e", end, id] => number(end)
                .zip(number(id))
                .map(|(end, id)| Self::Ended(end, id)),
            _ => None,
        };
        parsed.ok_or_else(|| {
            Refusal::invalid("continuationToken: send the one that came with the last answer")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, request};
    use super::*;

    #[test]
    fn a_place_is_written_as_it_is_read() {
        let mut ended = request(7, &[]);
        ended.finished_at = Some(at(1));
        for place in [
            Continuation::START,
            Continuation::ENDED,
            Continuation::after(&request(7, &[])),
            Continuation::after(&ended),
        ] {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for wrong in ["", "u", "u.x", "e.1", "x.1.2", "u.1.2"] {
            assert!(wrong.parse::<Continuation>().is_err(), "{wrong:?}");
        }
    }
}
