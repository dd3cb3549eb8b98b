//! The one place that reads the clock.

use jiff::Timestamp;

/// The time now.
#[allow(clippy::disallowed_methods)] // This module is the I/O edge of the clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
