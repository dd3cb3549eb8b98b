//! How often and how long a call is tried through a service in trouble.

use crate::backoff::{doubling, jitter};
use dayfly_client::Error;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The tries of one call.
pub(crate) struct Tries {
    made: u32,
    most: u32,
    until: Instant,
}

impl Tries {
    /// At most so many, and none that begins after `limit`.
    pub(crate) fn new(most: u32, limit: Duration) -> Self {
        Self {
            made: 0,
            most,
            until: Instant::now() + limit,
        }
    }

    /// Waits before another try, as long as the service asks for; `false` when there is none.
    pub(crate) async fn another(&mut self, error: &Error) -> bool {
        self.made += 1;
        if !error.is_retryable() || self.made >= self.most {
            return false;
        }
        let own = doubling(FIRST_WAIT, LONGEST_WAIT, self.made - 1, jitter());
        let wait = asked(error).unwrap_or(own);
        if Instant::now() + wait > self.until {
            return false;
        }
        sleep(wait).await;
        true
    }
}

/// How long the service asks to wait, within reason.
pub(crate) fn asked(error: &Error) -> Option<Duration> {
    match error {
        Error::Throttled { after } => after.map(|after| after.min(LONGEST_WAIT)),
        _ => None,
    }
}
