//! Several replicas of one service: each hears from the others whom to wake, and looks itself now and then, should a
//! word be lost.

use crate::rules::news::News;
use crate::service::{Failure, Service};
use crate::store::{StoreError, messages};
use std::time::Duration;

/// How often a replica looks itself.
const INTERVAL: Duration = Duration::from_secs(5);
/// What to wait before hearing again after a failure.
const PAUSE: Duration = Duration::from_secs(1);

impl Service {
    /// Wakes those of this replica whom the others name, until the service ends.
    pub async fn keep_listening(&self) {
        tokio::select! {
            () = self.hear() => {}
            () = self.look_again() => {}
            () = self.shutdown.cancelled() => {}
        }
    }

    /// Wakes those who wait at this replica.
    pub fn wake(&self, news: &News) {
        for agent in &news.agents {
            self.wakes.wake(*agent);
        }
        for request in &news.requests {
            self.followers.wake(*request);
        }
    }

    /// Wakes whoever has something to see by now, whether or not a word about it came.
    pub async fn wake_late(&self) -> Result<(), Failure> {
        let agents = {
            let mut conn = self.store.read().await?;
            messages::agents(&mut conn).await?
        };
        for agent in agents {
            self.wakes.wake(agent);
        }
        self.followers.wake_all();
        Ok(())
    }

    async fn hear(&self) {
        loop {
            if let Err(error) = self.hear_until_it_fails().await {
                tracing::warn!(%error, "failed to hear from other replicas; trying again");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn hear_until_it_fails(&self) -> Result<(), StoreError> {
        let Some(mut listener) = self.store.listen().await? else {
            // There are no others.
            return std::future::pending().await;
        };
        self.catch_up().await;
        loop {
            match listener.next().await? {
                Some(text) => self.wake(&News::from_text(&text, self.replica)),
                // The connection was lost and is back: what was said meanwhile is seen by looking.
                None => self.catch_up().await,
            }
        }
    }

    async fn look_again(&self) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.catch_up().await;
        }
    }

    async fn catch_up(&self) {
        if let Err(error) = self.wake_late().await {
            tracing::warn!(%error, "failed to look for whom to wake; it is repeated");
        }
    }
}
