//! A service in this process and an agent that speaks to it over HTTP.

// Each test file uses its own part of this; a helper of a test may fail like the test itself.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use dayfly_client::{AgentCredential, Client, Credential};
use dayfly_keys::agent_key::AgentKey;
use dayfly_keys::session_key::SessionKey;
use dayfly_pool_service::clock::{Clock, SystemClock};
use dayfly_pool_service::rules::limits::Limits as Bounds;
use dayfly_pool_service::testing::{ALL_SCOPES, PoolHandle};
use dayfly_wire::agent::{Agent, AgentAuthorization, Capabilities, Property, SINGLE_USE};
use dayfly_wire::event::{JOB_COMPLETED, JobEvent, TaskResult};
use dayfly_wire::ids::{MessageId, PoolId, RequestId, SessionId};
use dayfly_wire::job::{ACCESS_TOKEN, JobMessage, SYSTEM_CONNECTION};
use dayfly_wire::message::{Envelope, JobCancellation, kind};
use dayfly_wire::queue::QueuedJob;
use dayfly_wire::secret::SecretText;
use dayfly_wire::session::Session;
use std::path::Path;
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

/// How long a long poll of a test is held when nothing comes.
pub(crate) const HOLD: Duration = Duration::from_millis(150);
/// The longest that anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// A service whose long polls are short, with a pool and an administrator.
pub(crate) struct Fixture {
    pub(crate) service: PoolHandle,
    pub(crate) pool: PoolId,
    pub(crate) admin: Client,
    pub(crate) pat: SecretText,
    pub(crate) authority: Option<String>,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::on(PoolHandle::builder().poll_hold(HOLD).start().await.unwrap()).await
    }

    /// With a clock that goes only by `advance`. It starts now, because clients sign with the machine's time.
    pub(crate) async fn with_manual_clock() -> Self {
        let builder = PoolHandle::builder()
            .poll_hold(HOLD)
            .manual_clock(SystemClock.now());
        Self::on(builder.start().await.unwrap()).await
    }

    /// With long polls of some length.
    pub(crate) async fn with_poll_hold(hold: Duration) -> Self {
        Self::on(PoolHandle::builder().poll_hold(hold).start().await.unwrap()).await
    }

    /// With other limits.
    pub(crate) async fn with_limits(limits: Bounds) -> Self {
        let builder = PoolHandle::builder().poll_hold(HOLD).bounds(limits);
        Self::on(builder.start().await.unwrap()).await
    }

    /// On a directory that stays when the service is restarted.
    pub(crate) async fn in_directory(directory: &Path) -> Self {
        let builder = PoolHandle::builder().poll_hold(HOLD).directory(directory);
        Self::on(builder.start().await.unwrap()).await
    }

    /// Ends the service and starts another on its directory.
    pub(crate) async fn restart(mut self, directory: &Path) -> Self {
        self.service.stop().await.unwrap();
        let builder = PoolHandle::builder().poll_hold(HOLD).directory(directory);
        let service = builder.start().await.unwrap();
        Self {
            admin: client(service.url(), Credential::Pat(self.pat.duplicate())),
            pool: self.pool,
            pat: self.pat.duplicate(),
            authority: self.authority,
            service,
        }
    }

    /// The bytes at a path.
    pub(crate) async fn bytes(
        &self,
        path: &str,
        bearer: &SecretText,
        headers: &[(&str, &str)],
    ) -> Vec<u8> {
        let url = format!("{}{path}", self.service.url());
        let mut request = http().get(url).timeout(DEADLINE);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.bearer_auth(bearer.expose()).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        response.bytes().await.unwrap().to_vec()
    }

    /// With long polls as long as outside tests.
    pub(crate) async fn with_long_polls() -> Self {
        Self::on(PoolHandle::start().await.unwrap()).await
    }

    /// With long polls as long as outside tests, and other limits.
    pub(crate) async fn with_long_polls_and(limits: Bounds) -> Self {
        Self::on(PoolHandle::builder().bounds(limits).start().await.unwrap()).await
    }

    /// Waits until somebody waits for a message.
    pub(crate) async fn wait_for_a_parked_poll(&self) {
        within("a parked poll", async {
            while self.service.service().wakes.waiting() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    pub(crate) async fn on(service: PoolHandle) -> Self {
        Self::with_authority(service, None).await
    }

    /// With a service whose certificate ends in an authority of its own.
    pub(crate) async fn with_authority(service: PoolHandle, authority: Option<String>) -> Self {
        let pool = service.create_pool("linux").await.unwrap();
        let pat = service.pat(ALL_SCOPES).await.unwrap();
        let credential = Credential::Pat(pat.duplicate());
        let admin = client_that_trusts(service.url(), credential, authority.clone());
        Self {
            service,
            pool,
            admin,
            pat,
            authority,
        }
    }

    pub(crate) async fn register(&self, name: &str) -> TestAgent {
        self.register_as(name, Agent::default()).await
    }

    pub(crate) async fn register_single_use(&self, name: &str) -> TestAgent {
        let draft = Agent {
            properties: [(SINGLE_USE.to_owned(), Property::boolean(true))].into(),
            ..Agent::default()
        };
        self.register_as(name, draft).await
    }

    pub(crate) async fn register_as(&self, name: &str, draft: Agent) -> TestAgent {
        let key = Arc::new(AgentKey::generate().unwrap());
        self.register_with_key(name, draft, key).await
    }

    pub(crate) async fn register_with_key(
        &self,
        name: &str,
        draft: Agent,
        key: Arc<AgentKey>,
    ) -> TestAgent {
        let draft = Agent {
            name: name.to_owned(),
            version: Some("4.260.0".to_owned()),
            authorization: Some(AgentAuthorization {
                public_key: Some(key.public().to_wire()),
                ..AgentAuthorization::default()
            }),
            ..draft
        };
        self.register_draft(self.pool, draft, key).await
    }

    /// Registers an agent in another pool than the fixture's.
    pub(crate) async fn register_in(&self, pool: PoolId, name: &str) -> TestAgent {
        let key = Arc::new(AgentKey::generate().unwrap());
        let draft = Agent {
            name: name.to_owned(),
            authorization: Some(AgentAuthorization {
                public_key: Some(key.public().to_wire()),
                ..AgentAuthorization::default()
            }),
            ..Agent::default()
        };
        self.register_draft(pool, draft, key).await
    }

    async fn register_draft(&self, pool: PoolId, draft: Agent, key: Arc<AgentKey>) -> TestAgent {
        let record = self.admin.register_agent(pool, &draft).await.unwrap();
        let credential = agent_credential(&record, Arc::clone(&key));
        let client = client_that_trusts(self.service.url(), credential, self.authority.clone());
        TestAgent {
            key,
            record,
            client,
            pool,
        }
    }

    pub(crate) async fn queue(&self) -> QueuedJob {
        self.queue_with(serde_json::json!({})).await
    }

    /// Queues a job that says `members` beside a pool and a step.
    pub(crate) async fn queue_with(&self, members: serde_json::Value) -> QueuedJob {
        let mut job = serde_json::json!({"pool": "linux", "steps": [{"script": "echo hello"}]});
        for (name, value) in members.as_object().unwrap() {
            job[name] = value.clone();
        }
        self.service.queue_json(job).await.unwrap()
    }

    pub(crate) async fn request(&self, id: RequestId) -> dayfly_wire::request::JobRequest {
        self.admin.request(self.pool, id).await.unwrap()
    }

    /// An HTTP call with a body of any kind, and other headers.
    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        bearer: Option<&SecretText>,
        headers: &[(&str, &str)],
        body: Raw<'_>,
    ) -> Answer {
        let mut request = http()
            .request(
                method.parse().unwrap(),
                format!("{}{path}", self.service.url()),
            )
            .body(body.0.to_vec());
        if let Some(token) = bearer {
            request = request.bearer_auth(token.expose());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request).await
    }

    /// An HTTP call with whatever credential.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        bearer: Option<&SecretText>,
        body: Option<serde_json::Value>,
    ) -> Answer {
        let authorization = bearer.map(|token| format!("Bearer {}", token.expose()));
        let url = format!("{}{path}", self.service.url());
        call_at(&url, method, authorization.as_deref(), body).await
    }

    /// Reads an address as an administrator.
    pub(crate) async fn call_url(&self, url: &str) -> Answer {
        Answer::of(http().get(url).bearer_auth(self.pat.expose())).await
    }
}

