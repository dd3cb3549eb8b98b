//! Sessions: open and close.

use super::dispatch::dispatch_pool;
use super::endings::end_session;
use crate::rules::access::{Caller, require_listener};
use crate::rules::agent::check_capabilities;
use crate::rules::entities::{Agent, Session};
use crate::rules::limits;
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::session;
use crate::service::{Failure, Service};
use crate::store::{agents, sessions};
use dayfly_keys::public_key::{Padding, PublicKey};
use dayfly_keys::session_key::SessionKey;
use dayfly_wire::ids::{PoolId, SessionId};
use dayfly_wire::session::{EncryptionKey, Session as SessionDocument};
use uuid::Uuid;

/// What session keys are sealed as.
const SEALED: &str = "session";
const MAX_OWNER: usize = 256;

impl Service {
    /// Opens the agent's session, with a new key that only the agent can unwrap.
    pub async fn open_session(
        &self,
        caller: &Caller,
        pool: PoolId,
        asked: SessionDocument,
    ) -> Result<SessionDocument, Failure> {
        let claims = require_listener(caller, pool)?;
        if asked.agent.id != claims.agent {
            return Err(
                Refusal::new(Kind::Denied, "an agent opens a session for itself only").into(),
            );
        }
        let mut unit = self.begin().await?;
        let now = unit.now;
        let agent = agents::by_id(unit.conn(), claims.agent).await?;
        let mut agent = agent.ok_or_else(Refusal::unauthorized)?;
        let existing = sessions::of_agent(unit.conn(), agent.id).await?;
        let most = self.settings.limits.sessions;
        if existing.is_none() && sessions::count(unit.conn()).await? >= most {
            return Err(limits::busy("sessions", most).into());
        }
        session::check_open(&agent, existing.as_ref(), now)?;
        if let Some(expired) = existing {
            end_session(&mut unit, &expired).await?;
            agent = agents::by_id(unit.conn(), agent.id).await?.unwrap_or(agent);
        }
        if !asked.system_capabilities.is_empty() {
            check_capabilities(&asked.system_capabilities)?;
            agent.reported_capabilities = Some(asked.system_capabilities);
        }
        agent.status_changed_at = now;
        agents::update(unit.conn(), &agent).await?;
        let id = SessionId(Uuid::new_v4());
        let (wrapped, sealed_key) =
            self.new_session_key(&agent, id, asked.agent_can_handle_oaep_sha256)?;
        let opened = Session {
            id,
            agent: agent.id,
            owner_name: asked.owner_name.chars().take(MAX_OWNER).collect(),
            sealed_key,
            leaving: false,
            created_at: now,
            last_seen_at: now,
        };
        sessions::insert(unit.conn(), &opened).await?;
        dispatch_pool(&mut unit, pool).await?;
        unit.commit().await?;
        Ok(SessionDocument {
            session_id: id,
            owner_name: opened.owner_name,
            agent: agent.reference(true),
            system_capabilities: agent.shown_capabilities().clone(),
            agent_can_handle_oaep_sha256: asked.agent_can_handle_oaep_sha256,
            encryption_key: Some(wrapped),
        })
    }

    /// Closes the agent's session; one that is not there is closed already.
    pub async fn close_session(
        &self,
        caller: &Caller,
        pool: PoolId,
        id: SessionId,
    ) -> Result<(), Failure> {
        let claims = require_listener(caller, pool)?;
        let mut unit = self.begin().await?;
        if let Some(session) = sessions::by_id(unit.conn(), id).await? {
            session::check_own(&session, claims)?;
            end_session(&mut unit, &session).await?;
            unit.commit().await?;
        }
        Ok(())
    }

    /// The key of a session's messages.
    pub fn session_key(&self, session: &Session) -> Result<SessionKey, Failure> {
        let bytes = self
            .keys
            .open_sealed(SEALED, &session.id.to_string(), &session.sealed_key)?;
        SessionKey::from_bytes(&bytes).map_err(|error| Failure::Key(error.to_string()))
    }

    fn new_session_key(
        &self,
        agent: &Agent,
        id: SessionId,
        sha256: bool,
    ) -> Result<(EncryptionKey, String), Failure> {
        let failed = |error: dayfly_keys::KeyError| Failure::Key(error.to_string());
        let padding = if sha256 {
            Padding::OaepSha256
        } else {
            Padding::OaepSha1
        };
        let key = SessionKey::generate();
        let wrapped = PublicKey::from_wire(&agent.key)
            .and_then(|public| public.wrap_session_key(&key, padding))
            .map_err(failed)?;
        let sealed = self.keys.seal(SEALED, &id.to_string(), key.as_bytes())?;
        Ok((wrapped, sealed))
    }
}
