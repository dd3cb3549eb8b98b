//! Agents that do what an agent's listener and worker say to the service, and run nothing.

use crate::client::{Client, done, read};
use anyhow::{Context, Result};
use dayfly_keys::agent_key::AgentKey;
use dayfly_keys::session_key::SessionKey;
use dayfly_wire::agent::Agent as AgentDocument;
use dayfly_wire::ids::{PoolId, RequestId, SessionId};
use dayfly_wire::job::{ACCESS_TOKEN, JobMessage, SYSTEM_CONNECTION};
use dayfly_wire::message::{Envelope, kind};
use dayfly_wire::secret::SecretText;
use dayfly_wire::session::Session;
use dayfly_wire::token::{CLIENT_CREDENTIALS, JWT_BEARER, TokenAnswer};
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use uuid::Uuid;

/// What a job writes: a short log.
const LOG: &str =
    "2026-01-02T03:04:05.6789012Z hello, this is a line of a small log that a short job writes\n";
const LOG_LINES: usize = 20;

/// An agent with its session.
pub(crate) struct Agent {
    client: Client,
    pool: PoolId,
    token: SecretText,
    session: SessionId,
    key: SessionKey,
}

/// A job that an agent took.
pub(crate) struct Job {
    pub(crate) request: RequestId,
    pub(crate) token: SecretText,
    /// The path of its plan.
    pub(crate) plan: String,
    id: String,
    delivered: Instant,
}

/// When what happened to a job.
pub(crate) struct Times {
    pub(crate) request: RequestId,
    pub(crate) delivered: Instant,
    pub(crate) finished: Instant,
}

/// How jobs are held up after they were taken.
#[derive(Clone)]
pub(crate) struct Held {
    /// Is told when a job was delivered.
    pub(crate) taken: UnboundedSender<Instant>,
    /// Whether jobs wait.
    pub(crate) up: watch::Receiver<bool>,
}

/// Registers an agent.
pub(crate) async fn register(
    client: &Client,
    pool: PoolId,
    key: &AgentKey,
) -> Result<AgentDocument> {
    let draft = json!({
        "name": format!("bench-{}", Uuid::new_v4()),
        "version": "4.260.0",
        "authorization": {"publicKey": key.public().to_wire()},
        "systemCapabilities": {"Agent.OS": "Linux", "Agent.Version": "4.260.0"},
    });
    let path = format!("/_apis/distributedtask/pools/{pool}/agents");
    read(client.admin(Method::POST, &path).json(&draft)).await
}

/// Registers an agent and opens its session.
pub(crate) async fn open(client: &Client, pool: PoolId, key: &AgentKey) -> Result<Agent> {
    let document = register(client, pool, key).await?;
    let token = listen_token(client, &document, key).await?;
    let asked = json!({
        "ownerName": "bench",
        "agent": {"id": document.id, "name": document.name},
        "agentCanHandleOaepSHA256": true,
    });
    let path = format!("/_apis/distributedtask/pools/{pool}/sessions");
    let opened: Session = read(client.call(Method::POST, &path, &token).json(&asked)).await?;
    let wrapped = opened.encryption_key.context("a session without a key")?;
    Ok(Agent {
        client: client.clone(),
        pool,
        token,
        session: opened.session_id,
        key: key.unwrap_session_key(&wrapped)?,
    })
}

async fn listen_token(
    client: &Client,
    agent: &AgentDocument,
    key: &AgentKey,
) -> Result<SecretText> {
    let authorization = agent.authorization.as_ref().context("no authorization")?;
    let url = authorization
        .authorization_url
        .as_deref()
        .context("no URL")?;
    let id = authorization.client_id.context("no client id")?;
    let assertion = key.sign_assertion(id, url, Uuid::new_v4(), now())?;
    let form = [
        ("grant_type", CLIENT_CREDENTIALS),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", assertion.expose()),
    ];
    let answer: TokenAnswer = read(client.form(url, &form)).await?;
    Ok(answer.access_token)
}

impl Agent {
    /// Takes job after job and tells when; ends when nobody listens to it. No job goes on while it is held up.
    pub(crate) async fn work(self, told: UnboundedSender<Result<Times>>, mut held: Held) {
        loop {
            let times = async {
                let job = self.take().await?;
                held.taken.send(job.delivered)?;
                held.up.wait_for(|held| !held).await?;
                self.write_log(&job, LOG.repeat(LOG_LINES)).await?;
                self.finish(&job).await
            };
            if told.send(times.await).is_err() {
                return;
            }
        }
    }

