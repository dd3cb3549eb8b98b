//! What the web page shows of pools, queue and runs.

use crate::metrics::{Gauges, QueueGauges};
use crate::rules::access::{Caller, Scope, require_scope};
use crate::rules::entities::{Pool, Request, Run};
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::request::Load;
use crate::rules::role::{Role, has_role};
use crate::rules::waiting::{self, Standing};
use crate::rules::{request, session};
use crate::service::{Failure, Service};
use crate::store::dialect::Conn;
use crate::store::requests::QueuePlace;
use crate::store::{agents, overview, pools, requests, runs};
use dayfly_wire::ids::{AgentId, BuildId, PoolId};
use dayfly_wire::overview::{JobOverview, PoolOverview, RunOverview};
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};

/// Waiting jobs of a pool that are shown.
const WAITING: i64 = 200;
/// Agents of a pool that are looked at for the reason.
const AGENTS: i64 = 2000;
/// The most runs in one answer.
const MOST: i64 = 200;

impl Service {
    /// All pools and how they stand.
    pub async fn pool_overviews(&self, caller: &Caller) -> Result<Vec<PoolOverview>, Failure> {
        require_scope(caller, Scope::AgentPools)?;
        self.settle().await?;
        let mut conn = self.store.read().await?;
        let mut found = overview::pools(&mut conn, self.now() - session::LIFE).await?;
        found.retain(|pool| has_role(caller, pool.id, Role::Reader));
        Ok(found)
    }

    /// How the service stands, for those who watch over it.
    pub async fn gauges(&self) -> Result<Gauges, Failure> {
        let now = self.now();
        let mut conn = self.store.read().await?;
        let queues = overview::queues(&mut conn).await?.into_iter();
        Ok(Gauges {
            queues: queues
                .map(|queue| QueueGauges {
                    pool: queue.pool,
                    waiting: queue.waiting,
                    assigned: queue.assigned,
                    oldest: queue
                        .oldest
                        .map_or(0, |then| now.duration_since(then).as_millis().max(0))
                        .try_into()
                        .unwrap_or(i64::MAX),
                })
                .collect(),
            sessions: overview::sessions(&mut conn, now - session::LIFE).await?,
            agents_polling: self.wakes.waiting(),
        })
    }

    /// What agents hold and what waits for one, with the reason, pool by pool in the queue's order.
    pub async fn queue_overview(&self, caller: &Caller) -> Result<Vec<JobOverview>, Failure> {
        require_scope(caller, Scope::AgentPools)?;
        self.settle().await?;
        let mut conn = self.store.read().await?;
        let mut shown = Vec::new();
        let load = self.load(&mut conn).await?;
        for (pool, _) in pools::all(&mut conn).await? {
            if !has_role(caller, pool.id, Role::Reader) {
                continue;
            }
            shown.extend(queue_of(&mut conn, &pool, self.now(), load).await?);
        }
        Ok(shown)
    }

    /// The newest runs before another, with their jobs.
    pub async fn run_overviews(
        &self,
        caller: &Caller,
        before: Option<BuildId>,
        most: i64,
    ) -> Result<Vec<RunOverview>, Failure> {
        require_scope(caller, Scope::Build)?;
        self.settle().await?;
        let mut conn = self.store.read().await?;
        let before = before.unwrap_or(BuildId(i64::MAX));
        let found = runs::recent(&mut conn, before, most.clamp(1, MOST)).await?;
        let names = pool_names(&mut conn).await?;
        let mut shown = Vec::with_capacity(found.len());
        for each in found {
            let requests = requests::of_plan(&mut conn, each.plan.id, None).await?;
            let jobs = requests.iter().map(|each| job(each, &names, None));
            shown.push(run(&each, jobs.collect()));
        }
        Ok(shown)
    }

