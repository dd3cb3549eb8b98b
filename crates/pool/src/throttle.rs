//! Slows those who try credentials, by where they come from. What counts is never slowed.

use crate::metrics::Metrics;
use crate::rules::throttle::{FREE, Misses, source};
use jiff::Timestamp;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Sources that are remembered at once.
const SOURCES: usize = 4096;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source(pub IpAddr);

/// Bad credentials by source.
pub struct Throttle {
    sources: Mutex<HashMap<IpAddr, Misses>>,
    free: AtomicU32,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            sources: Mutex::default(),
            free: AtomicU32::new(FREE),
        }
    }
}

impl Throttle {
    /// Refuses so many at once from each source; for tests that try more than anybody should.
    pub fn tolerate(&self, misses: u32) {
        self.free.store(misses, Ordering::Relaxed);
    }

    /// Waits for as long as a bad credential from there has to.
    pub async fn slow_down(&self, from: Source, now: Timestamp, metrics: &Metrics) {
        let wait = self.miss(source(from.0), now);
        let wait = wait.wait(self.free.load(Ordering::Relaxed));
        if !wait.is_zero() {
            metrics.throttled.inc();
            tokio::time::sleep(wait).await;
        }
    }

    fn miss(&self, source: IpAddr, now: Timestamp) -> Misses {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let misses = Misses::and_another(sources.get(&source).copied(), now);
        if sources.len() >= SOURCES && !sources.contains_key(&source) {
            make_room(&mut sources, now);
        }
        sources.insert(source, misses);
        misses
    }
}

/// Forgets those that kept quiet; when there are none, the one that was quiet for the longest.
fn make_room(sources: &mut HashMap<IpAddr, Misses>, now: Timestamp) {
    sources.retain(|_, misses| !misses.is_over(now));
    if sources.len() >= SOURCES {
        let quietest = sources.iter().min_by_key(|(_, misses)| misses.last());
        if let Some(source) = quietest.map(|(source, _)| *source) {
            sources.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn so_many_sources_are_remembered_and_no_more() {
        let throttle = Throttle::default();
        let start = Timestamp::UNIX_EPOCH;
        let guesser = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..20 {
            throttle.miss(guesser, start);
        }
        for number in 0..6000_u32 {
            throttle.miss(IpAddr::V4(Ipv4Addr::from(number)), start);
            if number % 500 == 0 {
                throttle.miss(guesser, start);
            }
        }
        assert_eq!(throttle.sources.lock().unwrap().len(), SOURCES);
    }
}
