//! Clients that work against a service which is killed all the time. They repeat what a client may repeat, and write
//! down what they were told.

use crate::ledger::Ledger;
use dayfly_client::{AgentCredential, Client, Credential, Error, PlanScope};
use dayfly_keys::agent_key::AgentKey;
use dayfly_keys::session_key::SessionKey;
use dayfly_wire::agent::{Agent, AgentAuthorization, AgentReference};
use dayfly_wire::event::{JOB_COMPLETED, JobEvent, TaskResult};
use dayfly_wire::ids::{MessageId, PoolId, RequestId, SessionId};
use dayfly_wire::job::{ACCESS_TOKEN, JobMessage};
use dayfly_wire::session::Session;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

const LINES: usize = 4;
/// Jobs that may be open at once: enough for every agent to be busy.
const OPEN: usize = 20;
const PAUSE: Duration = Duration::from_millis(10);
/// How long a call is repeated. On a slow machine a service lives hardly longer than it takes to start, so that one
/// client may miss many of its lives.
const PATIENCE: Duration = Duration::from_secs(300);

/// What every client of the load knows.
pub(crate) struct Load {
    pub(crate) url: String,
    pub(crate) admin: Client,
    pub(crate) pool: PoolId,
    pub(crate) ledger: Ledger,
    pub(crate) key: Arc<AgentKey>,
    /// No further job is queued.
    pub(crate) draining: AtomicBool,
    /// Everybody stops.
    pub(crate) over: AtomicBool,
    /// Agents that have a session.
    pub(crate) listening: AtomicUsize,
}

/// An agent with its session.
struct Listener {
    record: Agent,
    client: Client,
    session: SessionId,
    key: SessionKey,
    last: Option<MessageId>,
}