/// An HTTP call with whatever `Authorization`.
pub(crate) async fn call_at(
    url: &str,
    method: &str,
    authorization: Option<&str>,
    body: Option<serde_json::Value>,
) -> Answer {
    let method = method.parse().unwrap();
    let mut request = http().request(method, url);
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    Answer::of(request).await
}

/// A body that is no document.
pub(crate) struct Raw<'a>(pub(crate) &'a [u8]);

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.timeout(DEADLINE).send().await.unwrap();
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        Self {
            status,
            headers,
            body: response.text().await.unwrap(),
        }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    pub(crate) fn type_key(&self) -> String {
        self.json()["typeKey"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// An agent with its key.
pub(crate) struct TestAgent {
    pub(crate) key: Arc<AgentKey>,
    pub(crate) record: Agent,
    pub(crate) client: Client,
    pub(crate) pool: PoolId,
}

/// A session with its unwrapped key.
pub(crate) struct OpenSession {
    pub(crate) id: SessionId,
    pub(crate) key: SessionKey,
    pub(crate) document: Session,
}

/// A job as it came out of the queue.
pub(crate) struct Taken {
    pub(crate) envelope: Envelope,
    pub(crate) message: JobMessage,
    pub(crate) token: SecretText,
}

impl TestAgent {
    pub(crate) async fn open(&self) -> OpenSession {
        self.open_with(true, Capabilities::new()).await
    }

    pub(crate) async fn open_with(&self, sha256: bool, capabilities: Capabilities) -> OpenSession {
        let asked = self.asked_session(sha256, capabilities);
        let document = self.client.create_session(self.pool, &asked).await.unwrap();
        let wrapped = document.encryption_key.as_ref().unwrap();
        OpenSession {
            id: document.session_id,
            key: self.key.unwrap_session_key(wrapped).unwrap(),
            document,
        }
    }

    /// Ends a session and opens another: an agent that said it leaves takes nothing in the old one.
    pub(crate) async fn reopen(&self, session: &OpenSession) -> OpenSession {
        let closed = self.client.delete_session(self.pool, session.id).await;
        closed.unwrap();
        self.open().await
    }

    pub(crate) fn asked_session(&self, sha256: bool, capabilities: Capabilities) -> Session {
        Session {
            owner_name: "test-host".to_owned(),
            agent: dayfly_wire::agent::AgentReference {
                id: self.record.id,
                name: self.record.name.clone(),
                ..Default::default()
            },
            system_capabilities: capabilities,
            agent_can_handle_oaep_sha256: sha256,
            ..Session::default()
        }
    }

    pub(crate) async fn poll(&self, session: &OpenSession) -> Option<Envelope> {
        self.client
            .next_message(self.pool, session.id, None)
            .await
            .unwrap()
    }

    /// Polls until a job comes; it stays in the queue.
    pub(crate) async fn see_job(&self, session: &OpenSession) -> Taken {
        let envelope = within("a job message", async {
            loop {
                if let Some(envelope) = self.poll(session).await {
                    return envelope;
                }
            }
        })
        .await;
        assert_eq!(envelope.message_type, kind::JOB);
        let body = decrypt(session, &envelope);
        let message: JobMessage = serde_json::from_slice(&body).unwrap();
        let endpoint = &message.resources.endpoints[0];
        assert_eq!(endpoint.name, SYSTEM_CONNECTION);
        let authorization = endpoint.authorization.as_ref().unwrap();
        let token = authorization.parameters[ACCESS_TOKEN].duplicate();
        Taken {
            envelope,
            message,
            token,
        }
    }

    /// Takes a job: receives, acknowledges and renews it.
    pub(crate) async fn take_job(&self, session: &OpenSession) -> Taken {
        let taken = self.see_job(session).await;
        self.acknowledge(session, taken.envelope.message_id).await;
        self.client
            .renew_request(self.pool, taken.message.request_id)
            .await
            .unwrap();
        taken
    }

    pub(crate) async fn acknowledge(&self, session: &OpenSession, id: MessageId) {
        self.client
            .acknowledge(self.pool, session.id, id)
            .await
            .unwrap();
    }

    /// The cancellation that waits in the queue; that somebody looks at the job's log comes in between.
    pub(crate) async fn see_cancellation(&self, session: &OpenSession) -> JobCancellation {
        let mut envelope = self.poll(session).await.expect("a cancellation waits");
        while envelope.message_type == kind::METADATA {
            self.acknowledge(session, envelope.message_id).await;
            envelope = self.poll(session).await.expect("a cancellation waits");
        }
        assert_eq!(envelope.message_type, kind::CANCELLATION);
        serde_json::from_slice(&decrypt(session, &envelope)).unwrap()
    }

    /// A listen token, asked for as an agent does.
    pub(crate) async fn listen_token(&self, fixture: &Fixture) -> SecretText {
        let authorization = self.record.authorization.as_ref().unwrap();
        let url = authorization.authorization_url.as_ref().unwrap();
        let client_id = authorization.client_id.unwrap();
        let jti = uuid::Uuid::new_v4();
        let assertion = self
            .key
            .sign_assertion(client_id, url, jti, fixture.service.service().now())
            .unwrap();
        let answer = ask_token(url, assertion.expose()).await;
        assert_eq!(answer.0, 200, "{}", answer.1);
        answer.1["access_token"].as_str().unwrap().into()
    }
}

impl Taken {
    /// A client with the job's token.
    pub(crate) fn client(&self, fixture: &Fixture) -> Client {
        client(
            fixture.service.url(),
            Credential::Bearer(self.token.duplicate()),
        )
    }

    pub(crate) fn scope(&self) -> dayfly_client::PlanScope {
        dayfly_client::PlanScope {
            project: self.message.plan.scope_identifier,
            hub: self.message.plan.plan_type.clone(),
            plan: self.message.plan.plan_id,
        }
    }

    pub(crate) fn completed(&self, result: TaskResult) -> JobEvent {
        JobEvent {
            name: JOB_COMPLETED.to_owned(),
            job_id: self.message.job_id,
            request_id: self.message.request_id,
            result: Some(result),
            agent_shutting_down: true,
        }
    }

    /// Reports the end of the job.
    pub(crate) async fn complete(&self, fixture: &Fixture, result: TaskResult) {
        self.client(fixture)
            .raise_event(&self.scope(), &self.completed(result))
            .await
            .unwrap();
    }
}

pub(crate) fn decrypt(session: &OpenSession, envelope: &Envelope) -> Vec<u8> {
    let iv = envelope.iv.as_ref().expect("the body is encrypted");
    session.key.decrypt(iv, &envelope.body).unwrap().to_vec()
}

/// Posts an assertion; answers status and document.
pub(crate) async fn ask_token(url: &str, assertion: &str) -> (u16, serde_json::Value) {
    let form = [
        ("grant_type", dayfly_wire::token::CLIENT_CREDENTIALS),
        ("client_assertion_type", dayfly_wire::token::JWT_BEARER),
        ("client_assertion", assertion),
    ];
    let response = http().post(url).form(&form).send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

pub(crate) fn client(url: &str, credential: Credential) -> Client {
    client_that_trusts(url, credential, None)
}

fn client_that_trusts(url: &str, credential: Credential, authority: Option<String>) -> Client {
    install_tls();
    let client = Client::builder(url).credential(credential);
    client.ca_bundle(authority).build().unwrap()
}

pub(crate) fn agent_client(url: &str, record: &Agent, key: Arc<AgentKey>) -> Client {
    client(url, agent_credential(record, key))
}

fn agent_credential(record: &Agent, key: Arc<AgentKey>) -> Credential {
    let authorization = record.authorization.as_ref().unwrap();
    let audience = authorization.authorization_url.clone().unwrap();
    Credential::Agent(AgentCredential {
        key,
        client_id: authorization.client_id.unwrap(),
        token_url: audience.clone(),
        audience,
    })
}

/// Waits with a deadline that says what for.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("waited {DEADLINE:?} for {what}"))
}

pub(crate) fn capabilities(pairs: &[(&str, &str)]) -> Capabilities {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

pub(crate) fn http() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    install_tls();
    // A pooled connection belongs to the runtime of the test that opened it.
    CLIENT.get_or_init(|| {
        reqwest::Client::builder()
            .pool_max_idle_per_host(0)
            .build()
            .unwrap()
    })
}

pub(crate) fn install_tls() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}
