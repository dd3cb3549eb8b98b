//! How long to wait before the next try. Pure: the jitter, in 0 to 1, is passed in.

use rand::Rng;
use std::time::Duration;

/// Doubles from `first` to `longest`; the jitter spreads each wait over its upper half. `attempt` counts from 0.
pub(crate) fn doubling(first: Duration, longest: Duration, attempt: u32, jitter: f64) -> Duration {
    let whole = first.saturating_mul(1 << attempt.min(16)).min(longest);
    whole.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

/// A wait between two bounds.
pub(crate) fn between(least: Duration, most: Duration, jitter: f64) -> Duration {
    least + most.saturating_sub(least).mul_f64(jitter.clamp(0.0, 1.0))
}

/// Jitter for the callers of this module; they are the I/O edge.
pub(crate) fn jitter() -> f64 {
    rand::rng().random()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn waits_grow_and_stay_bounded(attempt in 0u32..100, jitter in 0f64..1.0) {
            let (first, longest) = (Duration::from_millis(100), Duration::from_secs(5));
            let wait = doubling(first, longest, attempt, jitter);
            prop_assert!(wait >= first / 2 && wait <= longest);
            prop_assert!(doubling(first, longest, attempt + 1, jitter) >= wait);
        }

        #[test]
        fn between_is_between(jitter in -1f64..2.0) {
            let (least, most) = (Duration::from_secs(1), Duration::from_secs(10));
            let wait = between(least, most, jitter);
            prop_assert!(wait >= least && wait <= most);
        }
    }
}
