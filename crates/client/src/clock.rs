//! The difference between this machine's clock and the service's.

use jiff::Timestamp;
use std::sync::atomic::{AtomicI64, Ordering};

/// Differences up to this many seconds are the resolution of the `Date` header and the time on the wire.
const IGNORED_SECONDS: i64 = 2;

#[derive(Default)]
pub(crate) struct ServerClock {
    offset_seconds: AtomicI64,
}

impl ServerClock {
    /// Learns from a `Date` header (RFC 9110 section 5.6.7).
    pub(crate) fn learn(&self, date: &str) {
        let Ok(server) = jiff::fmt::rfc2822::parse(date) else {
            return;
        };
        let difference = server.timestamp().as_second() - local_now().as_second();
        let offset = if difference.abs() > IGNORED_SECONDS {
            difference
        } else {
            0
        };
        self.offset_seconds.store(offset, Ordering::Relaxed);
    }

    /// The time that the service's clock shows, as far as is known.
    pub(crate) fn now(&self) -> Timestamp {
        let offset = self.offset_seconds.load(Ordering::Relaxed);
        let now = local_now();
        Timestamp::from_second(now.as_second().saturating_add(offset)).unwrap_or(now)
    }
}

#[allow(clippy::disallowed_methods)] // The I/O edge of this crate.
fn local_now() -> Timestamp {
    Timestamp::now()
}
