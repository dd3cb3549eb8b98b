//! An agent's session and its messages.

use crate::{Client, Error};
use dayfly_wire::ids::{MessageId, PoolId, SessionId};
use dayfly_wire::message::Envelope;
use dayfly_wire::session::Session;
use reqwest::Method;
use std::time::Duration;

/// A long poll is held for about 50 s by the service.
const POLL_LIMIT: Duration = Duration::from_secs(100);
const SHORT_LIMIT: Duration = Duration::from_secs(30);

impl Client {
    /// Opens a session; the answer holds its id and the wrapped key of its messages.
    pub async fn create_session(&self, pool: PoolId, session: &Session) -> Result<Session, Error> {
        let path = format!("/_apis/distributedtask/pools/{pool}/sessions");
        self.send(
            self.call("create session", Method::POST, &path)
                .json(session)?,
        )
        .await?
        .json()
    }

    /// Closes a session.
    pub async fn delete_session(&self, pool: PoolId, session: SessionId) -> Result<(), Error> {
        let path = format!("/_apis/distributedtask/pools/{pool}/sessions/{session}");
        let call = self
            .call("delete session", Method::DELETE, &path)
            .limit(SHORT_LIMIT);
        self.send(call).await.map(drop)
    }

    /// Waits for a message newer than `last`; `None` when none came in the time of one poll.
    pub async fn next_message(
        &self,
        pool: PoolId,
        session: SessionId,
        last: Option<MessageId>,
    ) -> Result<Option<Envelope>, Error> {
        let path = format!("/_apis/distributedtask/pools/{pool}/messages");
        let mut call = self
            .call("next message", Method::GET, &path)
            .query("sessionId", session.to_string())
            .limit(POLL_LIMIT);
        if let Some(last) = last {
            call = call.query("lastMessageId", last.to_string());
        }
        let answer = self.send(call).await?;
        if answer.body.is_empty() {
            Ok(None)
        } else {
            answer.json().map(Some)
        }
    }

    /// Removes a message from the queue: it was understood, and will not be sent again.
    pub async fn acknowledge(
        &self,
        pool: PoolId,
        session: SessionId,
        message: MessageId,
    ) -> Result<(), Error> {
        let path = format!("/_apis/distributedtask/pools/{pool}/messages/{message}");
        let call = self
            .call("acknowledge", Method::DELETE, &path)
            .query("sessionId", session.to_string())
            .limit(SHORT_LIMIT);
        self.send(call).await.map(drop)
    }
}
