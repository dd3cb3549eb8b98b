//! Jobs and repositories of the pool service: its own API, which Azure DevOps does not have.

use crate::{Client, Error};
use dayfly_wire::collection::Collection;
use dayfly_wire::ids::PoolId;
use dayfly_wire::ids::RequestId;
use dayfly_wire::queue::{CancelJob, FeedPage, GitRepository, QueueJob, QueuedJob};
use dayfly_wire::request::JobRequest;
use reqwest::Method;
use std::time::Duration;

/// The service holds a question for console lines for about 50 s.
const FOLLOW_LIMIT: Duration = Duration::from_secs(100);

impl Client {
    /// Queues a job.
    pub async fn queue_job(&self, project: &str, job: &QueueJob) -> Result<QueuedJob, Error> {
        let call = self
            .call("queue job", Method::POST, &jobs_path(project))
            .json(job)?;
        self.send(call).await?.json()
    }

    /// A queued job: its ids, and how it ended once it has.
    pub async fn job(&self, project: &str, id: RequestId) -> Result<QueuedJob, Error> {
        let path = format!("{}/{id}", jobs_path(project));
        self.send(self.call("read job", Method::GET, &path))
            .await?
            .json()
    }

    /// Asks for the end of a job.
    pub async fn cancel_job(
        &self,
        project: &str,
        id: RequestId,
        reason: Option<String>,
    ) -> Result<(), Error> {
        let path = format!("{}/{id}/cancel", jobs_path(project));
        let call = self
            .call("cancel job", Method::POST, &path)
            .json(&CancelJob { reason })?;
        self.send(call).await.map(drop)
    }

    /// The job's console lines after a number; waits until there are some, the job ended, or the poll's time is over.
    pub async fn follow_job(
        &self,
        project: &str,
        id: RequestId,
        after: u64,
    ) -> Result<FeedPage, Error> {
        let path = format!("{}/{id}/feed", jobs_path(project));
        let call = self
            .call("follow job", Method::GET, &path)
            .query("after", after.to_string())
            .limit(FOLLOW_LIMIT);
        self.send(call).await?.json()
    }

    /// The pool's unfinished requests, and as many of those that ended last.
    pub async fn recent_requests(
        &self,
        pool: PoolId,
        finished: u32,
    ) -> Result<Vec<JobRequest>, Error> {
        let path = format!("/_apis/distributedtask/pools/{pool}/jobrequests");
        let call = self
            .call("list requests", Method::GET, &path)
            .query("completedRequestCount", finished.to_string());
        let answer = self.send(call).await?;
        Ok(answer.json::<Collection<JobRequest>>()?.value)
    }

    /// Makes an empty git repository.
    pub async fn create_repository(
        &self,
        project: &str,
        repository: &GitRepository,
    ) -> Result<GitRepository, Error> {
        let path = format!("/{project}/_apis/git/repositories");
        let call = self
            .call("create repository", Method::POST, &path)
            .json(repository)?;
        self.send(call).await?.json()
    }

    /// The project's git repositories.
    pub async fn repositories(&self, project: &str) -> Result<Vec<GitRepository>, Error> {
        let path = format!("/{project}/_apis/git/repositories");
        let answer = self
            .send(self.call("list repositories", Method::GET, &path))
            .await?;
        Ok(answer.json::<Collection<GitRepository>>()?.value)
    }
}

fn jobs_path(project: &str) -> String {
    format!("/{project}/_apis/dayfly/jobs")
}
