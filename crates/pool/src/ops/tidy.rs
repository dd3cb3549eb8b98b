//! Forgets what nobody needs any more, so that the database does not grow for ever.

use crate::beat::Beat;
use crate::rules::feed;
use crate::service::{Failure, Service};
use crate::store::{assertions, contents, feeds, retention};
use jiff::Timestamp;
use std::time::{Duration, SystemTime};

/// How often the service tidies up.
const INTERVAL: Duration = Duration::from_secs(60);
/// Runs that are forgotten in one transaction; others wait for as long as it takes, and come between two.
const BATCH: i64 = 10;

/// How many times it tidies up until it looks for content that nothing names.
const CONTENT_EVERY: u32 = 30;
/// How long an upload that was begun may rest before it is given up.
const UPLOAD_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

impl Service {
    /// Removes content that nothing names any more, and uploads that were given up; answers how much content.
    pub async fn tidy_content(&self) -> Result<usize, Failure> {
        let now = SystemTime::from(self.now());
        let broken = crate::content::ContentError::tidying;
        let mut forgotten = 0;
        for hash in self.contents.old(now).map_err(broken)? {
            let named = {
                let mut conn = self.store.read().await?;
                contents::is_named(&mut conn, &hash).await?
            };
            if !named {
                self.contents.forget(&hash, now).map_err(broken)?;
                forgotten += 1;
            }
        }
        self.contents
            .forget_incoming(now, UPLOAD_LIFE)
            .map_err(broken)?;
        Ok(forgotten)
    }

    /// Forgets old assertions, and with all that they wrote runs that ended long ago and those that are too many;
    /// answers how many runs.
    pub async fn tidy(&self) -> Result<usize, Failure> {
        let now = self.now();
        let mut unit = self.begin().await?;
        assertions::forget_expired(unit.conn(), now).await?;
        unit.commit().await?;
        let fed = now - feed::KEPT;
        while self.forget_feeds(fed).await? > 0 && !self.shutdown.is_cancelled() {}
        let mut forgotten = self.forget_old(now - self.settings.retention).await?;
        if let Some(keep) = self.settings.retained_runs {
            forgotten += self.forget_surplus(keep).await?;
        }
        Ok(forgotten)
    }

    async fn forget_old(&self, before: Timestamp) -> Result<usize, Failure> {
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

    async fn forget_surplus(&self, keep: i64) -> Result<usize, Failure> {
        let surplus = {
            let mut conn = self.store.read().await?;
            retention::surplus(&mut conn, keep).await?
        };
        let mut forgotten = 0;
        for (pipeline, newest) in surplus {
            loop {
                let mut unit = self.begin().await?;
                let batch = retention::forget_up_to(unit.conn(), pipeline, newest, BATCH).await?;
                unit.commit().await?;
                if self.shutdown.is_cancelled() {
                    return Ok(forgotten + batch);
                }
                if batch == 0 {
                    break;
                }
                forgotten += batch;
            }
        }
        Ok(forgotten)
    }

    async fn forget_feeds(&self, before: Timestamp) -> Result<usize, Failure> {
        let mut unit = self.begin().await?;
        let forgotten = feeds::forget(unit.conn(), before, BATCH).await?;
        unit.commit().await?;
        Ok(forgotten)
    }

    /// Tidies until the service ends.
    pub async fn keep_tidying(&self) {
        let mut beat = Beat::new(INTERVAL, &self.shutdown);
        for round in 0_u32.. {
            if !beat.next().await {
                return;
            }
            if round % CONTENT_EVERY == 0
                && let Err(error) = self.tidy_content().await
            {
                tracing::error!(%error, "tidying content failed; it is repeated");
            }
            match self.tidy().await {
                Ok(0) => {}
                Ok(runs) => tracing::info!(runs, "forgot finished runs"),
                Err(error) => tracing::error!(%error, "tidying failed; it is repeated"),
            }
        }
    }
}
