//! When a call is tried again, and after how long. Pure: the jitter is passed in.

use crate::error::Error;
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);

/// The wait before the next try, or `None` when the error is the answer. `attempt` counts from 1;
/// `jitter` lies in 0 to 1 and spreads the wait over its upper half.
pub(crate) fn wait(error: &Error, attempt: u32, attempts: u32, jitter: f64) -> Option<Duration> {
    if attempt >= attempts || !error.is_retryable() {
        return None;
    }
    if let Error::Throttled { after: Some(after) } = error {
        return Some((*after).min(LONGEST));
    }
    let doubled = FIRST
        .saturating_mul(1 << (attempt - 1).min(16))
        .min(LONGEST);
    Some(doubled.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_stay_bounded_and_end() {
        let error = Error::Transport("reset".to_owned());
        let waits: Vec<_> = (1..=10)
            .map_while(|attempt| wait(&error, attempt, 10, 1.0))
            .collect();
        assert_eq!(waits.len(), 9);
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(waits.iter().all(|wait| *wait <= LONGEST));
    }

    #[test]
    fn a_refusal_is_not_tried_again_and_the_server_s_wish_is_kept() {
        assert_eq!(wait(&Error::Unauthorized(None), 1, 5, 0.5), None);
        let throttled = Error::Throttled {
            after: Some(Duration::from_secs(7)),
        };
        assert_eq!(wait(&throttled, 1, 5, 0.5), Some(Duration::from_secs(7)));
    }
}
