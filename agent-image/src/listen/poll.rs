//! The session and its messages.

use super::driver::Happening;
use super::incoming;
use super::machine_name;
use super::stage::Event;
use crate::backoff::{between, doubling, jitter};
use dayfly_client::{Client, Error};
use dayfly_keys::agent_key::AgentKey;
use dayfly_keys::session_key::SessionKey;
use dayfly_wire::agent::{AgentReference, Capabilities};
use dayfly_wire::error::key;
use dayfly_wire::identity::ClaimedIdentity;
use dayfly_wire::ids::{MessageId, PoolId, SessionId};
use dayfly_wire::message::Envelope;
use dayfly_wire::session::{EncryptionKey, Session};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

/// How long a session is tried: a crashed agent's session lapses after about five minutes.
const OPEN_LIMIT: Duration = Duration::from_secs(360);
const OPEN_FIRST_WAIT: Duration = Duration::from_millis(250);
const OPEN_LONGEST_WAIT: Duration = Duration::from_secs(15);
/// How often a refused token is tried again: the clock's difference is learnt from the refusal.
const TOKEN_TRIES: u32 = 3;
/// A service that answers an empty poll at once is not asked again at once.
const SHORTEST_POLL: Duration = Duration::from_secs(1);

/// Opens sessions and polls them.
pub(crate) struct Poller {
    client: Client,
    key: Arc<AgentKey>,
    pool: PoolId,
    request: Session,
}

/// An open session.
pub(crate) struct OpenSession {
    pub(crate) id: SessionId,
    key: Option<SessionKey>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The service said no, or did not answer for too long.
    #[error(transparent)]
    Service(#[from] Error),
    /// The session's key was not made for this agent.
    #[error("failed to unwrap the session's key: it was not made for this agent's key")]
    Key,
}

impl Poller {
    pub(crate) fn new(client: Client, key: Arc<AgentKey>, identity: &ClaimedIdentity) -> Self {
        Self {
            client,
            key,
            pool: identity.pool_id,
            request: session_request(identity),
        }
    }

    /// Opens a session; an older one of the same agent may be in the way for a while.
    pub(crate) async fn open(&self) -> Result<OpenSession, SessionError> {
        let deadline = Instant::now() + OPEN_LIMIT;
        let mut attempt = 0;
        loop {
            let error = match self.client.create_session(self.pool, &self.request).await {
                Ok(session) => return self.opened(session),
                Err(error) => error,
            };
            let again = match &error {
                Error::Conflict(_) => true,
                Error::TokenRefused(_) => attempt < TOKEN_TRIES,
                other => other.is_retryable(),
            };
            if !again || Instant::now() >= deadline {
                return Err(error.into());
            }
            tracing::warn!(%error, "opening the session again");
            sleep(doubling(
                OPEN_FIRST_WAIT,
                OPEN_LONGEST_WAIT,
                attempt,
                jitter(),
            ))
            .await;
            attempt += 1;
        }
    }

    fn opened(&self, session: Session) -> Result<OpenSession, SessionError> {
        let key = session
            .encryption_key
            .map(|wrapped| self.session_key(&wrapped))
            .transpose()?;
        Ok(OpenSession {
            id: session.session_id,
            key,
        })
    }

    fn session_key(&self, wrapped: &EncryptionKey) -> Result<SessionKey, SessionError> {
        self.key
            .unwrap_session_key(wrapped)
            .map_err(|_| SessionError::Key)
    }

