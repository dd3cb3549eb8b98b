//! Calls of the protocol, with nothing between them and the wire that would have to be measured too.

use crate::server::Server;
use anyhow::{Context, Result, bail};
use dayfly_wire::ids::PoolId;
use dayfly_wire::queue::QueuedJob;
use dayfly_wire::secret::SecretText;
use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;

/// Longer than the service holds a question.
const CALL: Duration = Duration::from_secs(90);
/// The project of every job.
pub(crate) const PROJECT: &str = "bench";

/// A client of one service.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    /// For calls without a credential: the service soon ends connections on which nobody shows one, and one of those
    /// must not carry the call of an agent.
    anonymous: reqwest::Client,
    base: String,
    token: std::sync::Arc<SecretText>,
}

impl Client {
    pub(crate) fn new(server: &Server) -> Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(CALL)
            .tcp_nodelay(true)
            .build()
            .context("failed to make a client")?;
        let anonymous = reqwest::Client::builder()
            .timeout(CALL)
            .pool_max_idle_per_host(0)
            .build()
            .context("failed to make a client")?;
        Ok(Self {
            http,
            anonymous,
            base: server.url.clone(),
            token: std::sync::Arc::new(server.token.duplicate()),
        })
    }

    pub(crate) fn call(&self, method: Method, path: &str, token: &SecretText) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(token.expose())
    }

    /// A call of the administrator.
    pub(crate) fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.call(method, path, &self.token)
    }

    pub(crate) fn form(&self, url: &str, form: &[(&str, &str)]) -> RequestBuilder {
        self.anonymous.post(url).form(form)
    }

    /// The least that the service can be asked.
    pub(crate) async fn is_well(&self) -> Result<()> {
        done(self.http.get(self.at_root("/healthz")?)).await?;
        Ok(())
    }

    fn at_root(&self, path: &str) -> Result<reqwest::Url> {
        let mut url = reqwest::Url::parse(&self.base)?;
        url.set_path(path);
        Ok(url)
    }

    pub(crate) async fn create_pool(&self, name: &str) -> Result<PoolId> {
        let request = self.admin(Method::POST, "/_apis/distributedtask/pools");
        let pool: Value = read(request.json(&json!({ "name": name }))).await?;
        Ok(PoolId(pool["id"].as_i64().context("a pool without an id")?))
    }

    /// Queues a small job.
    pub(crate) async fn queue(&self, pool: &str) -> Result<QueuedJob> {
        let job = json!({ "pool": pool, "name": "bench", "steps": [{ "script": "echo hello" }] });
        let path = format!("/{PROJECT}/_apis/dayfly/jobs");
        read(self.admin(Method::POST, &path).json(&job)).await
    }

    /// How many agents wait for a message, by the service's own count.
    pub(crate) async fn parked(&self) -> Result<usize> {
        let call = self.anonymous.get(self.at_root("/metrics")?);
        let metrics = done(call).await?.text().await?;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("dayfly_pool_agents_polling "));
        Ok(line.context("no count of parked agents")?.trim().parse()?)
    }

    /// Waits until so many are parked.
    pub(crate) async fn wait_parked(&self, wanted: usize, limit: Duration) -> Result<()> {
        let wait = async {
            // Thousands that connect at once may crowd this call out.
            while self
                .parked()
                .await
                .ok()
                .is_none_or(|parked| parked < wanted)
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(limit, wait)
            .await
            .with_context(|| format!("timed out waiting for {wanted} parked agents"))
    }
}

/// The answer, if it is a success.
pub(crate) async fn done(request: RequestBuilder) -> Result<Response> {
    let response = request.send().await?;
    let (status, url) = (response.status(), response.url().clone());
    if status.is_success() {
        return Ok(response);
    }
    bail!(
        "{url}: {status}: {}",
        response.text().await.unwrap_or_default()
    )
}

pub(crate) async fn read<T: DeserializeOwned>(request: RequestBuilder) -> Result<T> {
    Ok(done(request).await?.json().await?)
}
