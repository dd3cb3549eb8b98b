//! What the passing of time does: locks lapse, sessions expire, jobs run too long.

use super::endings::{EndedBy, cancel_request, end_request, end_session};
use crate::beat::Beat;
use crate::rules::entities::Request;
use crate::rules::request::{self, Due};
use crate::service::{Failure, Service, Unit};
use crate::store::{requests, sessions};
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::SessionId;
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

/// How often the service looks at its clock.
const INTERVAL: Duration = Duration::from_secs(1);

impl Service {
    /// Does everything whose time has come.
    pub async fn sweep(&self) -> Result<(), Failure> {
        self.tell_unwatched().await?;
        self.write_seen().await?;
        let (since, now) = (self.serving_since(), self.now());
        let anything = {
            let mut conn = self.store.read().await?;
            let timed = requests::timed(&mut conn).await?;
            timed
                .iter()
                .any(|held| request::due(held, since, now).is_some())
                || !sessions::expired(&mut conn, now).await?.is_empty()
        };
        if !anything {
            return Ok(());
        }
        let mut unit = self.begin().await?;
        for session in sessions::expired(unit.conn(), now).await? {
            tracing::info!(agent = %session.agent, "session expired");
            end_session(&mut unit, &session).await?;
        }
        for mut held in requests::timed(unit.conn()).await? {
            if let Some(due) = request::due(&held, since, now) {
                act(&mut unit, &mut held, due).await?;
            }
        }
        unit.commit().await?;
        Ok(())
    }

    /// Ends what has lapsed before anybody reads it.
    pub async fn settle(&self) -> Result<(), Failure> {
        let lapsed = {
            let mut conn = self.store.read().await?;
            requests::any_lapsed(&mut conn, self.now()).await?
        };
        if lapsed {
            self.sweep().await?;
        }
        Ok(())
    }

    /// Sessions that were used and whose time is not written down yet.
    pub(super) fn seen_sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Timestamp>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down when sessions were used. What is lost with the process is a second of several minutes.
    async fn write_seen(&self) -> Result<(), Failure> {
        let seen = std::mem::take(&mut *self.seen_sessions());
        let written = self.write_all_seen(&seen).await;
        if written.is_err() {
            let mut later = self.seen_sessions();
            for (session, at) in seen {
                later.entry(session).or_insert(at);
            }
        }
        written
    }

    async fn write_all_seen(&self, seen: &HashMap<SessionId, Timestamp>) -> Result<(), Failure> {
        if seen.is_empty() {
            return Ok(());
        }
        let mut unit = self.begin().await?;
        for (session, at) in seen {
            sessions::seen(unit.conn(), *session, *at).await?;
        }
        unit.commit().await?;
        Ok(())
    }

    /// Sweeps until the service ends.
    pub async fn keep_sweeping(&self) {
        let mut beat = Beat::new(INTERVAL, &self.shutdown);
        while beat.next().await {
            if let Err(error) = self.sweep().await {
                tracing::error!(%error, "the sweep failed; it is repeated");
                // Most likely the database is away, and with it whatever agents ask for.
                self.was_away();
            }
        }
    }
}

async fn act(unit: &mut Unit<'_>, held: &mut Request, due: Due) -> Result<(), Failure> {
    tracing::info!(request = %held.id, ?due, "a job's time has come");
    let by = EndedBy::Service;
    match due {
        Due::Lapsed => {
            unit.service().metrics.locks_lapsed.inc();
            let reason = Some(request::lapsed_reason(held));
            end_request(unit, held, TaskResult::Abandoned, reason, by).await
        }
        Due::Overran => {
            let reason = Some(request::overran_reason(held));
            cancel_request(unit, held, reason).await
        }
        Due::Overdue => end_request(unit, held, TaskResult::Canceled, None, by).await,
    }
}
