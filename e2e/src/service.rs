//! The pool service as its users see it: REST with a personal access token.

use crate::deadline::until;
use crate::kubectl::{self, PortForward};
use crate::names::{COLLECTION, PROJECT, SERVICE, SERVICE_NAMESPACE};
use crate::{Result, install_tls};
use anyhow::Context;
use dayfly_client::{AgentQuery, Client, Credential, PlanScope};
use dayfly_wire::agent::Agent;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{PoolId, RequestId};
use dayfly_wire::queue::{FeedPage, QueuedJob};
use dayfly_wire::request::JobRequest;
use dayfly_wire::secret::SecretText;
use dayfly_wire::timeline::Record;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

/// A connection to the service with an administrator's token.
pub struct Service {
    /// The protocol's client, for what is part of the protocol.
    pub client: Client,
    /// The service's base URL on this machine.
    pub base_url: String,
    http: reqwest::Client,
    pat: SecretText,
    _forward: PortForward,
}

impl Service {
    /// Forwards the service's port and makes a token by `dayfly-pool pat create` in its pod.
    pub async fn connect() -> Result<Self> {
        install_tls();
        let forward =
            PortForward::start(SERVICE_NAMESPACE, &format!("svc/{SERVICE}"), 8080).await?;
        let pat = create_pat("e2e-administrator").await?;
        let base_url = format!("http://127.0.0.1:{}/{COLLECTION}", forward.port);
        let client = Client::builder(&base_url)
            .credential(Credential::Pat(pat.duplicate()))
            .attempts(3)
            .build()?;
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(90))
            .build()?;
        Ok(Self {
            client,
            base_url,
            http,
            pat,
            _forward: forward,
        })
    }

    /// The administrator's token itself, for tests that search for it.
    pub fn pat(&self) -> &SecretText {
        &self.pat
    }

    /// Any call of the service, below the base URL.
    pub async fn rest(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.base_url))
            .basic_auth("", Some(self.pat.expose()));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        anyhow::ensure!(
            status.is_success(),
            "{method} {path} answered {status}: {text}"
        );
        if text.is_empty() {
            Ok(Value::Null)
        } else {
            Ok(serde_json::from_str(&text)?)
        }
    }

    /// The status of any call with somebody else's token, or with the administrator's.
    pub async fn status_for(
        &self,
        token: Option<&SecretText>,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<StatusCode> {
        let url = format!("{}{path}", self.base_url);
        let mut request = self.http.request(method.clone(), url);
        request = match token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request.basic_auth("", Some(self.pat.expose())),
        };
        if let Some(body) = body {
            request = request.json(body);
        }
        Ok(request.send().await?.status())
    }

    /// A client with somebody else's token.
    pub fn client_for(&self, token: &SecretText) -> Result<Client> {
        let credential = Credential::Bearer(token.duplicate());
        Ok(Client::builder(&self.base_url)
            .credential(credential)
            .build()?)
    }

    /// The pool of that name, made when it is not there.
    pub async fn pool(&self, name: &str) -> Result<PoolId> {
        if let Some(pool) = self.client.find_pool(name).await? {
            return Ok(pool.id);
        }
        Ok(self.client.create_pool(name).await?.id)
    }

    /// Queues a job; the document is that of `POST .../_apis/dayfly/jobs`.
    pub async fn queue(&self, job: Value) -> Result<QueuedJob> {
        let path = format!("/{PROJECT}/_apis/dayfly/jobs");
        let answer = self.rest(Method::POST, &path, Some(job)).await?;
        serde_json::from_value(answer).context("failed to read the queued job")
    }

    /// Asks for the end of a job.
    pub async fn cancel(&self, request: RequestId) -> Result<()> {
        let path = format!("/{PROJECT}/_apis/dayfly/jobs/{request}/cancel");
        self.rest(Method::POST, &path, None).await.map(drop)
    }

    /// Runs a command of `dayfly-pool` that talks to the service, with the administrator's token; answers what it
    /// printed. It runs in the service's pod: the program is there on every cluster.
    pub async fn command_line(&self, arguments: &[&str]) -> Result<String> {
        let target = format!("deploy/{SERVICE}");
        // The token comes by standard input, so that no process list shows it.
        let script =
            "read -r DAYFLY_POOL_TOKEN && export DAYFLY_POOL_TOKEN && exec dayfly-pool \"$@\"";
        let url = format!("DAYFLY_POOL_URL=http://127.0.0.1:8080/{COLLECTION}");
        let mut all = vec![
            "-n",
            SERVICE_NAMESPACE,
            "exec",
            "-i",
            &target,
            "--",
            "env",
            &url,
            "sh",
            "-c",
            script,
            "sh",
        ];
        all.extend(arguments);
        kubectl::run_with_input(&all, &format!("{}\n", self.pat.expose())).await
    }

    /// Console lines after `after`; held by the service until there are some or the job ended.
    pub async fn feed(&self, request: RequestId, after: u64) -> Result<FeedPage> {
        let path = format!("/{PROJECT}/_apis/dayfly/jobs/{request}/feed?after={after}");
        Ok(serde_json::from_value(
            self.rest(Method::GET, &path, None).await?,
        )?)
    }

    /// Waits for a console line that contains `text`.
    pub async fn wait_for_line(&self, job: &QueuedJob, text: &str, limit: Duration) -> Result<()> {
        let what = format!("the line {text:?} of request {}", job.request_id);
        let follow = async {
            let mut after = 0;
            loop {
                let page = self.feed(job.request_id, after).await?;
                if page.value.iter().any(|entry| entry.line.contains(text)) {
                    return Ok(());
                }
                if let Some(result) = page.result {
                    anyhow::bail!("the job ended {result} without {what}");
                }
                after = page.next;
            }
        };
        tokio::time::timeout(limit, follow)
            .await
            .with_context(|| format!("timed out after {} s waiting for {what}", limit.as_secs()))?
    }

    /// Waits until the request has a result.
    pub async fn wait_finished(
        &self,
        pool: PoolId,
        job: &QueuedJob,
        limit: Duration,
    ) -> Result<JobRequest> {
        until(
            &format!("the end of request {}", job.request_id),
            limit,
            || async {
                let request = self.client.request(pool, job.request_id).await?;
                Ok(request.result.is_some().then_some(request))
            },
        )
        .await
    }

    /// Waits for the end of the job and asserts its result.
    pub async fn expect(
        &self,
        pool: PoolId,
        job: &QueuedJob,
        result: TaskResult,
        limit: Duration,
    ) -> Result<JobRequest> {
        let request = self.wait_finished(pool, job, limit).await?;
        anyhow::ensure!(
            request.result == Some(result),
            "request {} ended {:?} instead of {result}: {:?}",
            job.request_id,
            request.result.map(TaskResult::as_str),
            request.status_message
        );
        Ok(request)
    }

    /// The job's timeline records.
    pub async fn records(&self, job: &QueuedJob) -> Result<Vec<Record>> {
        let timeline = self.client.timeline(&scope(job), job.timeline_id).await?;
        Ok(timeline.records.unwrap_or_default())
    }

    /// All stored logs of the job, one after the other.
    pub async fn logs(&self, job: &QueuedJob) -> Result<String> {
        let mut text = String::new();
        for record in self.records(job).await? {
            if let Some(log) = record.log {
                text.push_str(&self.client.log_text(&scope(job), log.id).await?);
            }
        }
        Ok(text)
    }

    /// Every issue's text on the job's records.
    pub async fn issues(&self, job: &QueuedJob) -> Result<Vec<String>> {
        let records = self.records(job).await?;
        Ok(records
            .into_iter()
            .flat_map(|r| r.issues)
            .map(|issue| issue.message)
            .collect())
    }

    /// The pool's registrations, with capabilities.
    pub async fn agents(&self, pool: PoolId) -> Result<Vec<Agent>> {
        let query = AgentQuery {
            include_capabilities: true,
            ..AgentQuery::default()
        };
        Ok(self.client.agents(pool, &query).await?)
    }
}

