//! What a service says of how often it may be asked: `X-RateLimit-*` and `Retry-After`, on answers of any kind.

use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often a service may be asked, as its last answer said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// What is left of the budget (`X-RateLimit-Remaining`).
    pub remaining: Option<i64>,
    /// The budget (`X-RateLimit-Limit`).
    pub limit: Option<i64>,
    /// How long to wait before the next call: `Retry-After`, or as long as the answer was held back
    /// (`X-RateLimit-Delay`).
    pub wait: Option<Duration>,
}

impl RateLimit {
    /// Whether less than a tenth of the budget is left.
    pub fn is_nearly_used_up(&self) -> bool {
        self.remaining
            .zip(self.limit)
            .is_some_and(|(remaining, limit)| remaining.saturating_mul(10) < limit)
    }
}

#[derive(Default)]
pub(crate) struct Budget {
    last: Mutex<RateLimit>,
}

impl Budget {
    pub(crate) fn learn(&self, headers: &HeaderMap) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = read(headers);
    }

    pub(crate) fn last(&self) -> RateLimit {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(headers: &HeaderMap) -> RateLimit {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |name: &str| text(name).and_then(|text| text.parse::<i64>().ok());
    let seconds = |name: &str| {
        let seconds = text(name)?.parse::<f64>().ok()?;
        Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|wait| !wait.is_zero())
    };
    RateLimit {
        remaining: number("x-ratelimit-remaining"),
        limit: number("x-ratelimit-limit"),
        wait: seconds(RETRY_AFTER.as_str()).or_else(|| seconds("x-ratelimit-delay")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let value = reqwest::header::HeaderValue::from_static(value);
            (reqwest::header::HeaderName::from_static(name), value)
        });
        pairs.collect()
    }

    #[test]
    fn headers_say_what_is_left_and_how_long_to_wait() {
        let delayed = read(&headers(&[
            ("x-ratelimit-remaining", "9"),
            ("x-ratelimit-limit", "100"),
            ("x-ratelimit-delay", "1.5"),
        ]));
        assert_eq!(delayed.wait, Some(Duration::from_millis(1500)));
        assert!(delayed.is_nearly_used_up());
        let asked = read(&headers(&[
            ("retry-after", "7"),
            ("x-ratelimit-delay", "1.5"),
        ]));
        assert_eq!(asked.wait, Some(Duration::from_secs(7)));
        for nonsense in ["soon", "-1", "1e99", ""] {
            assert_eq!(read(&headers(&[("retry-after", nonsense)])).wait, None);
        }
        let silent = read(&headers(&[("x-ratelimit-delay", "0")]));
        assert_eq!(silent, RateLimit::default());
        assert!(!silent.is_nearly_used_up());
    }
}
