//! How requests and sessions end, with everything that follows from it.

use super::dispatch::{dispatch_freed, send};
use super::runs::job_changed;
use crate::rules::entities::{Request, Session};
use crate::rules::request::{self, Cancelled};
use crate::rules::timeline;
use crate::service::{Failure, Unit};
use crate::store::{StoreError, agents, messages, records, requests, sessions};
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{AgentId, JobId, RecordId, TimelineId};
use dayfly_wire::message::{JobCancellation, kind};
use dayfly_wire::timeline::{Record, RecordState};

/// Who says that a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The agent: it knows.
    Agent,
    /// The service or an administrator: an agent that is at it must be told.
    Service,
}

/// Ends a request, with what follows from it for its run; one that has ended stays as it is.
pub async fn end_request(
    unit: &mut Unit<'_>,
    ended: &mut Request,
    result: TaskResult,
    message: Option<String>,
    by: EndedBy,
) -> Result<(), Failure> {
    if close_request(unit, ended, result, message, by).await? {
        job_changed(unit, ended.plan.id, ended.job).await?;
    }
    Ok(())
}

/// Ends a request and leaves its run to the caller; false when it had ended before.
pub async fn close_request(
    unit: &mut Unit<'_>,
    ended: &mut Request,
    result: TaskResult,
    message: Option<String>,
    by: EndedBy,
) -> Result<bool, Failure> {
    let now = unit.now;
    if !request::finish(ended, result, message, now) {
        return Ok(false);
    }
    requests::update(unit.conn(), ended).await?;
    if let Some(agent) = ended.agent {
        sessions::count_held(unit.conn(), agent).await?;
    }
    messages::delete_of_request(unit.conn(), ended.id).await?;
    if by == EndedBy::Service && request::is_with_agent(ended) {
        let body = request::cancellation(ended);
        tell_agent(unit, ended, &body).await?;
    }
    let reason = ended.status_message.as_deref();
    complete_record(unit, ended.plan.timeline, ended.job, result, reason).await?;
    unit.wake_followers(ended.id);
    unit.service().metrics.jobs_finished.inc();
    if ended.agent.is_some() {
        dispatch_freed(unit, ended.pool).await?;
    }
    Ok(true)
}

/// Asks for the end of a request.
pub async fn cancel_request(
    unit: &mut Unit<'_>,
    cancelled: &mut Request,
    reason: Option<String>,
) -> Result<(), Failure> {
    let now = unit.now;
    match request::cancel(cancelled, reason, now) {
        Cancelled::EndNow(reason) => {
            let canceled = TaskResult::Canceled;
            end_request(unit, cancelled, canceled, Some(reason), EndedBy::Service).await
        }
        Cancelled::Ask(body) => {
            requests::update(unit.conn(), cancelled).await?;
            tell_agent(unit, cancelled, &body).await
        }
        Cancelled::AskedBefore => Ok(()),
    }
}

/// Ends a session; a job that its agent never took goes back to the queue.
pub async fn end_session(unit: &mut Unit<'_>, session: &Session) -> Result<(), Failure> {
    let now = unit.now;
    sessions::delete(unit.conn(), session.id).await?;
    unit.wake_agent(session.agent);
    withdraw_from(unit, session.agent).await?;
    if let Some(mut agent) = agents::by_id(unit.conn(), session.agent).await? {
        agent.status_changed_at = now;
        agents::update(unit.conn(), &agent).await?;
        dispatch_freed(unit, agent.pool).await?;
    }
    Ok(())
}

/// Takes back a request that the agent never took.
pub async fn withdraw_from(unit: &mut Unit<'_>, agent: AgentId) -> Result<(), Failure> {
    let held = requests::held_by(unit.conn(), agent).await?;
    if let Some(mut held) = held.filter(request::is_withdrawable) {
        request::withdraw(&mut held);
        requests::update(unit.conn(), &held).await?;
        sessions::count_held(unit.conn(), agent).await?;
        messages::delete_of_request(unit.conn(), held.id).await?;
        unit.wake_followers(held.id);
    }
    Ok(())
}

async fn tell_agent(
    unit: &mut Unit<'_>,
    request: &Request,
    body: &JobCancellation,
) -> Result<(), Failure> {
    let Some(id) = request.agent else {
        return Ok(());
    };
    if let Some(mut agent) = agents::by_id(unit.conn(), id).await? {
        let body = crate::store::dialect::json("cancellation", body)?;
        send(unit, &mut agent, kind::CANCELLATION, request.id, body).await?;
    }
    Ok(())
}

/// The job's record ends with the job; the agent's own last word on it stands.
pub async fn complete_record(
    unit: &mut Unit<'_>,
    timeline: TimelineId,
    job: JobId,
    result: TaskResult,
    reason: Option<&str>,
) -> Result<(), Failure> {
    let record = records::find(unit.conn(), timeline, RecordId(job.0)).await?;
    let completed = record
        .as_ref()
        .is_some_and(|record| record.state == Some(RecordState::Completed));
    if !completed {
        let patch = timeline::ended(job, result, reason, unit.now);
        put_record(unit, timeline, record, patch).await?;
    }
    Ok(())
}

/// Merges a patch into a record of a timeline.
pub async fn put_record(
    unit: &mut Unit<'_>,
    timeline: TimelineId,
    existing: Option<Record>,
    patch: Record,
) -> Result<Record, StoreError> {
    let change = unit.change().await?;
    let merged = timeline::merge(existing, patch, change, unit.now);
    records::put(unit.conn(), timeline, &merged).await?;
    Ok(merged)
}
