//! Job requests: the queue, locks, and ends that are not a worker's to report.

use crate::{Client, Error};
use dayfly_wire::collection::Collection;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{PoolId, RequestId};
use dayfly_wire::request::{JobRequest, ResourceUsage};
use reqwest::Method;
use std::time::Duration;
use uuid::Uuid;

/// A renewal that takes longer than this is better tried again.
const RENEW_LIMIT: Duration = Duration::from_secs(30);

impl Client {
    /// The pool's requests that have not ended. Its cost does not grow with those that have.
    pub async fn unfinished_requests(&self, pool: PoolId) -> Result<Vec<JobRequest>, Error> {
        let path = format!("/_apis/distributedtask/pools/{pool}/jobrequests");
        let call = self
            .call("list requests", Method::GET, &path)
            .query("completedRequestCount", "0");
        Ok(self
            .send(call)
            .await?
            .json::<Collection<JobRequest>>()?
            .value)
    }

    /// How many jobs the service runs at once on agents of one's own, and how many it may.
    pub async fn resource_usage(&self) -> Result<ResourceUsage, Error> {
        let path = "/_apis/distributedtask/resourceusage";
        let call = self
            .call("read resource usage", Method::GET, path)
            .query("parallelismTag", "Private")
            .query("poolIsHosted", "false")
            .query("includeRunningRequests", "false");
        self.send(call).await?.json()
    }

    /// One request.
    pub async fn request(&self, pool: PoolId, id: RequestId) -> Result<JobRequest, Error> {
        self.send(self.call("read request", Method::GET, &request_path(pool, id)))
            .await?
            .json()
    }

    /// Renews an agent's lock on a request; the answer says until when it holds.
    pub async fn renew_request(&self, pool: PoolId, id: RequestId) -> Result<JobRequest, Error> {
        let body = serde_json::json!({ "requestId": id });
        let call = self
            .call("renew request", Method::PATCH, &request_path(pool, id))
            .query("lockToken", Uuid::nil().to_string())
            .limit(RENEW_LIMIT)
            .json(&body)?;
        self.send(call).await?.json()
    }

    /// Ends a request from outside. The message says why; Azure DevOps ignores it, the pool service shows it.
    pub async fn finish_request(
        &self,
        pool: PoolId,
        id: RequestId,
        result: TaskResult,
        message: Option<&str>,
    ) -> Result<(), Error> {
        let mut call = self
            .call("finish request", Method::DELETE, &request_path(pool, id))
            .query("lockToken", Uuid::nil().to_string())
            .query("result", result.as_str());
        if let Some(message) = message {
            call = call.query("statusMessage", message);
        }
        self.send(call).await.map(drop)
    }
}

fn request_path(pool: PoolId, id: RequestId) -> String {
    format!("/_apis/distributedtask/pools/{pool}/jobrequests/{id}")
}
