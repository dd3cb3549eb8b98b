//! How often the service may be asked, as its owner allows.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The longest that a call waits for its turn.
const LONGEST_TURN: Duration = Duration::from_secs(60);

/// Calls that may be made, filled up steadily.
pub(crate) struct Pace {
    per_minute: f64,
    left: Mutex<(f64, Instant)>,
}

impl Pace {
    pub(crate) fn new(per_minute: u32) -> Self {
        let per_minute = f64::from(per_minute.max(1));
        Self {
            per_minute,
            left: Mutex::new((burst(per_minute), Instant::now())),
        }
    }

    /// Takes one call. How long to wait before making it, or `None` when that would be too long: nothing is taken then.
    pub(crate) fn take(&self, now: Instant) -> Option<Duration> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let there = self.filled(*left, now);
        let wait = self.until(1.0 - there);
        if wait > LONGEST_TURN {
            return None;
        }
        *left = (there - 1.0, now);
        Some(wait)
    }

    /// How long until half of what can be saved up is there: whoever can wait leaves the rest to those who cannot.
    pub(crate) fn until_half(&self, now: Instant) -> Duration {
        let left = *self.left.lock().unwrap_or_else(PoisonError::into_inner);
        self.until(burst(self.per_minute) / 2.0 - self.filled(left, now))
    }

    fn filled(&self, (left, at): (f64, Instant), now: Instant) -> f64 {
        let grown = now.saturating_duration_since(at).as_secs_f64() * self.per_minute / 60.0;
        (left + grown).min(burst(self.per_minute))
    }

    fn until(&self, missing: f64) -> Duration {
        let seconds = missing.max(0.0) * 60.0 / self.per_minute;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

/// What can be saved up: a sixth of a minute's calls.
fn burst(per_minute: f64) -> f64 {
    (per_minute / 6.0).max(2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_kept_over_a_minute_and_turns_come_one_after_the_other() {
        let start = Instant::now();
        let pace = Pace::new(60);
        assert_eq!(pace.until_half(start), Duration::ZERO);
        let waits: Vec<_> = (0..70).filter_map(|_| pace.take(start)).collect();
        assert_eq!(waits.iter().filter(|wait| wait.is_zero()).count(), 10);
        assert_eq!(waits.len(), 70, "ten at once, then one a second");
        assert_eq!(pace.take(start), None, "nobody waits longer than a minute");
        assert_eq!(pace.until_half(start), Duration::from_secs(65));
        let later = start + Duration::from_secs(70);
        assert_eq!(pace.take(later), Some(Duration::ZERO));
        assert_eq!(pace.until_half(later), Duration::ZERO);
        for _ in 0..5 {
            pace.take(later);
        }
        let wait = pace.until_half(later);
        assert_eq!(wait, Duration::from_secs(1), "polls wait, others do not");
    }
}
