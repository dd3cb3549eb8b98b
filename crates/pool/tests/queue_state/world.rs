//! A service, and what the test knows about it: what it did, and what it was told.

use crate::operation::{Demands, Offer, Operation};
use dayfly_keys::agent_key::AgentKey;
use dayfly_keys::session_key::SessionKey;
use dayfly_pool_service::auth::Credential;
use dayfly_pool_service::clock::{Clock, ManualClock, SystemClock};
use dayfly_pool_service::ops::agents::Wanted;
use dayfly_pool_service::ops::plans::PlanPath;
use dayfly_pool_service::ops::requests::Selection;
use dayfly_pool_service::rules::access::Caller;
use dayfly_pool_service::rules::refusal::{Kind, Refusal};
use dayfly_pool_service::service::{Failure, Service};
use dayfly_pool_service::testing::{PoolHandle, TestError, administrator, listener};
use dayfly_wire::agent::{
    Agent as AgentDocument, AgentAuthorization, AgentReference, Capabilities, Property, SINGLE_USE,
};
use dayfly_wire::event::{JOB_COMPLETED, JobEvent, TaskResult};
use dayfly_wire::ids::{AgentId, ClientId, MessageId, PoolId, RequestId, SessionId};
use dayfly_wire::job::{ACCESS_TOKEN, JobMessage};
use dayfly_wire::message::{JobCancellation, kind};
use dayfly_wire::queue::QueuedJob;
use dayfly_wire::request::JobRequest;
use dayfly_wire::secret::SecretText;
use dayfly_wire::session::Session as SessionDocument;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Keys take a moment to make, and which key it is does not matter here.
static KEYS: LazyLock<[AgentKey; 2]> =
    LazyLock::new(|| [AgentKey::generate().unwrap(), AgentKey::generate().unwrap()]);

/// The service under test and what is known about it.
pub(crate) struct World {
    pub(crate) service: Arc<Service>,
    clock: Arc<ManualClock>,
    directory: tempfile::TempDir,
    admin: Caller,
    pub(crate) pool: PoolId,
    pub(crate) agents: Vec<Agent>,
    pub(crate) jobs: Vec<Job>,
    /// Whether several operations were ever under way at once: some things are then not known exactly.
    pub(crate) was_concurrent: bool,
}

/// An agent that was ever registered.
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    client: ClientId,
    name: String,
    key: usize,
    key_version: i64,
    pub(crate) offer: Offer,
    /// Everything that it offered since the last look.
    pub(crate) offers: Vec<Offer>,
    pub(crate) enabled: bool,
    /// Whether it was enabled at any moment since the last look.
    pub(crate) was_enabled: bool,
    pub(crate) single_use: bool,
    pub(crate) deleted: bool,
    pub(crate) session: Option<Session>,
    /// The last message that it was sent, whatever it was.
    pub(crate) last: Option<MessageId>,
    pub(crate) seen: Option<Seen>,
    /// What it was ever assigned.
    pub(crate) assigned: BTreeSet<RequestId>,
}

#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    key: Arc<SessionKey>,
    pub(crate) leaving: bool,
}

/// The last job that an agent was sent.
pub(crate) struct Seen {
    pub(crate) message: MessageId,
    pub(crate) session: SessionId,
    pub(crate) request: RequestId,
    token: SecretText,
    plan: PlanPath,
    job: dayfly_wire::ids::JobId,
}

/// A job that was ever queued.
pub(crate) struct Job {
    pub(crate) id: RequestId,
    pub(crate) demands: Demands,
    /// The agent that took it.
    pub(crate) taken_by: Option<AgentId>,
    /// Somebody may have taken it: operations were under way at once.
    pub(crate) maybe_taken: bool,
    /// Until when each successful renewal said that the lock holds.
    pub(crate) renewed: Vec<Timestamp>,
}

/// What an operation came to.
pub(crate) enum Outcome {
    /// There was nothing to do it with.
    Nothing,
    Refused(Kind),
    Done,
    Registered(Box<AgentDocument>),
    KeyReplaced,
    Opened(Session),
    Job(Seen),
    Cancellation(MessageId, JobCancellation),
    Renewed(Box<JobRequest>),
    Queued(Box<QueuedJob>),
}

/// The pool as an administrator sees it.
#[derive(Default)]
pub(crate) struct Look {
    pub(crate) now: Timestamp,
    pub(crate) requests: BTreeMap<RequestId, JobRequest>,
    pub(crate) agents: BTreeMap<AgentId, AgentDocument>,
}

