//! What the service does again and again, until it ends.

use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Says when it is time again. What takes longer than the interval is not made up for.
pub(crate) struct Beat {
    ticks: Interval,
    shutdown: CancellationToken,
}

impl Beat {
    /// Beats at once, and then at each interval.
    pub(crate) fn new(interval: Duration, shutdown: &CancellationToken) -> Self {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            ticks,
            shutdown: shutdown.clone(),
        }
    }

    /// Waits for the next time; false when the service ends.
    pub(crate) async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.ticks.tick() => true,
            () = self.shutdown.cancelled() => false,
        }
    }
}