    /// Waits for a job and takes it.
    pub(crate) async fn take(&self) -> Result<Job> {
        let (job, message) = loop {
            if let Some(envelope) = self.poll().await? {
                let delivered = Instant::now();
                if envelope.message_type == kind::JOB {
                    break (self.read(&envelope, delivered)?, envelope.message_id);
                }
                self.acknowledge(envelope.message_id.0).await?;
            }
        };
        self.acknowledge(message.0).await?;
        let path = format!(
            "/_apis/distributedtask/pools/{}/jobrequests/{}",
            self.pool, job.request
        );
        let renewal = self.client.call(Method::PATCH, &path, &self.token);
        done(renewal.json(&json!({ "requestId": job.request }))).await?;
        Ok(job)
    }

    async fn poll(&self) -> Result<Option<Envelope>> {
        let path = format!(
            "/_apis/distributedtask/pools/{}/messages?sessionId={}",
            self.pool, self.session
        );
        let response = done(self.client.call(Method::GET, &path, &self.token)).await?;
        if response.status() == StatusCode::OK {
            return Ok(Some(response.json().await?));
        }
        Ok(None)
    }

    fn read(&self, envelope: &Envelope, delivered: Instant) -> Result<Job> {
        let iv = envelope.iv.as_deref().context("a job in the clear")?;
        let body = self.key.decrypt(iv, &envelope.body)?;
        let message: JobMessage = serde_json::from_slice(&body)?;
        let endpoints = &message.resources.endpoints;
        let system = endpoints
            .iter()
            .find(|endpoint| endpoint.name == SYSTEM_CONNECTION);
        let token = system
            .and_then(|system| system.authorization.as_ref())
            .and_then(|authorization| authorization.parameters.get(ACCESS_TOKEN));
        Ok(Job {
            request: message.request_id,
            token: token.context("a job without a token")?.duplicate(),
            plan: format!(
                "/{}/_apis/distributedtask/hubs/{}/plans/{}",
                message.plan.scope_identifier, message.plan.plan_type, message.plan.plan_id
            ),
            id: message.job_id.to_string(),
            delivered,
        })
    }

    async fn acknowledge(&self, message: i64) -> Result<()> {
        let path = format!(
            "/_apis/distributedtask/pools/{}/messages/{message}?sessionId={}",
            self.pool, self.session
        );
        done(self.client.call(Method::DELETE, &path, &self.token)).await?;
        Ok(())
    }

    /// Makes a log and writes one piece.
    pub(crate) async fn write_log(&self, job: &Job, text: String) -> Result<()> {
        let log = self.create_log(job).await?;
        self.append(job, &log, text).await
    }

    /// Makes a log; answers its path.
    pub(crate) async fn create_log(&self, job: &Job) -> Result<String> {
        let path = format!("{}/logs", job.plan);
        let draft = json!({ "path": format!("logs\\{}", job.id) });
        let made: Value = read(
            self.client
                .call(Method::POST, &path, &job.token)
                .json(&draft),
        )
        .await?;
        let id = made["id"].as_i64().context("a log without an id")?;
        Ok(format!("{path}/{id}"))
    }

    pub(crate) async fn append(&self, job: &Job, log: &str, text: String) -> Result<()> {
        let request = self.client.call(Method::POST, log, &job.token);
        let request = request.header("content-type", "application/octet-stream");
        done(request.body(text)).await?;
        Ok(())
    }

    /// Reports the end of a job.
    pub(crate) async fn finish(&self, job: &Job) -> Result<Times> {
        let event = json!({
            "name": "JobCompleted", "jobId": job.id, "requestId": job.request, "result": "succeeded",
        });
        let path = format!("{}/events", job.plan);
        done(
            self.client
                .call(Method::POST, &path, &job.token)
                .json(&event),
        )
        .await?;
        Ok(Times {
            request: job.request,
            delivered: job.delivered,
            finished: Instant::now(),
        })
    }
}

#[allow(clippy::disallowed_methods)] // Assertions are signed with the machine's time.
fn now() -> Timestamp {
    Timestamp::now()
}