impl World {
    pub(crate) async fn new() -> Result<Self, TestError> {
        // In memory where there is such a place: what a disk does is not what this is about.
        let memory = std::path::Path::new("/dev/shm");
        let directory = if memory.is_dir() {
            tempfile::tempdir_in(memory)?
        } else {
            tempfile::tempdir()?
        };
        // The store keeps milliseconds.
        let now = Timestamp::from_millisecond(SystemClock.now().as_millisecond())?;
        let clock = Arc::new(ManualClock::new(now));
        let service = open(&directory, &clock).await?;
        let admin = administrator()?;
        let pool = service.create_pool(&admin, "linux").await?.id;
        Ok(Self {
            service,
            clock,
            directory,
            admin,
            pool,
            agents: Vec::new(),
            jobs: Vec::new(),
            was_concurrent: false,
        })
    }

    /// Ends the service and begins another where it was.
    pub(crate) async fn restart(&mut self) -> Result<(), TestError> {
        self.service.shutdown.cancel();
        self.service.store.close().await;
        self.service = open(&self.directory, &self.clock).await?;
        Ok(())
    }

    /// Everything that there is, with whatever is due done.
    pub(crate) async fn look(&self) -> Result<Look, TestError> {
        self.service.sweep().await?;
        let all = Selection::Unfinished { and_finished: 1000 };
        let requests = self.service.requests(&self.admin, self.pool, all).await?;
        let wanted = Wanted {
            capabilities: true,
            ..Wanted::default()
        };
        let agents = self
            .service
            .agents(&self.admin, self.pool, None, wanted)
            .await?;
        Ok(Look {
            now: self.service.now(),
            requests: requests
                .into_iter()
                .map(|request| (request.request_id, request))
                .collect(),
            agents: agents.into_iter().map(|agent| (agent.id, agent)).collect(),
        })
    }

    /// Does one operation; that the rules refuse it is an outcome, that the service fails is an error.
    pub(crate) async fn perform(&self, operation: Operation) -> Result<Outcome, TestError> {
        match self.attempt(operation).await {
            Err(Failure::Refused(Refusal { kind, .. })) => Ok(Outcome::Refused(kind)),
            Err(failure) => Err(failure.into()),
            Ok(outcome) => Ok(outcome),
        }
    }

    async fn attempt(&self, operation: Operation) -> Result<Outcome, Failure> {
        use Operation::*;
        match operation {
            Register { offer, single_use } => self.register(offer, single_use).await,
            Queue { demands, minutes } => self.queue(demands, minutes).await,
            Pass { seconds } => {
                self.clock.advance(SignedDuration::from_secs(seconds));
                Ok(Outcome::Done)
            }
            Sweep => self.service.sweep().await.map(|()| Outcome::Done),
            End { job } | Cancel { job } => self.stop(operation, job).await,
            Change { agent, .. }
            | Enable { agent, .. }
            | ReplaceKey { agent }
            | Delete { agent } => match self.agent(agent) {
                Some(agent) => self.administer(operation, agent).await,
                None => Ok(Outcome::Nothing),
            },
            Open { agent }
            | Close { agent }
            | Poll { agent, .. }
            | Acknowledge { agent }
            | Renew { agent }
            | RenewAny { agent, .. }
            | Finish { agent, .. } => match self.agent(agent) {
                Some(agent) => self.listen(operation, agent).await,
                None => Ok(Outcome::Nothing),
            },
        }
    }

    /// The agent that a number means.
    pub(crate) fn agent(&self, number: usize) -> Option<&Agent> {
        self.agents.get(number.checked_rem(self.agents.len())?)
    }

    /// The job that a number means: the latest ones, or histories would be about those that ended long ago.
    pub(crate) fn job(&self, number: usize) -> Option<&Job> {
        let back = number.checked_rem(self.jobs.len())?;
        self.jobs.iter().rev().nth(back)
    }

    async fn register(&self, offer: Offer, single_use: bool) -> Result<Outcome, Failure> {
        let draft = AgentDocument {
            name: format!("agent-{}", uuid::Uuid::new_v4()),
            authorization: Some(public_key(0)),
            user_capabilities: offer.capabilities(),
            properties: [(SINGLE_USE.to_owned(), Property::boolean(single_use))].into(),
            ..AgentDocument::default()
        };
        self.register_as(draft).await
    }

    /// Registers an agent that can do everything: it offers one value of its own and one that was given to it.
    pub(crate) async fn register_almighty(&self) -> Result<Outcome, Failure> {
        let all = |value| Offer([Some(value); 3]).capabilities();
        let draft = AgentDocument {
            name: "almighty".to_owned(),
            authorization: Some(public_key(0)),
            system_capabilities: all(1),
            user_capabilities: all(2),
            ..AgentDocument::default()
        };
        self.register_as(draft).await
    }

