//! How long somebody who tries credentials waits for each refusal.

use jiff::{SignedDuration, Timestamp};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Bad credentials of one source that are refused at once.
pub const FREE: u32 = 10;
/// What each further one adds to the wait.
const STEP: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(3);
/// A source that keeps quiet for so long begins anew.
const QUIET: SignedDuration = SignedDuration::from_secs(60);

/// Bad credentials of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misses {
    count: u32,
    last: Timestamp,
}

impl Misses {
    /// One more.
    #[must_use]
    pub fn and_another(previous: Option<Self>, now: Timestamp) -> Self {
        let before = previous.filter(|misses| !misses.is_over(now));
        Self {
            count: before.map_or(1, |misses| misses.count.saturating_add(1)),
            last: now,
        }
    }

    /// Whether the source has kept quiet for long enough.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now.duration_since(self.last) >= QUIET
    }

    /// How long the refusal of the last one waits, when so many are free.
    pub fn wait(&self, free: u32) -> Duration {
        let over = self.count.saturating_sub(free);
        STEP.saturating_mul(over).min(LONGEST)
    }

    /// When the last one came.
    pub fn last(&self) -> Timestamp {
        self.last
    }
}

/// Whom an address stands for: whoever has one IPv6 address has all those of its network.
pub fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let network = u128::from(six) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::at;
    use super::*;

    #[test]
    fn the_first_misses_are_free_and_the_wait_grows_to_a_bound_and_is_forgotten() {
        let mut misses = None;
        let mut waits = Vec::new();
        for _ in 0..60 {
            let now = Misses::and_another(misses, at(0));
            waits.push(now.wait(FREE));
            misses = Some(now);
        }
        assert!(waits[..10].iter().all(Duration::is_zero));
        assert_eq!(waits[10], STEP);
        assert_eq!(waits[59], LONGEST);
        assert!(waits.is_sorted());
        assert_eq!(
            Misses::and_another(misses, at(1)).wait(FREE),
            Duration::ZERO
        );
    }

    #[test]
    fn addresses_of_one_network_are_one_source() {
        let source = |text: &str| source(text.parse().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:2"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8::1"));
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
    }
}
