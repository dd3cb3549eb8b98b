//! Who watches a job's console at this replica, as far as is known.

use dayfly_wire::ids::RequestId;
use jiff::Timestamp;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

/// Until when somebody watches a job.
#[derive(Default)]
pub struct Watches {
    watched: Mutex<HashMap<RequestId, Timestamp>>,
}

impl Watches {
    /// Somebody watches until then; true when nobody did before.
    pub fn watch(&self, request: RequestId, until: Timestamp) -> bool {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let known = watched.entry(request);
        let begins = matches!(known, Entry::Vacant(_));
        let end = known.or_insert(until);
        *end = until.max(*end);
        begins
    }

    /// The jobs that somebody watched until now and nobody does any more; each is told once.
    pub fn left(&self, now: Timestamp) -> Vec<RequestId> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let left = watched.extract_if(|_, until| *until <= now);
        left.map(|(request, _)| request).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_watches_and_leaves_is_told_once() {
        let watches = Watches::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(watches.watch(RequestId(1), at(10)));
        assert!(!watches.watch(RequestId(1), at(20)));
        assert!(
            !watches.watch(RequestId(1), at(5)),
            "another one stays less long"
        );
        assert!(watches.left(at(19)).is_empty());
        assert_eq!(watches.left(at(20)), [RequestId(1)]);
        assert!(watches.left(at(20)).is_empty());
        assert!(watches.watch(RequestId(1), at(30)));
    }
}
