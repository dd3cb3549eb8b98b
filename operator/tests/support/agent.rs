//! A stand-in for the agent: claims its identity, listens, takes one job and leaves, by the real protocols. What it runs
//! is a pause.

use super::kubelet::{Going, Node};
use dayfly_client::{AgentCredential, Client, Credential, Error, PlanScope};
use dayfly_keys::agent_key::AgentKey;
use dayfly_keys::session_key::SessionKey;
use dayfly_wire::agent::AgentReference;
use dayfly_wire::error::key;
use dayfly_wire::event::{JOB_COMPLETED, JobEvent, TaskResult};
use dayfly_wire::identity::{AUDIENCE, Accepted, Claim, ClaimedIdentity, Finished};
use dayfly_wire::ids::{PoolId, SessionId};
use dayfly_wire::job::{ACCESS_TOKEN, JobMessage, SYSTEM_CONNECTION};
use dayfly_wire::message::{Envelope, kind};
use dayfly_wire::session::Session;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// How long a claim, a session and news are tried.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it waits before it asks again.
const AGAIN: Duration = Duration::from_millis(100);
/// How long the operator may take to answer that a job was taken before its end is reported.
const ACCEPTED_LIMIT: Duration = Duration::from_secs(5);
/// How long the end waits for the operator to hear of it.
const FINISHED_LIMIT: Duration = Duration::from_secs(5);

/// The process's exit code.
pub(crate) struct Exit(pub(crate) i32);

/// A step that cannot be done.
struct Failed(i32);

/// One agent.
pub(crate) struct StandIn {
    node: Node,
    name: String,
    uid: String,
    account: String,
    operator: String,
    http: reqwest::Client,
    going: watch::Receiver<Going>,
}

struct Listening {
    client: Client,
    key: Arc<AgentKey>,
    pool: PoolId,
    agent: AgentReference,
    callback: String,
}

struct Open {
    id: SessionId,
    key: SessionKey,
}

impl StandIn {
    /// The agent of a pod.
    pub(crate) fn new(node: Node, pod: &Pod, going: watch::Receiver<Going>) -> Self {
        let spec = pod.spec.as_ref().unwrap();
        let container = spec.containers.iter().find(|one| one.name == "agent");
        let environment = container.unwrap().env.clone().unwrap_or_default();
        let variable = |name: &str| {
            let found = environment.iter().find(|variable| variable.name == name);
            found.and_then(|variable| variable.value.clone()).unwrap()
        };
        let authority = variable("DAYFLY_OPERATOR_CA");
        let authority = reqwest::Certificate::from_pem(authority.as_bytes()).unwrap();
        let http = reqwest::Client::builder()
            .tls_certs_only([authority])
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build();
        Self {
            node,
            name: pod.name_any(),
            uid: pod.uid().unwrap(),
            account: spec
                .service_account_name
                .clone()
                .unwrap_or_else(|| "default".to_owned()),
            operator: variable("DAYFLY_OPERATOR_URL"),
            http: http.unwrap(),
            going,
        }
    }

    /// From the container's start to its end.
    pub(crate) async fn live(mut self) -> Exit {
        match self.work().await {
            Ok(()) => Exit(0),
            Err(Failed(code)) => Exit(code),
        }
    }

    async fn work(&mut self) -> Result<(), Failed> {
        let listening = self.claim().await?;
        let mut session = self.open(&listening).await?;
        let told = self.spawn_news(&listening, "listening", None::<()>);
        let Some(job) = self.wait_for_a_job(&listening, &mut session).await? else {
            let _ = listening
                .client
                .delete_session(listening.pool, session.id)
                .await;
            told.abort();
            return self.finished(&listening, None).await;
        };
        self.run(&listening, &session, &job).await?;
        let _ = listening
            .client
            .delete_session(listening.pool, session.id)
            .await;
        self.finished(&listening, Some(TaskResult::Succeeded)).await
    }