    /// Polls until the service refuses for good, or the task is aborted. Tells the current session to whoever
    /// acknowledges messages.
    pub(crate) async fn poll(
        self,
        mut session: OpenSession,
        current: watch::Sender<SessionId>,
        events: mpsc::Sender<Happening>,
    ) {
        let (mut last, mut errors) = (None, 0);
        loop {
            let begun = Instant::now();
            match self.client.next_message(self.pool, session.id, last).await {
                Ok(Some(envelope)) => {
                    errors = 0;
                    last = Some(envelope.message_id);
                    if events
                        .send(open_envelope(&session, &envelope))
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
                Ok(None) => {
                    errors = 0;
                    sleep(SHORTEST_POLL.saturating_sub(begun.elapsed())).await;
                }
                Err(error) if error.type_key() == Some(key::SESSION_EXPIRED) => {
                    tracing::info!("the session expired; opening another");
                    match self.open().await {
                        Ok(opened) => {
                            session = opened;
                            last = None;
                            current.send_replace(session.id);
                        }
                        Err(error) => return refused(&error, &events).await,
                    }
                }
                Err(error) if is_final(&error, errors) => return refused(&error, &events).await,
                Err(error) => {
                    tracing::warn!(%error, "failed to poll for messages; trying again");
                    sleep(error_wait(errors)).await;
                    errors += 1;
                }
            }
        }
    }
}

async fn refused(error: &(dyn std::error::Error + Sync), events: &mpsc::Sender<Happening>) {
    tracing::error!(%error, "the service does not want this agent any more");
    let _ = events.send(Event::ServiceRefuses.into()).await;
}

/// Quick at first, for a service that restarts; then as patient as the official agent.
fn error_wait(errors: u32) -> Duration {
    match errors {
        0..4 => doubling(
            Duration::from_millis(500),
            Duration::from_secs(5),
            errors,
            jitter(),
        ),
        4..10 => between(Duration::from_secs(5), Duration::from_secs(15), jitter()),
        _ => between(Duration::from_secs(15), Duration::from_secs(30), jitter()),
    }
}

fn is_final(error: &Error, errors: u32) -> bool {
    match error {
        Error::Unauthorized(_) | Error::SignInPage | Error::Forbidden(_) | Error::NotFound(_) => {
            true
        }
        // The message would come again and again, and it cannot be told which job it is about.
        Error::TooLong { .. } => true,
        Error::TokenRefused(_) | Error::Sign => errors >= TOKEN_TRIES,
        _ => false,
    }
}

fn open_envelope(session: &OpenSession, envelope: &Envelope) -> Happening {
    let message = envelope.message_id;
    match decrypted(session, envelope) {
        Some(body) => {
            let (event, job) = incoming::read(message, &envelope.message_type, body);
            Happening { event, job }
        }
        None => {
            tracing::error!(%message, "failed to decrypt a message; it is dropped");
            Event::Meaningless { message }.into()
        }
    }
}

fn decrypted(session: &OpenSession, envelope: &Envelope) -> Option<Zeroizing<Vec<u8>>> {
    match (&envelope.iv, &session.key) {
        (Some(iv), Some(key)) => key.decrypt(iv, &envelope.body).ok(),
        (None, None) => Some(Zeroizing::new(envelope.body.as_bytes().to_vec())),
        // Where a key was agreed on, a message in the clear comes from somebody else.
        (None, Some(_)) | (Some(_), None) => None,
    }
}

fn session_request(identity: &ClaimedIdentity) -> Session {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let os_description = format!("Linux {}", kernel.trim());
    Session {
        session_id: SessionId::default(),
        owner_name: machine_name(),
        agent: AgentReference {
            id: identity.agent_id,
            name: identity.agent_name.clone(),
            version: Some(identity.agent_version.clone()),
            os_description: Some(os_description),
            ..AgentReference::default()
        },
        system_capabilities: capabilities(identity),
        agent_can_handle_oaep_sha256: true,
        encryption_key: None,
    }
}

/// What the operator says, and what every agent says of itself.
fn capabilities(identity: &ClaimedIdentity) -> Capabilities {
    let mut capabilities = Capabilities::from(
        [
            ("Agent.Name", identity.agent_name.as_str()),
            ("Agent.Version", &identity.agent_version),
            ("Agent.OS", "Linux"),
            ("Agent.OSArchitecture", architecture()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    capabilities.extend(identity.system_capabilities.clone());
    capabilities
}

/// The architecture in the field's word.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "ARM64",
        "arm" => "ARM",
        "x86" => "X86",
        _ => "X64",
    }
}

/// Removes a message from the queue. A failure costs nothing but its being sent again.
pub(crate) async fn acknowledge(
    client: Client,
    pool: PoolId,
    session: SessionId,
    message: MessageId,
) {
    if let Err(error) = client.acknowledge(pool, session, message).await {
        tracing::warn!(%error, %message, "failed to acknowledge a message");
    }
}
