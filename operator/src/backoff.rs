//! Waits after failed starts, by template. Never terminal: the next attempt comes, as late as the pool says at most.

use crate::crd::conditions::Reason;
use crate::pool::validate::Retry;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

struct Failures {
    count: u32,
    hold: Hold,
}

/// Why and until when a template waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Until then.
    pub until: Timestamp,
    /// What failed last.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

/// Failures by AgentPool uid and template.
#[derive(Default)]
pub struct Backoffs {
    failures: Mutex<HashMap<(String, String), Failures>>,
}

impl Backoffs {
    /// A start failed. Failures of one wave count once.
    pub fn failed(
        &self,
        pool_uid: &str,
        template: &str,
        retry: Retry,
        (reason, message): (Reason, &str),
        now: Timestamp,
    ) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = failures
            .entry((pool_uid.to_owned(), template.to_owned()))
            .or_insert(Failures {
                count: 0,
                hold: Hold {
                    until: now,
                    reason,
                    message: String::new(),
                },
            });
        entry.hold.reason = reason;
        message.clone_into(&mut entry.hold.message);
        if entry.count > 0 && now < entry.hold.until {
            return;
        }
        entry.hold.until = now + wait(retry, entry.count);
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

    /// Until when templates of an AgentPool wait, and why.
    pub fn of(&self, pool_uid: &str) -> BTreeMap<String, Hold> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures
            .iter()
            .filter(|((uid, _), _)| uid == pool_uid)
            .map(|((_, template), failure)| (template.clone(), failure.hold.clone()))
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

fn wait(retry: Retry, failures: u32) -> SignedDuration {
    let doubled = retry.initial.saturating_mul(1 << failures.min(16));
    let wait: Duration = doubled.min(retry.max);
    SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_and_end_with_a_success() {
        let retry = Retry {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
        };
        let waits: Vec<_> = (0..9).map(|count| wait(retry, count).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        let backoffs = Backoffs::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let fail = |second| {
            let why = (Reason::QuotaExceeded, "full");
            backoffs.failed("u", "t", retry, why, at(second));
        };
        for _ in 0..50 {
            fail(0);
        }
        let hold = Hold {
            until: at(1),
            reason: Reason::QuotaExceeded,
            message: "full".to_owned(),
        };
        assert_eq!(backoffs.of("u")["t"], hold, "one wave is one failure");
        fail(1);
        assert_eq!(backoffs.of("u")["t"].until, at(3));
        backoffs.succeeded("u", "t");
        assert!(backoffs.of("u").is_empty());
    }
}
