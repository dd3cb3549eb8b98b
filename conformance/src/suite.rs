//! What every scenario works with: the service, a pool, and a list of what was made.

use crate::ask::Ask;
use crate::verdict::{Stop, Verdict, differs};
use dayfly_keys::agent_key::AgentKey;
use dayfly_keys::session_key::SessionKey;
use dayfly_wire::agent::Agent as AgentDocument;
use dayfly_wire::ids::{AgentId, ClientId, PoolId, RequestId, SessionId};
use dayfly_wire::queue::QueuedJob;
use dayfly_wire::secret::SecretText;
use dayfly_wire::session::Session as SessionDocument;
use dayfly_wire::token::{CLIENT_CREDENTIALS, JWT_BEARER, TokenAnswer};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// The longest that a service may hold a question, and then some.
const CALL: Duration = Duration::from_secs(100);
/// What every agent and pool of a run is called, with something random behind.
const PREFIX: &str = "dayfly-conformance-";
/// A capability that only one agent of a run has, so that a job comes to it and to no other.
pub(crate) const MARK: &str = "Dayfly.Conformance";

/// What to hold against the protocol.
pub struct Options {
    /// The base URL, with the collection or organisation.
    pub url: String,
    /// A personal access token that may manage agent pools.
    pub pat: SecretText,
    /// A pool that is there; without one a pool is made, and removed.
    pub pool: Option<String>,
    /// The project that jobs are queued to.
    pub project: String,
    /// Certificates (PEM) that the service's chain may end in.
    pub ca_bundle: Option<Vec<u8>>,
}

/// A service under test.
pub struct Suite {
    http: reqwest::Client,
    base: String,
    pub(crate) pat: SecretText,
    pub(crate) pool: PoolId,
    pub(crate) pool_name: String,
    pub(crate) project: String,
    pool_is_ours: bool,
    queues: bool,
    pub(crate) key: AgentKey,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    agents: Vec<AgentId>,
    requests: Vec<RequestId>,
}

/// An agent that was registered.
pub(crate) struct Agent {
    pub(crate) document: AgentDocument,
    pub(crate) client_id: ClientId,
    pub(crate) token_url: String,
}

/// A session with its key.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) key: Option<SessionKey>,
}

impl Suite {
    /// Looks at the service, and finds or makes the pool.
    pub async fn start(options: &Options) -> Result<Self, Stop> {
        let mut suite = Self {
            http: client(options)?,
            base: options.url.trim_end_matches('/').to_owned(),
            pat: options.pat.duplicate(),
            pool: PoolId(0),
            pool_name: options.pool.clone().unwrap_or_else(unique_name),
            project: options.project.clone(),
            pool_is_ours: options.pool.is_none(),
            queues: false,
            key: new_key()?,
            made: Mutex::default(),
        };
        suite.queues = suite.serves_our_calls().await?;
        suite.pool = suite.find_pool().await?;
        Ok(suite)
    }

    async fn find_pool(&self) -> Verdict<PoolId> {
        let pools = "/_apis/distributedtask/pools";
        let pool = if self.pool_is_ours {
            let draft = json!({"name": self.pool_name, "autoProvision": false});
            self.ask(Method::POST, pools)
                .json(&draft)
                .send()
                .await?
                .document()?
        } else {
            let found = self
                .get(&format!("{pools}?poolName={}", self.pool_name))
                .await?;
            found.list()?.pop().unwrap_or_default()
        };
        pool["id"].as_i64().map(PoolId).ok_or_else(|| {
            differs(format!(
                "there is no pool {:?} for this token",
                self.pool_name
            ))
        })
    }

    /// Whether jobs can be queued without a pipeline: a call that only our pool service has.
    async fn serves_our_calls(&self) -> Verdict<bool> {
        let path = format!("/{}/_apis/dayfly/jobs/0", self.project);
        let answer = self.get(&path).await?;
        holds!(
            answer.status != 401,
            "the token is not accepted: {}",
            answer.what
        );
        Ok(answer.status == 404 && answer.body.contains("TaskAgentJobNotFoundException"))
    }

    /// A call by nobody.
    pub(crate) fn anonymous(&self, method: Method, path: &str) -> Ask {
        Ask::new(&self.http, method, &format!("{}{path}", self.base))
    }

    /// A call to a URL that the service gave.
    pub(crate) fn anonymous_at(&self, method: Method, url: &str) -> Ask {
        Ask::new(&self.http, method, url)
    }