impl Load {
    /// Queues jobs, each once; whether one was queued whose answer was lost does not matter.
    pub(crate) async fn keep_queueing(self: Arc<Self>) {
        let job = serde_json::json!({"pool": "linux", "steps": [{"script": "true"}]});
        let job = serde_json::from_value(job).unwrap();
        while !self.draining.load(Ordering::Relaxed) {
            if self.ledger.open() < OPEN {
                match self.admin.queue_job("demo", &job).await {
                    Ok(queued) => self.ledger.note(queued.request_id, |job| job.queued = true),
                    Err(error) => assert!(error.is_retryable(), "queue: {error}"),
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Takes one job after the other.
    pub(crate) async fn keep_working(self: Arc<Self>) {
        let mut listener = self.listen().await;
        self.listening.fetch_add(1, Ordering::Relaxed);
        while !self.over.load(Ordering::Relaxed) {
            let message = listener
                .client
                .next_message(self.pool, listener.session, listener.last)
                .await;
            match message {
                Ok(Some(envelope)) => {
                    let iv = envelope.iv.as_ref().unwrap();
                    let body = listener.key.decrypt(iv, &envelope.body).unwrap();
                    let message: JobMessage = serde_json::from_slice(&body).unwrap();
                    listener.last = Some(envelope.message_id);
                    self.work(&listener, envelope.message_id, &message).await;
                }
                Ok(None) => {}
                Err(error) => {
                    assert!(error.is_retryable(), "poll: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Registers an agent and opens its session. When an answer was lost the agent is removed, and another one is made:
    /// a session whose key nobody has would hold jobs until it expires.
    async fn listen(&self) -> Listener {
        loop {
            let draft = Agent {
                name: format!("agent-{}", Uuid::new_v4().simple()),
                authorization: Some(AgentAuthorization {
                    public_key: Some(self.key.public().to_wire()),
                    ..AgentAuthorization::default()
                }),
                ..Agent::default()
            };
            let Ok(record) = self.admin.register_agent(self.pool, &draft).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let client = self.agent_client(&record);
            let asked = Session {
                agent: AgentReference {
                    id: record.id,
                    ..AgentReference::default()
                },
                ..Session::default()
            };
            if let Ok(opened) = client.create_session(self.pool, &asked).await {
                let wrapped = opened.encryption_key.as_ref().unwrap();
                return Listener {
                    key: self.key.unwrap_session_key(wrapped).unwrap(),
                    session: opened.session_id,
                    record,
                    client,
                    last: None,
                };
            }
            repeat("remove the agent", || {
                self.admin.delete_agent(self.pool, record.id)
            })
            .await;
        }
    }

    async fn work(&self, listener: &Listener, id: MessageId, message: &JobMessage) {
        let request = message.request_id;
        self.ledger
            .note(request, |job| job.agents.insert(listener.record.id));
        let (client, session) = (&listener.client, listener.session);
        repeat("acknowledge", || client.acknowledge(self.pool, session, id)).await;
        repeat("renew", || client.renew_request(self.pool, request)).await;
        let scope = PlanScope {
            project: message.plan.scope_identifier,
            hub: message.plan.plan_type.clone(),
            plan: message.plan.plan_id,
        };
        let token = &message.resources.endpoints[0].authorization;
        let token = token.as_ref().unwrap().parameters[ACCESS_TOKEN].duplicate();
        let worker = self.client(Credential::Bearer(token));
        self.write(&worker, &scope, request).await;
        self.end(&worker, &scope, message).await;
    }

    /// Appending is not repeated: nobody could tell a line that was written twice from two lines.
    async fn write(&self, worker: &Client, scope: &PlanScope, request: RequestId) {
        let log = repeat("create a log", || worker.create_log(scope, "logs\\a")).await;
        self.ledger
            .note(request, |job| job.log = Some((scope.clone(), log.id)));
        for number in 0..LINES {
            let line = format!("line {number} of {request}");
            self.ledger
                .note(request, |job| job.sent.insert(line.clone()));
            let text = format!("{line}\n");
            match worker.append_log(scope, log.id, text.into()).await {
                Ok(_) => self.ledger.note(request, |job| job.told.push(line)),
                Err(error) => assert!(error.is_retryable(), "append: {error}"),
            }
        }
    }

    async fn end(&self, worker: &Client, scope: &PlanScope, message: &JobMessage) {
        let request = message.request_id;
        let result = match request.0 % 2 {
            0 => TaskResult::Succeeded,
            _ => TaskResult::Failed,
        };
        let event = JobEvent {
            name: JOB_COMPLETED.to_owned(),
            job_id: message.job_id,
            request_id: request,
            result: Some(result),
            agent_shutting_down: false,
        };
        loop {
            match worker.raise_event(scope, &event).await {
                Ok(()) => break,
                // The one before came through, and ended the job with its token.
                Err(error) if error.is_credential_rejected() => {
                    let seen = repeat("read", || self.admin.request(self.pool, request)).await;
                    assert!(
                        seen.result.is_some(),
                        "{request}: the token died before the job"
                    );
                    break;
                }
                Err(error) => assert!(error.is_retryable(), "end: {error}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.ledger.note(request, |job| job.result = Some(result));
    }

    fn agent_client(&self, record: &Agent) -> Client {
        let authorization = record.authorization.as_ref().unwrap();
        let audience = authorization.authorization_url.clone().unwrap();
        self.client(Credential::Agent(AgentCredential {
            key: Arc::clone(&self.key),
            client_id: authorization.client_id.unwrap(),
            token_url: audience.clone(),
            audience,
        }))
    }

    fn client(&self, credential: Credential) -> Client {
        let builder = Client::builder(&self.url).credential(credential);
        builder.build().unwrap()
    }
}

/// Makes a call until it is answered.
pub(crate) async fn repeat<T, F>(what: &str, call: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, Error>>,
{
    let until = Instant::now() + PATIENCE;
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => {
                assert!(error.is_retryable(), "{what}: {error}");
                let waits = Instant::now() < until;
                assert!(waits, "{what}: no answer in {PATIENCE:?}: {error}");
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