    async fn register_as(&self, draft: AgentDocument) -> Result<Outcome, Failure> {
        let registered = self
            .service
            .register_agent(&self.admin, self.pool, draft)
            .await?;
        Ok(Outcome::Registered(Box::new(registered)))
    }

    async fn queue(&self, demands: Demands, minutes: i64) -> Result<Outcome, Failure> {
        let job = serde_json::json!({
            "pool": "linux",
            "demands": demands.texts(),
            "timeoutInMinutes": minutes,
            "cancelTimeoutInMinutes": 1,
            "steps": [{"script": "true"}],
        });
        let job = serde_json::from_value(job).unwrap();
        let queued = self.service.queue_job(&self.admin, "demo", job).await?;
        Ok(Outcome::Queued(Box::new(queued)))
    }

    async fn stop(&self, operation: Operation, job: usize) -> Result<Outcome, Failure> {
        let Some(job) = self.job(job) else {
            return Ok(Outcome::Nothing);
        };
        let (service, admin) = (&self.service, &self.admin);
        if matches!(operation, Operation::End { .. }) {
            let failed = TaskResult::Failed;
            service
                .finish_request(admin, self.pool, job.id, failed, None)
                .await?;
        } else {
            service.cancel_job(admin, "demo", job.id, None).await?;
        }
        Ok(Outcome::Done)
    }

    async fn administer(&self, operation: Operation, agent: &Agent) -> Result<Outcome, Failure> {
        let (service, admin, pool) = (&self.service, &self.admin, self.pool);
        match operation {
            Operation::Change { offer, .. } => {
                let capabilities = offer.capabilities();
                service
                    .set_user_capabilities(admin, pool, agent.id, capabilities)
                    .await?;
            }
            Operation::Enable { enabled, .. } => {
                let draft = AgentDocument {
                    enabled: Some(enabled),
                    ..AgentDocument::default()
                };
                service.change_agent(admin, pool, agent.id, draft).await?;
            }
            Operation::ReplaceKey { .. } => {
                let draft = AgentDocument {
                    name: agent.name.clone(),
                    authorization: Some(public_key(1 - agent.key)),
                    ..AgentDocument::default()
                };
                service.replace_agent(admin, pool, agent.id, draft).await?;
                return Ok(Outcome::KeyReplaced);
            }
            _ => service.delete_agent(admin, pool, agent.id).await?,
        }
        Ok(Outcome::Done)
    }

    async fn listen(&self, operation: Operation, agent: &Agent) -> Result<Outcome, Failure> {
        let caller = listener(self.pool, agent.id, agent.client, agent.key_version);
        let (service, pool) = (&self.service, self.pool);
        match operation {
            Operation::Open { .. } => self.open_session(&caller, agent).await,
            Operation::Renew { .. } => match &agent.seen {
                Some(seen) => self.renew(&caller, seen.request).await,
                None => Ok(Outcome::Nothing),
            },
            Operation::RenewAny { job, .. } => match self.job(job) {
                Some(job) => self.renew(&caller, job.id).await,
                None => Ok(Outcome::Nothing),
            },
            Operation::Finish { leaving, .. } => match &agent.seen {
                Some(seen) => self.finish(seen, leaving).await,
                None => Ok(Outcome::Nothing),
            },
            _ => {
                let Some(session) = &agent.session else {
                    return Ok(Outcome::Nothing);
                };
                match (operation, agent.last) {
                    (Operation::Close { .. }, _) => {
                        service.close_session(&caller, pool, session.id).await?;
                        Ok(Outcome::Done)
                    }
                    (Operation::Acknowledge { .. }, Some(last)) => {
                        service.acknowledge(&caller, pool, session.id, last).await?;
                        Ok(Outcome::Done)
                    }
                    (Operation::Poll { again, .. }, last) => {
                        let after = last.filter(|_| !again).unwrap_or_default();
                        self.poll(&caller, session, after).await
                    }
                    _ => Ok(Outcome::Nothing),
                }
            }
        }
    }