    /// A call with the personal access token.
    pub(crate) fn ask(&self, method: Method, path: &str) -> Ask {
        self.anonymous(method, path).basic("", &self.pat)
    }

    /// The commonest call.
    pub(crate) async fn get(&self, path: &str) -> Verdict<crate::answer::Answer> {
        self.ask(Method::GET, path).send().await
    }

    /// The path of something in the pool.
    pub(crate) fn in_pool(&self, path: &str) -> String {
        format!("/_apis/distributedtask/pools/{}{path}", self.pool)
    }

    /// Goes on if jobs can be queued here.
    pub(crate) fn needs_a_queue(&self) -> Verdict {
        if self.queues {
            return Ok(());
        }
        Err(Stop::Skipped(
            "needs a queued job, and the service has no call for queueing one".to_owned(),
        ))
    }

    /// A registration as clients send it. Where others' jobs might come, it is disabled.
    pub(crate) fn draft(&self) -> Value {
        let name = unique_name();
        json!({
            "id": 0,
            "name": name,
            "version": "4.260.0",
            "osDescription": "Linux 6.8.0",
            "enabled": self.queues,
            "status": 0,
            "maxParallelism": 1,
            "provisioningState": "Provisioned",
            "createdOn": "0001-01-01T00:00:00",
            "authorization": {"publicKey": self.key.public().to_wire()},
            "systemCapabilities": {"Agent.Version": "4.260.0", "Agent.OS": "Linux"},
            "userCapabilities": {MARK: name},
        })
    }

    /// Registers an agent.
    pub(crate) async fn register(&self) -> Verdict<Agent> {
        self.register_as(&self.draft()).await
    }

    /// Registers an agent from a draft.
    pub(crate) async fn register_as(&self, draft: &Value) -> Verdict<Agent> {
        let request = self.ask(Method::POST, &self.in_pool("/agents")).json(draft);
        let document: AgentDocument = request.send().await?.read()?;
        self.made().agents.push(document.id);
        let authorization = document.authorization.clone().unwrap_or_default();
        Ok(Agent {
            client_id: authorization
                .client_id
                .ok_or_else(|| differs("a registration without authorization.clientId"))?,
            token_url: authorization
                .authorization_url
                .ok_or_else(|| differs("a registration without authorization.authorizationUrl"))?,
            document,
        })
    }

    /// An agent that the service made and should not have.
    pub(crate) fn remember_agent(&self, answer: &crate::answer::Answer) {
        let document: Option<AgentDocument> = serde_json::from_str(&answer.body).ok();
        self.made().agents.extend(document.map(|agent| agent.id));
    }

    /// Asks for a token with an assertion.
    pub(crate) async fn exchange(
        &self,
        agent: &Agent,
        assertion: &SecretText,
    ) -> Verdict<crate::answer::Answer> {
        let form = [
            ("grant_type", CLIENT_CREDENTIALS),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", assertion.expose()),
        ];
        let request = self.anonymous_at(Method::POST, &agent.token_url);
        request.form(&form).send().await
    }

    /// An assertion of the agent's, signed with `key` for `audience` at `at`.
    pub(crate) fn assertion(
        &self,
        agent: &Agent,
        key: &AgentKey,
        audience: &str,
        at: Timestamp,
    ) -> Verdict<SecretText> {
        key.sign_assertion(agent.client_id, audience, Uuid::new_v4(), at)
            .map_err(|error| differs(format!("failed to sign: {error}")))
    }

    /// A listen token.
    pub(crate) async fn listen_token(&self, agent: &Agent) -> Verdict<SecretText> {
        let assertion = self.assertion(agent, &self.key, &agent.token_url, now())?;
        let answer: TokenAnswer = self.exchange(agent, &assertion).await?.read()?;
        Ok(answer.access_token)
    }

    /// Asks for a session.
    pub(crate) async fn ask_session(
        &self,
        agent: &Agent,
        token: &SecretText,
        sha256: bool,
    ) -> Verdict<crate::answer::Answer> {
        let asked = json!({
            "sessionId": Uuid::nil(),
            "ownerName": "conformance",
            "agent": {"id": agent.document.id, "name": agent.document.name, "version": "4.260.0",
                "osDescription": "Linux 6.8.0", "status": 0, "provisioningState": null},
            "systemCapabilities": {"Agent.Version": "4.260.0", "Agent.OS": "Linux"},
            "agentCanHandleOaepSHA256": sha256,
        });
        let path = self.in_pool("/sessions");
        self.anonymous(Method::POST, &path)
            .bearer(token)
            .json(&asked)
            .send()
            .await
    }

