//! Tries on a real pool what is assumed of its service, with an agent that is made for it and removed again.
//!
//! The claims are those of `docs/azure-devops.md`, by their ids.

use super::live_job;
use super::report::{Outcome, Report};
use crate::connection::{Endpoint, Link};
use crate::names;
use dayfly_client::{AgentCredential, AgentQuery, BuildError, Client, Credential, Error};
use dayfly_keys::KeyError;
use dayfly_keys::agent_key::AgentKey;
use dayfly_keys::random::base32_name;
use dayfly_wire::agent::{Agent, AgentAuthorization, AgentReference, AgentStatus, Capabilities};
use dayfly_wire::ids::{AgentId, PoolId, RequestId};
use dayfly_wire::session::Session;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What every agent's name begins with that is made here.
pub const PREFIX: &str = "dayfly-check-";
/// The capability that is looked for again.
const MARK: &str = "Dayfly.Check";

/// What is tried, in this order.
pub const CLAIMS: &[(&str, &str)] = &[
    ("credential", "the credential is accepted"),
    (
        "sign-in",
        "what is no credential is refused, by a status or a sign-in page",
    ),
    (
        "role",
        "the service says that the credential manages the pool",
    ),
    (
        "registration",
        "an agent is registered with a key that another program made",
    ),
    (
        "capabilities-set",
        "user capabilities are kept when they are set by themselves",
    ),
    (
        "assertion",
        "an assertion signed with that key gets a token",
    ),
    ("session", "a session opens, and its key can be unwrapped"),
    (
        "capabilities-survive",
        "user capabilities survive the opening of a session",
    ),
    ("online", "an agent with a session is online"),
    ("token-bounds", "the agent's token registers no agent"),
    (
        "poll",
        "a poll without a message is held, and answered without one",
    ),
    (
        "disabled-session",
        "an agent that is disabled keeps its session",
    ),
    (
        "offline",
        "an agent whose session ended is offline, and stays registered",
    ),
    (
        "placeholder",
        "a job is queued to a pool whose agents are all offline",
    ),
    (
        "delivery",
        "the job is given to the agent as soon as it listens, encrypted for it",
    ),
    (
        "receive-time",
        "receiveTime is absent until the agent has taken the job",
    ),
    (
        "busy-disable",
        "disabling an agent that holds a job leaves it the job",
    ),
    (
        "busy-delete",
        "deleting an agent that holds a job is refused, or ends the job",
    ),
    ("finish", "a job can be ended from outside"),
    (
        "key-replaced",
        "a key that was replaced gets no token any more",
    ),
    (
        "token-end",
        "the token of a deleted agent is not taken any more",
    ),
    ("removal", "all that was made is gone"),
];

/// Why nothing more can be tried.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    /// The service refused.
    #[error("{0}")]
    Service(#[from] Error),
    /// A key cannot be made or read.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// A client cannot be made.
    #[error("{0}")]
    Client(#[from] BuildError),
    /// The answer lacks something.
    #[error("{0}")]
    Answer(&'static str),
}

/// What is being tried.
pub(super) struct Trial<'a> {
    pub(super) admin: &'a Client,
    pub(super) endpoint: &'a Endpoint,
    pub(super) pool: PoolId,
    pub(super) name: String,
    /// Requests that were there before.
    pub(super) before: BTreeSet<RequestId>,
    pub(super) report: Report,
}

/// The agent that was made.
pub(super) struct Made {
    pub(super) id: AgentId,
    pub(super) name: String,
    pub(super) key: Arc<AgentKey>,
    pub(super) client: Client,
}

/// Tries everything; with `job`, waits so long for somebody to queue a job to the pool.
pub async fn check(link: &Link, pool: &str, job: Option<Duration>) -> Report {
    let mut report = Report::of(CLAIMS);
    let admin = &link.client;
    let found = match admin.find_pool(pool).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let text = format!("accepted, but there is no pool {pool:?} that it may see");
            report.found("credential", Outcome::No, text);
            return report;
        }
        Err(error) => {
            report.found("credential", Outcome::No, error.to_string());
            return report;
        }
    };
    report.found("credential", Outcome::Yes, format!("pool {}", found.id));
    let mut trial = Trial {
        admin,
        endpoint: &link.endpoint,
        pool: found.id,
        name: format!("{PREFIX}{}", base32_name(10)),
        before: BTreeSet::new(),
        report,
    };
    trial.credentials(pool).await;
    if let Err((id, stop)) = trial.agent(job).await {
        trial.report.found(id, Outcome::No, stop.to_string());
    }
    trial.remove().await;
    trial.report
}