    async fn token(&self) -> Result<String, Failed> {
        let accounts: Api<ServiceAccount> =
            Api::namespaced(self.node.kube.clone(), &self.node.namespace);
        let asked = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![AUDIENCE.to_owned()],
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(self.name.clone()),
                    uid: Some(self.uid.clone()),
                }),
                expiration_seconds: None,
            },
            ..TokenRequest::default()
        };
        let made = accounts
            .create_token_request(&self.account, &PostParams::default(), &asked)
            .await
            .map_err(|_| Failed(70))?;
        Ok(made.status.unwrap().token)
    }

    async fn claim(&self) -> Result<Listening, Failed> {
        let claim = Claim {
            identity: self.name.clone(),
            nonce: dayfly_keys::random::base32_name(32),
        };
        let token = self.token().await?;
        let answer = self.tell("claim", &token, Some(&claim), PATIENCE).await;
        let identity: ClaimedIdentity = serde_json::from_slice(&answer?).map_err(|_| Failed(71))?;
        let key = AgentKey::from_base64(&identity.private_key).map_err(|_| Failed(72))?;
        let key = Arc::new(key);
        let credential = Credential::Agent(AgentCredential {
            key: Arc::clone(&key),
            client_id: identity.client_id,
            audience: identity.authorization_url.clone(),
            token_url: identity.token_url.clone(),
        });
        let client = Client::builder(&identity.server_url)
            .credential(credential)
            .user_agent("dayfly-agent/test")
            .build();
        Ok(Listening {
            client: client.map_err(|_| Failed(73))?,
            key,
            pool: identity.pool_id,
            agent: AgentReference {
                id: identity.agent_id,
                name: identity.agent_name.clone(),
                version: Some(identity.agent_version.clone()),
                ..AgentReference::default()
            },
            callback: identity.callback_token.expose().to_owned(),
        })
    }

    async fn open(&self, listening: &Listening) -> Result<Open, Failed> {
        let asked = Session {
            owner_name: self.name.clone(),
            agent: listening.agent.clone(),
            agent_can_handle_oaep_sha256: true,
            ..Session::default()
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match listening
                .client
                .create_session(listening.pool, &asked)
                .await
            {
                Ok(opened) => {
                    let wrapped = opened.encryption_key.ok_or(Failed(74))?;
                    let key = listening.key.unwrap_session_key(&wrapped);
                    return Ok(Open {
                        id: opened.session_id,
                        key: key.map_err(|_| Failed(75))?,
                    });
                }
                Err(error) if may_pass(&error) && Instant::now() < deadline => sleep(AGAIN).await,
                Err(_) => return Err(Failed(5)),
            }
        }
    }

    async fn wait_for_a_job(
        &mut self,
        listening: &Listening,
        session: &mut Open,
    ) -> Result<Option<Job>, Failed> {
        let mut last = None;
        loop {
            let polled = tokio::select! {
                polled = listening.client.next_message(listening.pool, session.id, last) => polled,
                _ = self.going.wait_for(|going| *going != Going::No) => return Ok(None),
            };
            match polled {
                Ok(None) => {}
                Ok(Some(envelope)) => {
                    last = Some(envelope.message_id);
                    if let Some(job) = Job::read(session, &envelope) {
                        return Ok(Some(job));
                    }
                }
                Err(error) if error.type_key() == Some(key::SESSION_EXPIRED) => {
                    *session = self.open(listening).await?;
                    last = None;
                }
                Err(error) if may_pass(&error) => sleep(AGAIN).await,
                Err(_) => return Err(Failed(5)),
            }
        }
    }

    async fn run(&self, listening: &Listening, session: &Open, job: &Job) -> Result<(), Failed> {
        let (client, pool) = (&listening.client, listening.pool);
        let request = job.message.request_id;
        let (acknowledging, id) = (client.clone(), session.id);
        let message = job.envelope.message_id;
        tokio::spawn(async move { acknowledging.acknowledge(pool, id, message).await });
        let body = Accepted {
            request_id: request,
        };
        let mut accepted = self.spawn_news(listening, "accepted", Some(body));
        let accepted = async { timeout(ACCEPTED_LIMIT, &mut accepted).await };
        let work = async {
            retry(|| client.renew_request(pool, request))
                .await
                .map_err(|_| Failed(6))?;
            self.node.ledger.ran(request, &self.name);
            let manner = self.node.manner();
            sleep(manner.job).await;
            if manner.die { Err(Failed(137)) } else { Ok(()) }
        };
        // The job's end is reported when the operator has answered, or when that took too long.
        let (_, worked) = tokio::join!(accepted, work);
        worked?;
        job.complete().await
    }

    /// News that the operator may hear late.
    fn spawn_news<B: Serialize + Send + Sync + 'static>(
        &self,
        listening: &Listening,
        what: &'static str,
        body: Option<B>,
    ) -> tokio::task::JoinHandle<()> {
        let (http, url) = (self.http.clone(), format!("{}/v1/{what}", self.operator));
        let token = listening.callback.clone();
        tokio::spawn(async move {
            let _ = post(&http, &url, &token, body.as_ref(), PATIENCE).await;
        })
    }

    async fn finished(
        &self,
        listening: &Listening,
        result: Option<TaskResult>,
    ) -> Result<(), Failed> {
        let body = Finished { result };
        let told = self.tell("finished", &listening.callback, Some(&body), FINISHED_LIMIT);
        // Who does not hear it finds out.
        let _ = told.await;
        Ok(())
    }

    async fn tell<B: Serialize>(
        &self,
        what: &str,
        token: &str,
        body: Option<&B>,
        limit: Duration,
    ) -> Result<Vec<u8>, Failed> {
        let url = format!("{}/v1/{what}", self.operator);
        post(&self.http, &url, token, body, limit).await
    }
}

