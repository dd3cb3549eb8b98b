//! The one place of this crate that reads the clock for decisions; they take the time as an argument.

use jiff::Timestamp;

/// Now.
#[allow(clippy::disallowed_methods)] // The I/O edge.
pub fn now() -> Timestamp {
    Timestamp::now()
}