    /// Opens a session.
    pub(crate) async fn open(
        &self,
        agent: &Agent,
        token: &SecretText,
        sha256: bool,
    ) -> Verdict<Session> {
        let document: SessionDocument = self.ask_session(agent, token, sha256).await?.read()?;
        holds!(
            document.session_id != SessionId::default(),
            "a session without a sessionId"
        );
        let key = document.encryption_key.map(|wrapped| {
            self.key
                .unwrap_session_key(&wrapped)
                .map_err(|error| differs(format!("the session's key cannot be unwrapped: {error}")))
        });
        Ok(Session {
            id: document.session_id,
            key: key.transpose()?,
        })
    }

    /// Closes a session.
    pub(crate) async fn close(&self, session: &Session, token: &SecretText) -> Verdict {
        let path = self.in_pool(&format!("/sessions/{}", session.id));
        let request = self.anonymous(Method::DELETE, &path).bearer(token);
        request.send().await?.empty()
    }

    /// Queues a job that only this agent can take.
    pub(crate) async fn queue(&self, agent: &Agent) -> Verdict<QueuedJob> {
        let demand = format!("{MARK} -equals {}", agent.document.name);
        self.queue_demanding(&[demand.as_str()]).await
    }

    /// Queues a job.
    pub(crate) async fn queue_demanding(&self, demands: &[&str]) -> Verdict<QueuedJob> {
        self.needs_a_queue()?;
        let path = format!("/{}/_apis/dayfly/jobs", self.project);
        let job = json!({
            "pool": self.pool_name,
            "name": "conformance",
            "demands": demands,
            "variables": {"greeting": "hello"},
            "steps": [{"script": "echo $(greeting)"}],
        });
        let request = self.ask(Method::POST, &path).json(&job);
        let queued: QueuedJob = request.send().await?.read()?;
        self.made().requests.push(queued.request_id);
        Ok(queued)
    }

    /// Removes what a scenario made. What cannot be removed now is tried again at the end.
    pub async fn tidy(&self) {
        let requests = std::mem::take(&mut self.made().requests);
        for request in requests {
            let path = self.in_pool(&format!("/jobrequests/{request}?result=canceled"));
            let _ = self.ask(Method::DELETE, &path).send().await;
        }
        let agents = std::mem::take(&mut self.made().agents);
        for agent in agents {
            let path = self.in_pool(&format!("/agents/{agent}"));
            let gone = self.ask(Method::DELETE, &path).send().await;
            if !gone.is_ok_and(|answer| (200..300).contains(&answer.status) || answer.status == 404)
            {
                self.made().agents.push(agent);
            }
        }
    }

    /// Removes everything; answers what is left, for a person.
    pub async fn finish(&self) -> Vec<String> {
        self.tidy().await;
        let mut left: Vec<String> = self
            .made()
            .agents
            .iter()
            .map(|agent| format!("agent {agent} of pool {}", self.pool_name))
            .collect();
        if self.pool_is_ours {
            let path = self.in_pool("");
            let gone = self.ask(Method::DELETE, &path).send().await;
            if !gone.is_ok_and(|answer| (200..300).contains(&answer.status)) {
                left.push(format!(
                    "pool {}: the service does not remove it",
                    self.pool_name
                ));
            }
        }
        left
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn client(options: &Options) -> Verdict<reqwest::Client> {
    // Whoever uses this as a library may have installed it already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let unusable = |error: reqwest::Error| differs(format!("failed to make a client: {error}"));
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("dayfly-conformance/", env!("CARGO_PKG_VERSION")))
        .timeout(CALL);
    if let Some(pem) = &options.ca_bundle {
        let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(unusable)?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(unusable)
}

pub(crate) fn new_key() -> Verdict<AgentKey> {
    AgentKey::generate().map_err(|error| differs(format!("failed to make a key: {error}")))
}

pub(crate) fn unique_name() -> String {
    let random = Uuid::new_v4().simple().to_string();
    format!("{PREFIX}{}", random.get(..10).unwrap_or_default())
}

#[allow(clippy::disallowed_methods)] // Assertions are signed with the machine's time.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
