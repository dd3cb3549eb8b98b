//! A job that an agent took, as the scenarios about its message, plan and end need it.

use crate::ask::Ask;
use crate::suite::{Agent, Session, Suite};
use crate::verdict::{Verdict, differs};
use dayfly_wire::job::{ACCESS_TOKEN, SYSTEM_CONNECTION};
use dayfly_wire::message::{Envelope, kind};
use dayfly_wire::queue::QueuedJob;
use dayfly_wire::secret::SecretText;
use reqwest::Method;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long a message may take that is there already.
const SOON: Duration = Duration::from_secs(60);

/// A job with its agent.
pub(crate) struct Taken {
    pub(crate) agent: Agent,
    pub(crate) listen: SecretText,
    pub(crate) session: Session,
    pub(crate) queued: QueuedJob,
    pub(crate) envelope: Envelope,
    pub(crate) message: Value,
    pub(crate) token: SecretText,
}

impl Suite {
    /// Asks for a message; none when the service answers that there is none.
    pub(crate) async fn poll(
        &self,
        session: &Session,
        listen: &SecretText,
        after: Option<i64>,
    ) -> Verdict<Option<Envelope>> {
        let answer = self.poll_raw(session, listen, after).await?;
        if matches!(answer.status, 202 | 204) {
            answer.empty()?;
            return Ok(None);
        }
        answer.read().map(Some)
    }

    /// Asks for a message.
    pub(crate) async fn poll_raw(
        &self,
        session: &Session,
        listen: &SecretText,
        after: Option<i64>,
    ) -> Verdict<crate::answer::Answer> {
        let after = after.map(|id| format!("&lastMessageId={id}"));
        let query = format!("?sessionId={}{}", session.id, after.unwrap_or_default());
        let path = self.in_pool(&format!("/messages{query}"));
        self.anonymous(Method::GET, &path)
            .bearer(listen)
            .send()
            .await
    }

    /// Asks until a message comes.
    pub(crate) async fn wait(&self, session: &Session, listen: &SecretText) -> Verdict<Envelope> {
        let until = Instant::now() + SOON;
        while Instant::now() < until {
            if let Some(envelope) = self.poll(session, listen, None).await? {
                return Ok(envelope);
            }
        }
        Err(differs(format!("no message came in {} s", SOON.as_secs())))
    }

    /// Says that a message was received.
    pub(crate) async fn acknowledge(
        &self,
        session: &Session,
        listen: &SecretText,
        id: i64,
    ) -> Verdict {
        let path = self.in_pool(&format!("/messages/{id}?sessionId={}", session.id));
        let request = self.anonymous(Method::DELETE, &path).bearer(listen);
        request.send().await?.empty()
    }

    /// An agent, a job for it, and its message, which is not acknowledged yet.
    pub(crate) async fn see_job(&self) -> Verdict<Taken> {
        self.needs_a_queue()?;
        let agent = self.register().await?;
        let listen = self.listen_token(&agent).await?;
        let session = self.open(&agent, &listen, false).await?;
        let queued = self.queue(&agent).await?;
        let envelope = self.wait(&session, &listen).await?;
        holds!(
            envelope.message_type.eq_ignore_ascii_case(kind::JOB),
            "the message is a {:?}, and not a {}",
            envelope.message_type,
            kind::JOB
        );
        let message = read(&session, &envelope)?;
        let endpoints = message["resources"]["endpoints"].as_array();
        let system = endpoints.and_then(|endpoints| {
            let mut named = endpoints
                .iter()
                .filter(|endpoint| endpoint["name"] == SYSTEM_CONNECTION);
            named.next().filter(|_| named.next().is_none())
        });
        let token =
            system.and_then(|system| system["authorization"]["parameters"][ACCESS_TOKEN].as_str());
        let token = token.ok_or_else(|| {
            differs(format!(
                "the job message has no {SYSTEM_CONNECTION} with a token, or several"
            ))
        })?;
        Ok(Taken {
            token: token.into(),
            agent,
            listen,
            session,
            queued,
            envelope,
            message,
        })
    }

    /// The same, acknowledged and with its lock renewed: the job runs.
    pub(crate) async fn take_job(&self) -> Verdict<Taken> {
        let taken = self.see_job().await?;
        self.acknowledge(&taken.session, &taken.listen, taken.envelope.message_id.0)
            .await?;
        self.renew(&taken).await?;
        Ok(taken)
    }

    /// Renews the lock of a job's request.
    pub(crate) async fn renew(&self, taken: &Taken) -> Verdict<Value> {
        let id = taken.queued.request_id;
        let path = format!("/jobrequests/{id}?lockToken={}", uuid::Uuid::nil());
        let request = self
            .anonymous(Method::PATCH, &self.in_pool(&path))
            .bearer(&taken.listen)
            .json(&serde_json::json!({"requestId": id}));
        request.send().await?.document()
    }

    /// The request as an administrator sees it.
    pub(crate) async fn request(&self, taken: &Taken) -> Verdict<Value> {
        let path = self.in_pool(&format!("/jobrequests/{}", taken.queued.request_id));
        self.get(&path).await?.document()
    }

    /// A call of the job to its plan.
    pub(crate) fn in_plan(&self, taken: &Taken, method: Method, path: &str) -> Ask {
        let plan = &taken.message["plan"];
        let text = |name: &str| plan[name].as_str().unwrap_or_default();
        let path = format!(
            "/{}/_apis/distributedtask/hubs/{}/plans/{}{path}",
            text("scopeIdentifier"),
            text("planType"),
            text("planId")
        );
        self.anonymous(method, &path).bearer(&taken.token)
    }
}

/// Decrypts the body of a message.
pub(crate) fn read(session: &Session, envelope: &Envelope) -> Verdict<Value> {
    let unreadable = |error: &dyn std::fmt::Display| {
        differs(format!("the message's body cannot be read: {error}"))
    };
    let plain = match (&envelope.iv, &session.key) {
        (Some(iv), Some(key)) => key
            .decrypt(iv, &envelope.body)
            .map_err(|error| unreadable(&error))?
            .to_vec(),
        (None, _) => envelope.body.clone().into_bytes(),
        (Some(_), None) => {
            return Err(differs("an encrypted message, and a session without a key"));
        }
    };
    let plain = plain.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&plain);
    serde_json::from_slice(plain).map_err(|error| unreadable(&error))
}
