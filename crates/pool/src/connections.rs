//! Connections by where they come from: until somebody has shown a credential that counts on one, its source may have
//! so many at once, and each lives for so long.

use crate::rules::throttle::source;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// How many connections each source has on which nobody has shown a credential.
pub(crate) struct Sources {
    most: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// How a connection stands.
#[derive(Clone)]
pub(crate) struct Standing {
    place: Arc<Mutex<Option<Place>>>,
    proven: CancellationToken,
}

/// One connection of a source.
struct Place {
    sources: Arc<Sources>,
    source: IpAddr,
}

impl Sources {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            counts: Mutex::default(),
        })
    }

    /// A new connection's standing; none when its source has too many.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Standing> {
        let source = source(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(source).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        let place = Place {
            sources: Arc::clone(self),
            source,
        };
        Some(Standing {
            place: Arc::new(Mutex::new(Some(place))),
            proven: CancellationToken::new(),
        })
    }
}

impl Standing {
    /// Somebody has shown a credential that counts.
    pub(crate) fn prove(&self) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        drop(place.take());
        self.proven.cancel();
    }

    /// Waits until somebody has.
    pub(crate) async fn proven(&self) {
        self.proven.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let counts = &self.sources.counts;
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_so_many_unproven_connections_and_gets_them_back() {
        let sources = Sources::new(3);
        let address = IpAddr::from([10, 0, 0, 1]);
        let mut held: Vec<_> = std::iter::from_fn(|| sources.enter(address))
            .take(10)
            .collect();
        assert_eq!(held.len(), 3);
        assert!(sources.enter(IpAddr::from([10, 0, 0, 2])).is_some());
        held[0].prove();
        held[0].prove();
        let again = sources.enter(address).expect("a proven one makes room");
        assert!(sources.enter(address).is_none());
        held.push(again);
        drop(held);
        assert!(sources.counts.lock().unwrap().is_empty());
    }
}