/// Asks the operator until it answers, refuses, or the time is over.
async fn post<B: Serialize>(
    http: &reqwest::Client,
    url: &str,
    token: &str,
    body: Option<&B>,
    limit: Duration,
) -> Result<Vec<u8>, Failed> {
    let deadline = Instant::now() + limit;
    loop {
        let mut asked = http.post(url).bearer_auth(token);
        if let Some(body) = body {
            asked = asked.json(body);
        }
        if let Ok(answer) = asked.send().await {
            let status = answer.status();
            let bytes = answer.bytes().await;
            if let (true, Ok(bytes)) = (status.is_success(), bytes) {
                return Ok(bytes.to_vec());
            }
            if status.is_client_error() && status.as_u16() != 429 {
                return Err(Failed(3));
            }
        }
        if Instant::now() >= deadline {
            return Err(Failed(4));
        }
        sleep(AGAIN).await;
    }
}

/// A job as it came out of the queue.
struct Job {
    envelope: Envelope,
    message: JobMessage,
}

impl Job {
    fn read(session: &Open, envelope: &Envelope) -> Option<Self> {
        if envelope.message_type != kind::JOB {
            return None;
        }
        let plain = session.key.decrypt(envelope.iv.as_deref()?, &envelope.body);
        Some(Self {
            envelope: envelope.clone(),
            message: serde_json::from_slice(&plain.ok()?).ok()?,
        })
    }

    /// Reports the end with the job's own token.
    async fn complete(&self) -> Result<(), Failed> {
        let message = &self.message;
        let endpoints = &message.resources.endpoints;
        let connection = endpoints.iter().find(|one| one.name == SYSTEM_CONNECTION);
        let connection = connection.ok_or(Failed(76))?;
        let authorization = connection.authorization.as_ref().ok_or(Failed(76))?;
        let token = authorization.parameters[ACCESS_TOKEN].duplicate();
        let client = Client::builder(&connection.url)
            .credential(Credential::Bearer(token))
            .user_agent("dayfly-agent/test")
            .build()
            .map_err(|_| Failed(76))?;
        let scope = PlanScope {
            project: message.plan.scope_identifier,
            hub: message.plan.plan_type.clone(),
            plan: message.plan.plan_id,
        };
        let event = JobEvent {
            name: JOB_COMPLETED.to_owned(),
            job_id: message.job_id,
            request_id: message.request_id,
            result: Some(TaskResult::Succeeded),
            agent_shutting_down: true,
        };
        match retry(|| client.raise_event(&scope, &event)).await {
            Ok(()) => Ok(()),
            // The answer to an earlier try was lost: the job's token has ended with the job.
            Err(Error::Unauthorized(_)) => Ok(()),
            Err(error)
                if matches!(
                    error.type_key(),
                    Some(key::PLAN_NOT_FOUND | key::PLAN_SECURITY)
                ) =>
            {
                Ok(())
            }
            Err(_) => Err(Failed(77)),
        }
    }
}

fn may_pass(error: &Error) -> bool {
    error.is_retryable() || matches!(error, Error::Conflict(_) | Error::Decode { .. })
}

async fn retry<T, F>(mut call: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match call().await {
            Err(error) if may_pass(&error) && Instant::now() < deadline => sleep(AGAIN).await,
            other => return other,
        }
    }
}
