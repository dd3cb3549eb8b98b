//! Forgets what nobody needs any more, so that the database does not grow for ever.

use crate::service::{Failure, Service};
use crate::store::{assertions, retention};
use std::time::Duration;

/// How often the service tidies up.
const INTERVAL: Duration = Duration::from_secs(60);
/// Runs that are forgotten in one transaction; others wait for as long as it takes.
const BATCH: i64 = 50;

impl Service {
    /// Forgets old assertions, and runs that ended long ago with all that they wrote; answers how many runs.
    pub async fn tidy(&self) -> Result<usize, Failure> {
        let now = self.now();
        let mut unit = self.begin().await?;
        assertions::forget_expired(unit.conn(), now).await?;
        unit.commit().await?;
        let before = now - self.settings.retention;
        let mut forgotten = 0;
        loop {
            let mut unit = self.begin().await?;
            let batch = retention::forget_finished(unit.conn(), before, BATCH).await?;
            unit.commit().await?;
            if batch == 0 || self.shutdown.is_cancelled() {
                return Ok(forgotten);
            }
            forgotten += batch;
        }
    }

    /// Tidies until the service ends.
    pub async fn keep_tidying(&self) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.shutdown.cancelled() => return,
            }
            match self.tidy().await {
                Ok(0) => {}
                Ok(runs) => tracing::info!(runs, "forgot runs that ended long ago"),
                Err(error) => tracing::error!(%error, "tidying failed; it is repeated"),
            }
        }
    }
}