impl Trial<'_> {
    /// Writes down a claim that holds or not.
    pub(super) fn say(&mut self, id: &str, holds: bool, detail: impl Into<String>) {
        let outcome = if holds { Outcome::Yes } else { Outcome::No };
        self.report.found(id, outcome, detail);
    }

    pub(super) fn client(&self, credential: Credential) -> Result<Client, BuildError> {
        Client::builder(&self.endpoint.url)
            .credential(credential)
            .user_agent(concat!("dayfly-operator/", env!("CARGO_PKG_VERSION")))
            .ca_bundle(self.endpoint.ca_bundle.clone())
            .proxy(self.endpoint.proxy.clone())
            .build()
    }

    async fn credentials(&mut self, pool: &str) {
        // Once: somebody who counts failures should not think that this is a guess.
        match self.client(Credential::Pat("not-a-token".into())) {
            Ok(nobody) => match nobody.pools().await {
                Err(error) => {
                    self.say("sign-in", error.is_credential_rejected(), error.to_string());
                }
                Ok(_) => self.say("sign-in", false, "it was accepted"),
            },
            Err(error) => self.say("sign-in", false, error.to_string()),
        }
        match self.admin.manages_pool(pool).await {
            Ok(manages) => self.say("role", manages, format!("actionFilter=manage: {manages}")),
            Err(error) => self.say("role", false, error.to_string()),
        }
    }

    /// The life of an agent. Which claim it ended at, if it did.
    async fn agent(&mut self, job: Option<Duration>) -> Result<(), (&'static str, Stop)> {
        let listed = self.admin.unfinished_requests(self.pool).await;
        let listed = listed.map_err(|error| ("credential", error.into()))?;
        self.before = listed.iter().map(|request| request.request_id).collect();
        let key = generate().await.map_err(|stop| ("registration", stop))?;
        let made = self
            .register(key)
            .await
            .map_err(|stop| ("registration", stop))?;
        self.set_capabilities(&made)
            .await
            .map_err(|stop| ("capabilities-set", stop.into()))?;
        self.listen(&made).await?;
        match job {
            Some(limit) => live_job::check(self, &made, limit).await?,
            None => {
                for id in [
                    "placeholder",
                    "delivery",
                    "receive-time",
                    "busy-disable",
                    "busy-delete",
                    "finish",
                ] {
                    let text = "needs --with-job, and somebody who queues a job";
                    self.report.found(id, Outcome::Unknown, text);
                }
            }
        }
        self.end(&made).await
    }

    async fn register(&mut self, key: Arc<AgentKey>) -> Result<Made, Stop> {
        let document = draft(&self.name, &key);
        let agent = self.admin.register_agent(self.pool, &document).await?;
        let credential = credential(&agent, &key)?;
        self.say("registration", true, format!("agent {}", agent.id));
        Ok(Made {
            id: agent.id,
            name: self.name.clone(),
            key,
            client: self.client(credential)?,
        })
    }

    async fn set_capabilities(&mut self, made: &Made) -> Result<(), Error> {
        let marks: Capabilities = [(MARK.to_owned(), made.name.clone())].into();
        self.admin
            .put_user_capabilities(self.pool, made.id, &marks)
            .await?;
        let agent = self.admin.agent(self.pool, made.id).await?;
        let kept = agent.user_capabilities.get(MARK) == Some(&made.name);
        self.say("capabilities-set", kept, "");
        Ok(())
    }

    async fn listen(&mut self, made: &Made) -> Result<(), (&'static str, Stop)> {
        // Whatever it answers, it took the token; what it may see with it is another question.
        match made.client.agent(self.pool, made.id).await {
            Ok(_) | Err(Error::Forbidden(_) | Error::NotFound(_)) => {
                self.say("assertion", true, "");
            }
            Err(error) => return Err(("assertion", error.into())),
        }
        let session = self.open(made).await.map_err(|stop| ("session", stop))?;
        let mut observe = async || -> Result<(), Error> {
            let agent = self.admin.agent(self.pool, made.id).await?;
            let kept = agent.user_capabilities.get(MARK) == Some(&made.name);
            self.say("capabilities-survive", kept, "");
            let online = agent.status == Some(AgentStatus::Online);
            self.say("online", online, format!("{:?}", agent.status));
            self.bounds(made).await;
            self.poll(made, &session, "poll").await;
            self.admin
                .set_agent_enabled(self.pool, made.id, false)
                .await?;
            self.poll(made, &session, "disabled-session").await;
            self.admin
                .set_agent_enabled(self.pool, made.id, true)
                .await?;
            let closed = made.client.delete_session(self.pool, session.session_id);
            closed.await?;
            let agent = self.admin.agent(self.pool, made.id).await?;
            let offline = agent.status == Some(AgentStatus::Offline);
            self.say("offline", offline, format!("{:?}", agent.status));
            Ok(())
        };
        observe().await.map_err(|error| ("offline", error.into()))
    }

    /// Opens a session, and says so if its key can be read.
    pub(super) async fn open(&mut self, made: &Made) -> Result<Session, Stop> {
        let asked = Session {
            owner_name: made.name.clone(),
            agent: AgentReference {
                id: made.id,
                name: made.name.clone(),
                version: Some(names::AGENT_VERSION.to_owned()),
                ..AgentReference::default()
            },
            system_capabilities: [("Agent.Name".to_owned(), made.name.clone())].into(),
            agent_can_handle_oaep_sha256: true,
            ..Session::default()
        };
        let session = made.client.create_session(self.pool, &asked).await?;
        let padding = match &session.encryption_key {
            Some(wrapped) => {
                made.key.unwrap_session_key(wrapped)?;
                let padding = wrapped.encryption_padding.clone();
                padding.unwrap_or_else(|| "no padding named".to_owned())
            }
            None => "no key: messages are not encrypted".to_owned(),
        };
        self.say("session", session.encryption_key.is_some(), padding);
        Ok(session)
    }

    async fn bounds(&mut self, made: &Made) {
        let other = format!("{}-x", made.name);
        let other = draft(&other, &made.key);
        match made.client.register_agent(self.pool, &other).await {
            Ok(_) => self.say("token-bounds", false, "it registered another agent"),
            Err(error) => self.say("token-bounds", true, error.to_string()),
        }
    }

    async fn poll(&mut self, made: &Made, session: &Session, id: &'static str) {
        let begun = Instant::now();
        let polled = made
            .client
            .next_message(self.pool, session.session_id, None);
        let took = |text: &str| format!("{text} after {:.1} s", begun.elapsed().as_secs_f64());
        match polled.await {
            Ok(None) => self.say(id, true, took("answered")),
            Ok(Some(message)) => {
                let text = took(&format!("a message came ({})", message.message_type));
                self.report.found(id, Outcome::Unknown, text);
            }
            Err(error) => self.say(id, false, took(&error.to_string())),
        }
    }

    /// What ends a key, and what a token.
    async fn end(&mut self, made: &Made) -> Result<(), (&'static str, Stop)> {
        if let Err(Error::NotFound(_)) = self.admin.agent(self.pool, made.id).await {
            for id in ["key-replaced", "token-end"] {
                self.report
                    .found(id, Outcome::Unknown, "the agent is gone already");
            }
            return Ok(());
        }
        let key = generate().await.map_err(|stop| ("key-replaced", stop))?;
        let mut document = draft(&made.name, &key);
        document.id = made.id;
        let replaced = self.admin.replace_agent(self.pool, &document).await;
        let agent = replaced.map_err(|error| ("key-replaced", error.into()))?;
        let old = credential(&agent, &made.key).map_err(|stop| ("key-replaced", stop))?;
        let old = self
            .client(old)
            .map_err(|error| ("key-replaced", error.into()))?;
        match old.agent(self.pool, made.id).await {
            Err(error @ (Error::TokenRefused(_) | Error::Unauthorized(_))) => {
                self.say("key-replaced", true, error.to_string());
            }
            Ok(_) => self.say("key-replaced", false, "the old key still gets tokens"),
            Err(error) => self.say("key-replaced", false, error.to_string()),
        }
        let new = credential(&agent, &key).map_err(|stop| ("token-end", stop))?;
        let new = self
            .client(new)
            .map_err(|error| ("token-end", error.into()))?;
        let before = new.agent(self.pool, made.id).await;
        let deleted = self.admin.delete_agent(self.pool, made.id).await;
        deleted.map_err(|error| ("token-end", error.into()))?;
        match (before, new.agent(self.pool, made.id).await) {
            (_, Ok(_)) => self.say("token-end", false, "it is still taken"),
            (Ok(_), Err(error)) => self.say("token-end", true, error.to_string()),
            (Err(before), Err(_)) => {
                let text = format!("the token was not taken before either: {before}");
                self.report.found("token-end", Outcome::Unknown, text);
            }
        }
        Ok(())
    }

    /// Removes what was made here, whatever came in between.
    async fn remove(&mut self) {
        let listed = self.admin.agents(self.pool, &AgentQuery::default()).await;
        let left = match listed {
            Ok(agents) => agents,
            Err(error) => {
                let text = format!("remove agents {}* by hand: {error}", self.name);
                self.say("removal", false, text);
                return;
            }
        };
        let ours = left
            .iter()
            .filter(|agent| agent.name.starts_with(&self.name));
        let mut kept = Vec::new();
        for agent in ours {
            if let Err(error) = self.admin.delete_agent(self.pool, agent.id).await {
                kept.push(format!("{}: {error}", agent.name));
            }
        }
        let text = kept.join(", ");
        self.say("removal", kept.is_empty(), text);
    }
}