/// Runs `dayfly-pool` in the service's pod, as its administrator does; answers what it printed.
async fn in_pod(arguments: &[&str]) -> Result<String> {
    let target = format!("deploy/{SERVICE}");
    let mut all = vec!["exec", &target, "--", "dayfly-pool"];
    all.extend(arguments);
    in_namespace(&all).await
}

/// Makes a personal access token.
pub async fn create_pat(name: &str) -> Result<SecretText> {
    let scopes = "agentpools_manage,build_execute,code_write";
    let output = in_pod(&[
        "pat",
        "create",
        "--data-dir",
        "/data",
        "--name",
        name,
        "--scopes",
        scopes,
    ])
    .await?;
    Ok(SecretText::new(output.trim().to_owned()))
}

/// Revokes every token of that name.
pub async fn revoke_pat(name: &str) -> Result<()> {
    in_pod(&["pat", "revoke", "--data-dir", "/data", name])
        .await
        .map(drop)
}

/// The service away: its process was ended, and nobody reaches the next one. Its data stay. Forwarded ports to it
/// break; connect anew after [`Outage::end`].
pub struct Outage {
    selector: Value,
}

impl Outage {
    /// Takes the pod out of the Service, then ends the process, with every connection that was open to it.
    pub async fn begin() -> Result<Self> {
        let arguments = ["get", "service", SERVICE, "-o", "jsonpath={.spec.selector}"];
        let selector = serde_json::from_str(&in_namespace(&arguments).await?)?;
        select(&json!({ "dayfly.dev/e2e": "nobody" })).await?;
        let target = format!("deploy/{SERVICE}");
        in_namespace(&["exec", &target, "--", "sh", "-c", "kill 1"]).await?;
        Ok(Self { selector })
    }

    /// Lets everybody reach it again, and waits until it serves.
    pub async fn end(self) -> Result<()> {
        select(&self.selector).await?;
        let target = format!("deploy/{SERVICE}");
        in_namespace(&["rollout", "status", &target, "--timeout=110s"])
            .await
            .map(drop)
    }
}

async fn select(selector: &Value) -> Result<()> {
    let patch =
        json!([{ "op": "replace", "path": "/spec/selector", "value": selector }]).to_string();
    in_namespace(&["patch", "service", SERVICE, "--type=json", "-p", &patch])
        .await
        .map(drop)
}

async fn in_namespace(arguments: &[&str]) -> Result<String> {
    let mut all = vec!["-n", SERVICE_NAMESPACE];
    all.extend(arguments);
    kubectl::run(&all).await
}

/// Where the job reports.
pub fn scope(job: &QueuedJob) -> PlanScope {
    PlanScope {
        project: job.project_id,
        hub: "Build".to_owned(),
        plan: job.plan_id,
    }
}
