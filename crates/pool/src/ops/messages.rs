//! Messages: the long poll and the acknowledgement.

use crate::message;
use crate::rules::access::{Caller, JOB, ListenClaims, require_listener};
use crate::rules::entities::{Message, Session};
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::{limits, request, session, token};
use crate::service::{Failure, Service};
use crate::store::dialect::ReadConnection;
use crate::store::{agents, messages, reach, requests, sessions};
use dayfly_wire::ids::{MessageId, PoolId, SessionId};
use dayfly_wire::job::JobMessage;
use dayfly_wire::message::{Envelope, kind};
use jiff::Timestamp;
use std::pin::pin;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// What a request's message is sealed as.
pub const SEALED: &str = "job-message";

impl Service {
    /// The oldest message after `last`; waits for one, and answers none when the time is over or the service ends.
    /// A message stays until it is acknowledged, so several may ask at once.
    pub async fn next_message(
        &self,
        caller: &Caller,
        pool: PoolId,
        id: SessionId,
        last: MessageId,
    ) -> Result<Option<Envelope>, Failure> {
        let claims = require_listener(caller, pool)?;
        let until = Instant::now() + self.settings.poll_hold;
        let waiter = self.wakes.wait_for(claims.agent);
        let most = self.settings.limits.pollers;
        if self.wakes.waiting_for(claims.agent) > most {
            return Err(limits::busy("questions for messages of this agent", most).into());
        }
        loop {
            let mut woken = pin!(waiter.bell().notified());
            // From here on a wake is not missed, whatever the look below sees.
            woken.as_mut().enable();
            if let Some(envelope) = self.look(claims, id, last).await? {
                self.metrics.messages_delivered.inc();
                return Ok(Some(envelope));
            }
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep_until(until) => return Ok(None),
                () = self.shutdown.cancelled() => return Ok(None),
            }
        }
    }

    async fn look(
        &self,
        claims: &ListenClaims,
        id: SessionId,
        last: MessageId,
    ) -> Result<Option<Envelope>, Failure> {
        let now = self.now();
        let mut conn = self.store.read().await?;
        let session = sessions::by_id(&mut conn, id).await?;
        if session.is_none() && agents::by_id(&mut conn, claims.agent).await?.is_none() {
            return Err(Refusal::new(
                Kind::AgentNotFound,
                format!("agent {} was deleted", claims.agent),
            )
            .into());
        }
        let session = session::check_use(session, claims, now)?;
        let message = messages::next(&mut conn, claims.agent, last).await?;
        let envelope = match message {
            Some(message) => self.envelope(&mut conn, &session, message).await?,
            None => None,
        };
        drop(conn);
        if session::seen_is_stale(&session, now) {
            // Thousands of agents wait, and a transaction for each question would be most of what they cost.
            self.seen_sessions().insert(id, now);
        }
        Ok(envelope)
    }

    /// Encrypts a message for its session; none when what it is about went away meanwhile.
    async fn envelope(
        &self,
        conn: &mut ReadConnection,
        session: &Session,
        message: Message,
    ) -> Result<Option<Envelope>, Failure> {
        let body = if message.kind == kind::JOB {
            self.job_body(conn, &message).await?
        } else {
            Some(Zeroizing::new(message.body.into_bytes()))
        };
        let Some(body) = body else {
            return Ok(None);
        };
        let (iv, body) = self
            .session_key(session)?
            .encrypt(&body)
            .map_err(|error| Failure::Key(error.to_string()))?;
        Ok(Some(Envelope {
            message_id: message.id,
            message_type: message.kind,
            iv: Some(iv),
            body,
        }))
    }

    /// The job message with a token made now: it is never stored.
    async fn job_body(
        &self,
        conn: &mut ReadConnection,
        queued: &Message,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let Some(request) = requests::by_id(conn, queued.request).await? else {
            return Ok(None);
        };
        if request.is_finished() || request.agent != Some(queued.agent) {
            return Ok(None);
        }
        let sealed = requests::sealed_message(conn, request.id).await?;
        if sealed.is_empty() {
            return Ok(None);
        }
        let plain = self
            .keys
            .open_sealed(SEALED, &request.id.to_string(), &sealed)?;
        let composed: JobMessage = serde_json::from_slice(&plain)
            .map_err(|_| Failure::Key("a stored job message does not parse".to_owned()))?;
        let reach = reach::of(conn, request.plan.definition).await?;
        let own = message::own_repository(&composed);
        let claims = token::job_claims(&request, queued.agent, reach, own, self.now());
        let token = self
            .keys
            .issue(&JOB, &claims)
            .map_err(|error| Failure::Key(error.to_string()))?;
        let complete = message::with_token(
            composed,
            &token,
            &self.settings.public_url,
            self.keys.instance,
        );
        let body = serde_json::to_vec(&complete)
            .map_err(|_| Failure::Key("a job message cannot be written".to_owned()))?;
        Ok(Some(Zeroizing::new(body)))
    }

    /// Takes a message out of the queue; one that is not there was taken before.
    pub async fn acknowledge(
        &self,
        caller: &Caller,
        pool: PoolId,
        session: SessionId,
        id: MessageId,
    ) -> Result<(), Failure> {
        let claims = require_listener(caller, pool)?;
        let mut unit = self.begin().await?;
        let now = unit.now;
        let found = sessions::by_id(unit.conn(), session).await?;
        session::check_use(found, claims, now)?;
        let Some(message) = messages::find(unit.conn(), claims.agent, id).await? else {
            return Ok(());
        };
        messages::delete(unit.conn(), claims.agent, id).await?;
        let mut delivered = None;
        if message.kind == kind::JOB
            && let Some(mut taken) = requests::by_id(unit.conn(), message.request).await?
        {
            request::acknowledge(&mut taken, now);
            requests::update(unit.conn(), &taken).await?;
            delivered = Some(taken);
        }
        unit.commit().await?;
        // Here and not where it is sent: it is sent until it is acknowledged, and acknowledged once.
        if let Some(taken) = delivered {
            let since = |then: Timestamp| now.duration_since(then).as_secs_f64().max(0.0);
            self.metrics.delivery.observe(since(taken.queued_at));
            if let Some(assigned) = taken.assigned_at {
                self.metrics.handover.observe(since(assigned));
            }
        }
        Ok(())
    }
}