async fn generate() -> Result<Arc<AgentKey>, Stop> {
    let made = tokio::task::spawn_blocking(AgentKey::generate).await;
    let key = made.map_err(|_| Stop::Answer("the key could not be made"))??;
    Ok(Arc::new(key))
}

fn draft(name: &str, key: &AgentKey) -> Agent {
    Agent {
        name: name.to_owned(),
        version: Some(names::AGENT_VERSION.to_owned()),
        os_description: Some("Linux".to_owned()),
        enabled: Some(true),
        provisioning_state: Some("Provisioned".to_owned()),
        max_parallelism: Some(1),
        authorization: Some(AgentAuthorization {
            public_key: Some(key.public().to_wire()),
            ..AgentAuthorization::default()
        }),
        ..Agent::default()
    }
}

fn credential(agent: &Agent, key: &Arc<AgentKey>) -> Result<Credential, Stop> {
    let authorization = agent.authorization.as_ref();
    let missing = Stop::Answer("the answer names no client id and token endpoint");
    let (Some(client_id), Some(url)) = (
        authorization.and_then(|one| one.client_id),
        authorization.and_then(|one| one.authorization_url.clone()),
    ) else {
        return Err(missing);
    };
    Ok(Credential::Agent(AgentCredential {
        key: Arc::clone(key),
        client_id,
        audience: url.clone(),
        token_url: url,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_claim_is_in_the_documents() {
        let text = include_str!("../../../docs/azure-devops.md");
        for (id, _) in CLAIMS {
            assert!(text.contains(&format!("`{id}`")), "{id} is missing");
        }
    }
}
