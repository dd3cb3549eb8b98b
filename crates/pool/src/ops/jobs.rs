//! Queued jobs as those who queued them see them: state, console, cancellation.

use super::endings::cancel_request;
use super::runs::cancel_run;
use crate::rules::access::{Caller, Scope, require_scope};
use crate::rules::entities::Request;
use crate::rules::feed;
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::request;
use crate::service::{Failure, Service};
use crate::store::dialect::Conn;
use crate::store::{feeds, projects, requests, runs};
use dayfly_wire::ids::RequestId;
use dayfly_wire::queue::{FeedPage, QueuedJob};
use std::pin::pin;
use tokio::time::Instant;

impl Service {
    /// A queued job.
    pub async fn job(
        &self,
        caller: &Caller,
        project: &str,
        id: RequestId,
    ) -> Result<QueuedJob, Failure> {
        require_scope(caller, Scope::Build)?;
        self.settle().await?;
        let mut conn = self.store.read().await?;
        let job = existing_job(&mut conn, project, id).await?;
        let mut described = document(&job);
        let load = self.load(&mut conn).await?;
        if let Some(reason) = request::waiting_reason(&job, load) {
            described.status_message = Some(reason);
        }
        Ok(described)
    }

    /// Asks for the end of a job, and of its run if it is the run's only one; what has ended stays as it is.
    pub async fn cancel_job(
        &self,
        caller: &Caller,
        project: &str,
        id: RequestId,
        reason: Option<String>,
    ) -> Result<(), Failure> {
        require_scope(caller, Scope::BuildExecute)?;
        let mut unit = self.begin().await?;
        let mut job = existing_job(unit.conn(), project, id).await?;
        let jobs = runs::jobs(unit.conn(), job.plan.build).await?;
        let run = runs::by_plan(unit.conn(), job.plan.id).await?;
        match run.filter(|_| jobs.len() == 1) {
            Some(run) => cancel_run(&mut unit, run, reason).await?,
            None => cancel_request(&mut unit, &mut job, reason).await?,
        }
        unit.commit().await?;
        Ok(())
    }

    /// The job's console lines after a number; waits for some, or for the end of the job.
    pub async fn follow(
        &self,
        caller: &Caller,
        project: &str,
        id: RequestId,
        after: u64,
    ) -> Result<FeedPage, Failure> {
        require_scope(caller, Scope::Build)?;
        let until = Instant::now() + self.settings.poll_hold;
        {
            let mut conn = self.store.read().await?;
            existing_job(&mut conn, project, id).await?;
        }
        self.watched(id).await?;
        let waiter = self.followers.wait_for(id);
        loop {
            let mut woken = pin!(waiter.bell().notified());
            woken.as_mut().enable();
            self.settle().await?;
            let (job, chunks) = {
                let mut conn = self.store.read().await?;
                // The job first: lines that came before its end are then not missed.
                let job = existing_job(&mut conn, project, id).await?;
                (job, feeds::after(&mut conn, id, after).await?)
            };
            let page = feed::page(chunks, after);
            let over = Instant::now() >= until || self.shutdown.is_cancelled();
            if !page.lines.is_empty() || job.is_finished() || over {
                return Ok(FeedPage {
                    count: page.lines.len(),
                    // Lines first: the result comes when none is left.
                    result: job.result.filter(|_| page.lines.is_empty()),
                    value: page.lines,
                    next: page.next,
                    dropped: page.dropped,
                    status_message: job.status_message,
                });
            }
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep_until(until) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }
}

/// A project's job, or the refusal that says that it is not there.
async fn existing_job(conn: &mut Conn, project: &str, id: RequestId) -> Result<Request, Failure> {
    let project = projects::find(conn, project).await?;
    let job = requests::by_id(conn, id).await?;
    match (project, job) {
        (Some(project), Some(job)) if job.plan.project == project.id => Ok(job),
        _ => Err(Refusal::new(
            Kind::JobNotFound,
            format!("there is no job {id} in this project"),
        )
        .into()),
    }
}

/// The job as a document.
pub fn document(request: &Request) -> QueuedJob {
    QueuedJob {
        request_id: request.id,
        plan_id: request.plan.id,
        job_id: request.job,
        timeline_id: request.plan.timeline,
        project_id: request.plan.project,
        build_id: request.plan.build,
        result: request.result,
        status_message: request.status_message.clone(),
    }
}
