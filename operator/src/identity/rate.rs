//! How often one source may call. Pure: the time is an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Calls that a source may make at once.
const BURST: f64 = 30.0;
/// Calls per second that it may make on and on.
const RATE: f64 = 10.0;
/// Sources that are remembered; when there are more, the ones with a full allowance are forgotten.
const MAX_SOURCES: usize = 8192;

/// One allowance per source, filled again as time goes by.
#[derive(Default)]
pub struct Allowances {
    sources: HashMap<IpAddr, (f64, Instant)>,
}

impl Allowances {
    /// Takes one call from a source's allowance; `false` when there is none left.
    pub fn take(&mut self, source: IpAddr, now: Instant) -> bool {
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&source) {
            self.sources
                .retain(|_, (left, at)| filled(*left, now.saturating_duration_since(*at)) < BURST);
            if self.sources.len() >= MAX_SOURCES {
                return false;
            }
        }
        let (left, at) = self.sources.entry(source).or_insert((BURST, now));
        *left = filled(*left, now.saturating_duration_since(*at));
        *at = now;
        if *left < 1.0 {
            return false;
        }
        *left -= 1.0;
        true
    }
}

fn filled(left: f64, elapsed: Duration) -> f64 {
    (left + elapsed.as_secs_f64() * RATE).min(BURST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_held_to_its_rate_and_others_are_not() {
        let mut allowances = Allowances::default();
        let (hostile, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let start = Instant::now();
        let granted = (0..1000)
            .filter(|_| allowances.take(hostile, start))
            .count();
        assert_eq!(granted, 30);
        assert!(allowances.take(other, start));
        let later = start + Duration::from_secs(1);
        assert_eq!(
            (0..1000)
                .filter(|_| allowances.take(hostile, later))
                .count(),
            10
        );
    }

    #[test]
    fn the_number_of_remembered_sources_is_bounded() {
        let mut allowances = Allowances::default();
        let now = Instant::now();
        for number in 0..20_000_u32 {
            allowances.take(IpAddr::from(number.to_be_bytes()), now);
        }
        assert!(allowances.sources.len() <= MAX_SOURCES);
        assert!(allowances.take(IpAddr::from([192, 0, 2, 1]), now + Duration::from_secs(60)));
    }
}
