//! Who may lead. Pure: the time is the own monotonic clock's, and an argument.

use std::time::Duration;
use tokio::time::Instant;

/// How long a Lease holds without being renewed.
pub const DURATION: Duration = Duration::from_secs(3);
/// How often the leader renews it.
pub const RENEW: Duration = Duration::from_secs(1);
/// How long after its last renewal a leader begins nothing more; before anybody else can lead.
const VALID: Duration = Duration::from_secs(2);
/// How often others look, and how soon something that failed is tried again.
pub const AGAIN: Duration = Duration::from_millis(500);
/// The longest that another's Lease may hold, whatever it says.
const LONGEST: Duration = Duration::from_secs(60);

/// A Lease as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Who holds it; empty when it was released.
    pub holder: String,
    /// How often its holder has changed.
    pub term: i32,
    /// How long it holds without being renewed, by its own word.
    pub duration: Option<Duration>,
    /// When this state of it was seen first.
    pub since: Instant,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write the own name into it.
    Take,
    /// Look again after this time.
    Wait {
        /// Who holds it.
        holder: String,
        /// How long.
        wait: Duration,
    },
}

/// Decides. A Lease of the own name is an earlier process's of the same pod, which has ended.
pub fn step(own: &str, seen: Option<&Sighting>, now: Instant) -> Step {
    let Some(seen) = seen else {
        return Step::Take;
    };
    if seen.holder.is_empty() || seen.holder == own {
        return Step::Take;
    }
    let holds = seen.duration.unwrap_or(DURATION).clamp(DURATION, LONGEST);
    let left = holds.saturating_sub(now.saturating_duration_since(seen.since));
    if left.is_zero() {
        return Step::Take;
    }
    Step::Wait {
        holder: seen.holder.clone(),
        wait: left.min(AGAIN),
    }
}

/// Whether a leader of this term still leads. Another may have led meanwhile and left.
pub fn is_own(own: &str, term: i32, seen: Option<&Sighting>) -> bool {
    seen.is_some_and(|seen| seen.holder == own && seen.term == term)
}

/// From when on a leader may not begin anything more that renewed last at this time: when the renewal was begun.
pub fn valid_until(renewed: Instant) -> Instant {
    renewed + VALID
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(holder: &str, since: Instant) -> Sighting {
        Sighting {
            holder: holder.to_owned(),
            term: 1,
            duration: Some(DURATION),
            since,
        }
    }

    #[test]
    fn a_lease_that_nobody_holds_is_taken() {
        let now = Instant::now();
        assert_eq!(step("a", None, now), Step::Take);
        assert_eq!(step("a", Some(&seen("", now)), now), Step::Take);
        assert_eq!(step("a", Some(&seen("a", now)), now), Step::Take);
    }

    #[test]
    fn a_lease_of_another_is_taken_only_after_it_was_still_for_its_whole_time() {
        let since = Instant::now();
        let other = seen("b", since);
        let waits = |after: Duration| match step("a", Some(&other), since + after) {
            Step::Wait { holder, wait } => {
                assert_eq!(holder, "b");
                Some(wait)
            }
            Step::Take => None,
        };
        assert_eq!(waits(Duration::ZERO), Some(AGAIN));
        let nearly = DURATION - Duration::from_millis(1);
        assert_eq!(waits(nearly), Some(Duration::from_millis(1)));
        assert_eq!(waits(DURATION), None);
    }

    #[test]
    fn what_a_lease_says_of_its_time_is_kept_within_bounds() {
        let since = Instant::now();
        for (says, holds) in [
            (None, DURATION),
            (Some(Duration::ZERO), DURATION),
            (Some(Duration::from_secs(15)), Duration::from_secs(15)),
            (Some(Duration::from_secs(86_400)), LONGEST),
        ] {
            let other = Sighting {
                duration: says,
                ..seen("b", since)
            };
            let early = step("a", Some(&other), since + holds - Duration::from_millis(1));
            assert!(matches!(early, Step::Wait { .. }), "{says:?}");
            assert_eq!(
                step("a", Some(&other), since + holds),
                Step::Take,
                "{says:?}"
            );
        }
    }

    #[test]
    fn a_leader_is_deposed_by_whoever_led_meanwhile_even_if_nobody_does_now() {
        let now = Instant::now();
        assert!(is_own("a", 1, Some(&seen("a", now))));
        for other in [seen("b", now), seen("", now)] {
            assert!(!is_own("a", 1, Some(&other)));
        }
        assert!(!is_own("a", 0, Some(&seen("a", now))));
        assert!(!is_own("a", 1, None));
    }

    #[test]
    fn a_leader_stops_before_another_can_begin() {
        let renewed = Instant::now();
        // Another saw that renewal at its earliest when it was begun.
        let other = seen("a", renewed);
        let stops = valid_until(renewed);
        assert!(matches!(step("b", Some(&other), stops), Step::Wait { .. }));
        assert!(RENEW < VALID && VALID + AGAIN < DURATION);
    }
}