    /// A run with its jobs.
    pub async fn run_overview(
        &self,
        caller: &Caller,
        build: BuildId,
    ) -> Result<RunOverview, Failure> {
        require_scope(caller, Scope::Build)?;
        self.settle().await?;
        let mut conn = self.store.read().await?;
        let found = runs::by_id(&mut conn, build).await?;
        let found = found.ok_or_else(|| {
            Refusal::new(
                Kind::PlanNotFound,
                format!("there is no run {build}; it may have been forgotten after its time"),
            )
        })?;
        let names = pool_names(&mut conn).await?;
        let mut jobs = Vec::new();
        let mut queues: HashMap<PoolId, Vec<JobOverview>> = HashMap::new();
        for each in requests::of_plan(&mut conn, found.plan.id, None).await? {
            let mut reason = None;
            if each.is_waiting() {
                let queue = match queues.remove(&each.pool) {
                    Some(queue) => queue,
                    None => self.waiting_in(&mut conn, each.pool).await?,
                };
                let own = queue.iter().find(|job| job.request.request_id == each.id);
                reason = own.and_then(|job| job.reason.clone());
                queues.insert(each.pool, queue);
            }
            jobs.push(job(&each, &names, reason));
        }
        Ok(run(&found, jobs))
    }

    async fn waiting_in(&self, conn: &mut Conn, pool: PoolId) -> Result<Vec<JobOverview>, Failure> {
        let load = self.load(conn).await?;
        match pools::by_id(conn, pool).await? {
            Some(pool) => queue_of(conn, &pool, self.now(), load).await,
            None => Ok(Vec::new()),
        }
    }
}

async fn pool_names(conn: &mut Conn) -> Result<HashMap<PoolId, String>, Failure> {
    let all = pools::all(conn).await?;
    Ok(all
        .into_iter()
        .map(|(pool, _)| (pool.id, pool.name))
        .collect())
}

async fn queue_of(
    conn: &mut Conn,
    pool: &Pool,
    now: Timestamp,
    load: Load,
) -> Result<Vec<JobOverview>, Failure> {
    let held = requests::held(conn, pool.id).await?;
    let waiting = requests::waiting(conn, pool.id, QueuePlace::START, WAITING).await?;
    let names = HashMap::from([(pool.id, pool.name.clone())]);
    let mut shown: Vec<JobOverview> = held.iter().map(|each| job(each, &names, None)).collect();
    if waiting.is_empty() {
        return Ok(shown);
    }
    let busy: HashSet<AgentId> = held.iter().filter_map(|request| request.agent).collect();
    let agents = agents::page(conn, pool.id, AgentId(0), AGENTS).await?;
    let standings: Vec<Standing> = agents
        .into_iter()
        .map(|listed| Standing {
            online: listed.is_online(now),
            busy: busy.contains(&listed.agent.id),
            agent: listed.agent,
        })
        .collect();
    for (ahead, each) in waiting.iter().enumerate() {
        let full = load.room() == 0;
        let limited = full.then(|| request::waiting_reason(each, load)).flatten();
        let reason = limited
            .unwrap_or_else(|| waiting::reason(&pool.name, &each.demands, &standings, ahead));
        shown.push(job(each, &names, Some(reason)));
    }
    Ok(shown)
}

fn job(request: &Request, pools: &HashMap<PoolId, String>, reason: Option<String>) -> JobOverview {
    JobOverview {
        request: request::document(request, None),
        pool_name: pools.get(&request.pool).cloned().unwrap_or_default(),
        project_name: request.plan.project_name.clone(),
        cancel_time: request.cancelled_at,
        reason,
    }
}

fn run(run: &Run, jobs: Vec<JobOverview>) -> RunOverview {
    let plan = &run.plan;
    RunOverview {
        build_id: plan.build,
        build_number: plan.build_number.clone(),
        pipeline: plan.definition_name.clone(),
        project_id: plan.project,
        project_name: plan.project_name.clone(),
        plan_id: plan.id,
        timeline_id: plan.timeline,
        queue_time: Some(run.queued_at),
        start_time: run.started_at,
        cancel_time: run.cancelled_at,
        finish_time: run.finished_at,
        result: run.result,
        is_from_file: run.given.is_some(),
        jobs,
    }
}
