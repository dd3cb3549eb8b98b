//! Jobs of a scenario: queued, held at a point of their script, released, found again.

use crate::Result;
use crate::deadline::until;
use crate::kubectl;
use crate::scenario::{Scenario, name_of};
use dayfly_wire::event::TaskResult;
use dayfly_wire::queue::QueuedJob;
use dayfly_wire::request::JobRequest;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::{Value, json};
use std::time::Duration;

/// How long a short job may take, from queueing to its end, on a busy machine.
pub const JOB_LIMIT: Duration = Duration::from_secs(120);
/// How long after a job's end something of its agent may be left.
pub const GONE_LIMIT: Duration = Duration::from_secs(30);
/// The file that a held step waits for.
const RELEASE: &str = "/work/release";

/// A step that runs a bash script.
pub fn bash(script: &str) -> Value {
    json!({ "bash": script })
}

/// A step that says `holding`, then waits until [`Scenario::release`], then goes on with `script`.
pub fn hold(script: &str) -> Value {
    bash(&format!(
        "echo holding\nuntil [ -e {RELEASE} ]; do sleep 0.1; done\n{script}"
    ))
}

impl Scenario {
    /// Queues a job of these steps.
    pub async fn queue(&self, steps: &[Value]) -> Result<QueuedJob> {
        self.queue_with(json!({ "steps": steps })).await
    }

    /// Queues a job; `members` are those of the document beside the pool.
    pub async fn queue_with(&self, members: Value) -> Result<QueuedJob> {
        let mut job = json!({ "pool": self.name, "timeoutInMinutes": 10 });
        if let (Some(job), Value::Object(members)) = (job.as_object_mut(), members) {
            job.extend(members);
        }
        self.service.queue(job).await
    }

    /// Waits for the end of the job and asserts its result.
    pub async fn expect(&self, job: &QueuedJob, result: TaskResult) -> Result<JobRequest> {
        self.service.expect(self.pool, job, result, JOB_LIMIT).await
    }

    /// Waits until the job is given to an agent; answers the agent's name.
    pub async fn identity_of(&self, job: &QueuedJob) -> Result<String> {
        let what = format!("an agent for request {}", job.request_id);
        until(&what, JOB_LIMIT, || async {
            let request = self
                .service
                .client
                .request(self.pool, job.request_id)
                .await?;
            Ok(request.reserved_agent.map(|agent| agent.name))
        })
        .await
    }

    /// Waits until the job's step holds; answers the agent's name.
    pub async fn wait_holding(&self, job: &QueuedJob) -> Result<String> {
        self.service
            .wait_for_line(job, "holding", JOB_LIMIT)
            .await?;
        self.identity_of(job).await
    }

    /// Lets a held step go on.
    pub async fn release(&self, identity: &str) -> Result<()> {
        let arguments = [
            "-n", &self.name, "exec", identity, "-c", "job", "--", "touch", RELEASE,
        ];
        kubectl::run(&arguments).await.map(drop)
    }

    /// A pod by name, if it is there.
    pub async fn pod(&self, name: &str) -> Result<Option<Pod>> {
        let api: Api<Pod> = Api::namespaced(self.kube.clone(), &self.name);
        Ok(api.get_opt(name).await?)
    }

    /// Waits for that many pods of the AgentPool.
    pub async fn wait_pods(&self, wanted: usize) -> Result<Vec<Pod>> {
        let what = format!("{wanted} pods of {}", self.name);
        until(&what, JOB_LIMIT, || async {
            let pods = self.pods().await?;
            let names: Vec<_> = pods.iter().map(|pod| name_of(&pod.metadata)).collect();
            anyhow::ensure!(pods.len() >= wanted, "there are {names:?}");
            Ok(Some(pods))
        })
        .await
    }

    /// Everything that the service ever showed of the job: feed, stored logs, records, the request.
    pub async fn everything_shown(&self, job: &QueuedJob) -> Result<String> {
        let service = &self.service;
        let mut text = service.logs(job).await?;
        for entry in service.feed(job.request_id, 0).await?.value {
            text.push_str(&entry.line);
            text.push('\n');
        }
        text.push_str(&serde_json::to_string(&service.records(job).await?)?);
        let request = service.client.request(self.pool, job.request_id).await?;
        text.push_str(&serde_json::to_string(&request)?);
        Ok(text)
    }
}
