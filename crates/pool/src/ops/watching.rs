//! Who watches a job: its agent sends console lines often while somebody does, and seldom while nobody does.

use super::dispatch::send;
use crate::rules::request;
use crate::service::{Failure, Service};
use crate::store::{agents, dialect, messages, requests};
use dayfly_wire::ids::RequestId;
use dayfly_wire::message::{JobMetadataUpdate, kind};
use jiff::SignedDuration;

/// Milliseconds between posts while somebody watches.
pub const WATCHED: u64 = 500;
/// Milliseconds between posts while nobody does.
pub const UNWATCHED: u64 = 5000;
/// How long somebody counts as watching after an answer: the next question comes at once, or never.
const GRACE: SignedDuration = SignedDuration::from_secs(15);

impl Service {
    /// Somebody asks for a job's lines.
    pub(super) async fn watched(&self, id: RequestId) -> Result<(), Failure> {
        let hold = SignedDuration::try_from(self.settings.poll_hold).unwrap_or(GRACE);
        if self.watches.watch(id, self.now() + hold + GRACE) {
            self.tell_interval(id, WATCHED).await?;
        }
        Ok(())
    }

    /// Tells the agents of jobs that nobody watches any more.
    pub(super) async fn tell_unwatched(&self) -> Result<(), Failure> {
        for id in self.watches.left(self.now()) {
            self.tell_interval(id, UNWATCHED).await?;
        }
        Ok(())
    }

    async fn tell_interval(&self, id: RequestId, milliseconds: u64) -> Result<(), Failure> {
        let mut unit = self.begin().await?;
        let found = requests::by_id(unit.conn(), id).await?;
        let Some(held) = found.filter(|held| !held.is_finished() && request::is_with_agent(held))
        else {
            return Ok(());
        };
        let Some(agent) = held.agent else {
            return Ok(());
        };
        if let Some(mut agent) = agents::by_id(unit.conn(), agent).await? {
            let body = JobMetadataUpdate {
                job_id: held.job,
                post_lines_frequency_millis: Some(milliseconds),
            };
            let body = dialect::json("metadata", &body)?;
            // Only the last word counts; an agent that does not ask must not gather them.
            messages::delete_of_kind(unit.conn(), id, kind::METADATA).await?;
            send(&mut unit, &mut agent, kind::METADATA, id, body).await?;
            unit.commit().await?;
        }
        Ok(())
    }
}
