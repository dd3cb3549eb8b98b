//! Waits after failed starts, by template. Never terminal: the next attempt comes, at most a minute later.

use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

/// The first wait; doubled with every failure.
const FIRST: SignedDuration = SignedDuration::from_secs(1);
/// The longest wait.
const LONGEST: SignedDuration = SignedDuration::from_secs(60);

struct Failures {
    count: u32,
    until: Timestamp,
    message: String,
}

/// Failures by AgentPool uid and template.
#[derive(Default)]
pub struct Backoffs {
    failures: Mutex<HashMap<(String, String), Failures>>,
}

impl Backoffs {
    /// A start failed. Failures of one wave count once.
    pub fn failed(&self, pool_uid: &str, template: &str, message: &str, now: Timestamp) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = failures
            .entry((pool_uid.to_owned(), template.to_owned()))
            .or_insert(Failures {
                count: 0,
                until: now,
                message: String::new(),
            });
        message.clone_into(&mut entry.message);
        if entry.count > 0 && now < entry.until {
            return;
        }
        entry.until = now + wait(entry.count);
        entry.count = entry.count.saturating_add(1);
    }

    /// An agent came up.
    pub fn succeeded(&self, pool_uid: &str, template: &str) {
        let key = (pool_uid.to_owned(), template.to_owned());
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key);
    }

    /// Until when templates of an AgentPool wait, and what the last failure was.
    pub fn of(&self, pool_uid: &str) -> BTreeMap<String, (Timestamp, String)> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures
            .iter()
            .filter(|((uid, _), _)| uid == pool_uid)
            .map(|((_, template), failure)| {
                (template.clone(), (failure.until, failure.message.clone()))
            })
            .collect()
    }

    /// The AgentPool is gone.
    pub fn forget(&self, pool_uid: &str) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(uid, _), _| uid != pool_uid);
    }
}

/// Under which failed registrations of a template are kept: they must not hold up the start of those that are
/// registered. No template has such a name.
pub fn registration_key(template: &str) -> String {
    format!("{template}/registration")
}

fn wait(failures: u32) -> SignedDuration {
    FIRST.saturating_mul(1 << failures.min(10)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_and_end_with_a_success() {
        let waits: Vec<_> = (0..9).map(|count| wait(count).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        let backoffs = Backoffs::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        for _ in 0..50 {
            backoffs.failed("u", "t", "quota", at(0));
        }
        assert_eq!(
            backoffs.of("u")["t"],
            (at(1), "quota".to_owned()),
            "one wave is one failure"
        );
        backoffs.failed("u", "t", "quota", at(1));
        assert_eq!(backoffs.of("u")["t"].0, at(3));
        backoffs.succeeded("u", "t");
        assert!(backoffs.of("u").is_empty());
    }
}