    async fn open_session(&self, caller: &Caller, agent: &Agent) -> Result<Outcome, Failure> {
        let asked = SessionDocument {
            owner_name: "host".to_owned(),
            agent: AgentReference {
                id: agent.id,
                name: agent.name.clone(),
                ..AgentReference::default()
            },
            system_capabilities: Capabilities::new(),
            agent_can_handle_oaep_sha256: true,
            ..SessionDocument::default()
        };
        let opened = self.service.open_session(caller, self.pool, asked).await?;
        let wrapped = opened.encryption_key.unwrap();
        Ok(Outcome::Opened(Session {
            id: opened.session_id,
            // The key may be replaced at the same time; the session is then over before it is used.
            key: Arc::new(
                KEYS.iter()
                    .find_map(|key| key.unwrap_session_key(&wrapped).ok())
                    .unwrap(),
            ),
            leaving: false,
        }))
    }

    async fn renew(&self, caller: &Caller, request: RequestId) -> Result<Outcome, Failure> {
        let renewed = self
            .service
            .renew_request(caller, self.pool, request)
            .await?;
        Ok(Outcome::Renewed(Box::new(renewed)))
    }

    async fn poll(
        &self,
        caller: &Caller,
        session: &Session,
        last: MessageId,
    ) -> Result<Outcome, Failure> {
        let polled = self
            .service
            .next_message(caller, self.pool, session.id, last)
            .await?;
        let Some(envelope) = polled else {
            return Ok(Outcome::Nothing);
        };
        let iv = envelope.iv.as_deref().unwrap();
        let body = session.key.decrypt(iv, &envelope.body).unwrap();
        if envelope.message_type == kind::CANCELLATION {
            let cancellation = serde_json::from_slice(&body).unwrap();
            return Ok(Outcome::Cancellation(envelope.message_id, cancellation));
        }
        assert_eq!(envelope.message_type, kind::JOB);
        let message: JobMessage = serde_json::from_slice(&body).unwrap();
        let authorization = message.resources.endpoints[0].authorization.as_ref();
        Ok(Outcome::Job(Seen {
            message: envelope.message_id,
            session: session.id,
            request: message.request_id,
            token: authorization.unwrap().parameters[ACCESS_TOKEN].duplicate(),
            plan: PlanPath {
                project: message.plan.scope_identifier.to_string(),
                hub: message.plan.plan_type,
                plan: message.plan.plan_id,
            },
            job: message.job_id,
        }))
    }

    async fn finish(&self, seen: &Seen, leaving: bool) -> Result<Outcome, Failure> {
        let credential = Credential::Bearer(seen.token.duplicate());
        let caller = self.service.authenticate(&credential).await?;
        let event = JobEvent {
            name: JOB_COMPLETED.to_owned(),
            job_id: seen.job,
            request_id: seen.request,
            result: Some(TaskResult::Succeeded),
            agent_shutting_down: leaving,
        };
        let plan = &seen.plan;
        self.service.raise_event(&caller, plan, &event).await?;
        Ok(Outcome::Done)
    }

    /// The agent that a number means, to be changed.
    pub(crate) fn agent_mut(&mut self, number: usize) -> Option<&mut Agent> {
        let number = number.checked_rem(self.agents.len())?;
        self.agents.get_mut(number)
    }

    pub(crate) fn job_mut(&mut self, id: RequestId) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| job.id == id)
    }

    /// A new agent of the test's.
    pub(crate) fn remember(&mut self, document: AgentDocument, offer: Offer, single_use: bool) {
        let authorization = document.authorization.unwrap();
        self.agents.push(Agent {
            id: document.id,
            client: authorization.client_id.unwrap(),
            name: document.name,
            key: 0,
            key_version: 1,
            offer,
            offers: vec![offer],
            enabled: true,
            was_enabled: true,
            single_use,
            deleted: false,
            session: None,
            last: None,
            seen: None,
            assigned: BTreeSet::new(),
        });
    }
}

impl Agent {
    /// What it is now, when several changes at once may have come in any order.
    pub(crate) fn settle(&mut self, document: &AgentDocument) {
        self.offer = Offer::from(&document.user_capabilities);
        self.offers.push(self.offer);
        self.enabled = document.enabled == Some(true);
    }

    /// Its key is the other one from now on.
    pub(crate) fn key_was_replaced(&mut self) {
        self.key = 1 - self.key;
        self.key_version += 1;
        self.session = None;
    }
}

fn public_key(number: usize) -> AgentAuthorization {
    AgentAuthorization {
        public_key: Some(KEYS[number].public().to_wire()),
        ..AgentAuthorization::default()
    }
}

async fn open(
    directory: &tempfile::TempDir,
    clock: &Arc<ManualClock>,
) -> Result<Arc<Service>, TestError> {
    PoolHandle::builder()
        .clock(Arc::clone(clock))
        .poll_hold(Duration::ZERO)
        .directory(directory.path())
        .open()
        .await
}
