//! Starts a job: finds its pool and agents that could run it, composes its message, and gives it to an agent if one is
//! idle.

use super::dispatch::dispatch_request;
use super::endings::{EndedBy, close_request};
use super::messages::SEALED;
use crate::message::{self, Facts, Resolved};
use crate::rules::entities::{Agent, Pool, Request, Run, RunJob};
use crate::rules::queue;
use crate::rules::queueing::{self, Times};
use crate::rules::refusal::{Kind, Refusal};
use crate::service::{Failure, Unit};
use crate::store::counters::{self, Counter};
use crate::store::dialect::Conn;
use crate::store::{agents, pools, reach, requests, runs};
use dayfly_wire::agent::AgentReference;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{AgentId, RequestId};
use dayfly_wire::queue::QueueJob;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Agents that are loaded at once while matching: as many as are named when all of them match.
const PAGE: i64 = 20;
/// Agents that are remembered for saying why none matches.
const SAMPLE: usize = 1000;

/// Starts a job of a run; the request that it became may have ended already, if no registered agent can run it.
///
/// A refusal comes before anything was written.
pub async fn start_job(
    unit: &mut Unit<'_>,
    run: &Run,
    job: &RunJob,
    asked: QueueJob,
    sources: &[Resolved],
) -> Result<Request, Failure> {
    let times = queueing::check(&asked)?;
    let pool = existing_pool(unit.conn(), &asked.pool).await?;
    let matched = match_agents(unit, &pool, &asked.demands).await?;
    let mut request = new_request(unit, &pool, run, job, &asked, times).await?;
    let unmatched = match matched {
        Ok(matched) => {
            request.matched = matched;
            None
        }
        Err(reason) => Some(reason),
    };
    keep(unit, &request, job, asked, sources).await?;
    unit.service().metrics.jobs_queued.inc();
    unit.wake_followers(request.id);
    if let Some(reason) = unmatched {
        let failed = TaskResult::Failed;
        let by = EndedBy::Service;
        close_request(unit, &mut request, failed, Some(reason), by).await?;
        return Ok(request);
    }
    dispatch_request(unit, request).await
}

/// The pool that a job names, or the refusal that says that it is not there.
pub async fn existing_pool(conn: &mut Conn, name: &str) -> Result<Pool, Failure> {
    let pool = pools::by_name(conn, name).await?;
    Ok(pool.ok_or_else(|| {
        Refusal::new(
            Kind::PoolNotFound,
            format!("pool: there is no agent pool {name:?}"),
        )
    })?)
}

/// Stores the request with its sealed message.
async fn keep(
    unit: &mut Unit<'_>,
    request: &Request,
    job: &RunJob,
    mut asked: QueueJob,
    sources: &[Resolved],
) -> Result<(), Failure> {
    let reach = reach::of(unit.conn(), request.plan.definition).await?;
    asked.scripts_access_token |= reach.scripts;
    let service = unit.service();
    let step_ids: Vec<Uuid> = asked.steps.iter().map(|_| Uuid::new_v4()).collect();
    let facts = Facts {
        request,
        job_name: &job.name,
        base_url: &service.settings.public_url,
        instance: service.keys.instance,
        repositories: sources,
        step_ids: &step_ids,
    };
    let composed = serde_json::to_vec(&message::compose(asked, &facts));
    let composed = Zeroizing::new(
        composed.map_err(|_| Failure::Key("a job message cannot be written".to_owned()))?,
    );
    let sealed = service
        .keys
        .seal(SEALED, &request.id.to_string(), &composed)?;
    requests::insert(unit.conn(), request, &sealed).await?;
    runs::started(unit.conn(), job.id, request.id).await?;
    Ok(())
}

/// The agents that satisfy the demands, or why none does.
async fn match_agents(
    unit: &mut Unit<'_>,
    pool: &Pool,
    demands: &[String],
) -> Result<Result<Vec<AgentReference>, String>, Failure> {
    let now = unit.now;
    let mut matched = Vec::new();
    let mut sample: Vec<Agent> = Vec::new();
    let mut after = AgentId(0);
    loop {
        let page = agents::page(unit.conn(), pool.id, after, PAGE).await?;
        let Some(last) = page.last() else {
            break;
        };
        after = last.agent.id;
        for listed in page {
            if queue::satisfies(demands, &listed.agent) {
                matched.push(listed.agent.reference(listed.is_online(now)));
                if matched.len() == queue::MATCHED {
                    return Ok(Ok(matched));
                }
            } else if matched.is_empty() && sample.len() < SAMPLE {
                sample.push(listed.agent);
            }
        }
    }
    if matched.is_empty() {
        return Ok(Err(queue::unmatched_reason(&pool.name, demands, &sample)));
    }
    Ok(Ok(matched))
}

async fn new_request(
    unit: &mut Unit<'_>,
    pool: &Pool,
    run: &Run,
    job: &RunJob,
    asked: &QueueJob,
    times: Times,
) -> Result<Request, Failure> {
    Ok(Request {
        id: RequestId(counters::next(unit.conn(), Counter::Request).await?),
        pool: pool.id,
        plan: run.plan.clone(),
        job: job.id,
        name: job.display_name.clone(),
        demands: asked.demands.clone(),
        matched: Vec::new(),
        priority: asked.priority.unwrap_or_default(),
        timeout_minutes: times.timeout_minutes,
        cancel_timeout_minutes: times.cancel_timeout_minutes,
        queued_at: unit.now,
        assigned_at: None,
        acknowledged_at: None,
        received_at: None,
        locked_until: None,
        cancelled_at: None,
        finished_at: None,
        result: None,
        status_message: None,
        agent: None,
        agent_name: None,
    })
}
