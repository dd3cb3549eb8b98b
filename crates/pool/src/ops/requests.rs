//! Job requests: read, renew, end.

use super::dispatch;
use super::endings::{EndedBy, end_request};
use super::pools::existing_pool;
use super::runs::job_changed;
use crate::rules::access::{
    Caller, Scope, own_request, require_listener, require_request_reader, require_scope,
};
use crate::rules::entities::Request;
use crate::rules::limits;
use crate::rules::paging::Continuation;
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::request::{self, Load};
use crate::rules::role::{Role, has_role, require_in_pool};
use crate::service::{Failure, Service};
use crate::store::dialect::Conn;
use crate::store::requests::{self, LAST_ENDED};
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{AgentId, JobId, PlanId, PoolId, RequestId};
use dayfly_wire::request::{JobRequest, ResourceLimit, ResourceUsage};

/// Which requests of a pool are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The unfinished ones, and as many of those that finished last.
    Unfinished {
        /// How many.
        and_finished: i64,
    },
    /// A page: the unfinished ones and then the finished ones.
    Page {
        /// How many in all.
        most: i64,
        /// Where it begins.
        from: Continuation,
    },
    /// Those of agents, newest first.
    OfAgents {
        /// Which.
        agents: Vec<AgentId>,
        /// How many finished ones of each.
        and_finished: i64,
    },
    /// Those of a plan.
    OfPlan {
        /// Which.
        plan: PlanId,
        /// Only the one of this job.
        job: Option<JobId>,
    },
}

/// Requests, and where the list goes on.
type Selected = (Vec<Request>, Option<Continuation>);

/// The most requests in one answer beyond the unfinished ones.
const MOST: i64 = 1000;
/// The most agents in one question.
const MOST_AGENTS: usize = 100;

impl Service {
    /// A pool's requests.
    pub async fn requests(
        &self,
        caller: &Caller,
        pool: PoolId,
        selection: Selection,
    ) -> Result<Vec<JobRequest>, Failure> {
        let (found, _) = self.page_of_requests(caller, pool, selection).await?;
        Ok(found)
    }

    /// A pool's requests, and where the list goes on if it does.
    pub async fn page_of_requests(
        &self,
        caller: &Caller,
        pool: PoolId,
        selection: Selection,
    ) -> Result<(Vec<JobRequest>, Option<Continuation>), Failure> {
        require_in_pool(caller, Scope::AgentPools, pool)?;
        self.settle().await?;
        let mut conn = self.store.read().await?;
        existing_pool(&mut conn, pool).await?;
        let (found, next) = select(&mut conn, pool, selection).await?;
        let load = self.load(&mut conn).await?;
        let documents = found
            .iter()
            .map(|found| request::explained(found, load))
            .collect();
        Ok((documents, next))
    }

    /// How many jobs run, and how many may.
    pub async fn load(&self, conn: &mut Conn) -> Result<Load, Failure> {
        dispatch::load(conn, self.settings.limits.parallel_jobs).await
    }

    /// How much of the service's jobs at once is in use.
    pub async fn resource_usage(
        &self,
        caller: &Caller,
        with_requests: bool,
    ) -> Result<ResourceUsage, Failure> {
        require_scope(caller, Scope::AgentPools)?;
        self.settle().await?;
        let mut conn = self.store.read().await?;
        let total = self.settings.limits.parallel_jobs;
        let mut running = if with_requests {
            requests::all_held(&mut conn, MOST).await?
        } else {
            Vec::new()
        };
        running.retain(|running| has_role(caller, running.pool, Role::Reader));
        Ok(ResourceUsage {
            resource_limit: ResourceLimit {
                parallelism_tag: "Private".to_owned(),
                is_hosted: false,
                is_premium: total.is_none(),
                total_count: total,
            },
            used_count: requests::count_held(&mut conn).await?,
            used_minutes: 0,
            running_requests: running
                .iter()
                .map(|running| request::document(running, None))
                .collect(),
        })
    }

    /// Makes a request the next of those that wait in its pool.
    pub async fn bump_request(
        &self,
        caller: &Caller,
        pool: PoolId,
        id: RequestId,
    ) -> Result<JobRequest, Failure> {
        require_in_pool(caller, Scope::AgentPoolsManage, pool)?;
        let mut unit = self.begin().await?;
        let mut bumped = existing_request(unit.conn(), pool, id).await?;
        if bumped.is_waiting() {
            let highest = requests::highest_priority(unit.conn(), pool).await?;
            bumped.priority = request::bumped(&bumped, highest);
            requests::update(unit.conn(), &bumped).await?;
        }
        let load = self.load(unit.conn()).await?;
        unit.commit().await?;
        Ok(request::explained(&bumped, load))
    }

    /// One request.
    pub async fn request(
        &self,
        caller: &Caller,
        pool: PoolId,
        id: RequestId,
    ) -> Result<JobRequest, Failure> {
        match caller {
            // Refused before they learn which requests there are.
            Caller::Administrator { .. } | Caller::Job(_) => {
                require_in_pool(caller, Scope::AgentPools, pool)?;
            }
            Caller::Listener(_) => {}
        }
        self.settle().await?;
        let mut conn = self.store.read().await?;
        let found = existing_request(&mut conn, pool, id).await?;
        require_request_reader(caller, &found)?;
        let load = self.load(&mut conn).await?;
        Ok(request::explained(&found, load))
    }

    /// The agent holds on to its request.
    pub async fn renew_request(
        &self,
        caller: &Caller,
        pool: PoolId,
        id: RequestId,
    ) -> Result<JobRequest, Failure> {
        let claims = require_listener(caller, pool)?;
        self.settle().await?;
        let mut unit = self.begin().await?;
        let now = unit.now;
        let mut held = existing_request(unit.conn(), pool, id).await?;
        own_request(claims, &held)?;
        let first = held.received_at.is_none();
        request::renew(&mut held, now)?;
        requests::update(unit.conn(), &held).await?;
        if first {
            job_changed(&mut unit, held.plan.id, held.job).await?;
        }
        unit.commit().await?;
        Ok(request::document(&held, None))
    }

    /// An administrator ends a request.
    pub async fn finish_request(
        &self,
        caller: &Caller,
        pool: PoolId,
        id: RequestId,
        result: TaskResult,
        message: Option<String>,
    ) -> Result<(), Failure> {
        require_in_pool(caller, Scope::AgentPoolsManage, pool)?;
        let mut unit = self.begin().await?;
        let mut ended = existing_request(unit.conn(), pool, id).await?;
        end_request(&mut unit, &mut ended, result, message, EndedBy::Service).await?;
        unit.commit().await?;
        Ok(())
    }
}

async fn select(conn: &mut Conn, pool: PoolId, selection: Selection) -> Result<Selected, Failure> {
    let found = match selection {
        Selection::Unfinished { and_finished } => {
            let mut found = requests::unfinished(conn, pool).await?;
            let most = and_finished.clamp(0, MOST);
            found.extend(requests::finished(conn, pool, LAST_ENDED, most).await?);
            found
        }
        Selection::Page { most, from } => {
            return page(conn, pool, most.clamp(0, MOST), from).await;
        }
        Selection::OfAgents {
            agents,
            and_finished,
        } => {
            if agents.len() > MOST_AGENTS {
                return Err(limits::too_many("a question", "agents", MOST_AGENTS).into());
            }
            let mut found = Vec::new();
            for agent in agents {
                found.extend(of_agent(conn, pool, agent, and_finished.clamp(0, MOST)).await?);
            }
            found
        }
        Selection::OfPlan { plan, job } => {
            let mut found = requests::of_plan(conn, plan, job).await?;
            found.retain(|request| request.pool == pool);
            found
        }
    };
    Ok((found, None))
}

async fn page(
    conn: &mut Conn,
    pool: PoolId,
    most: i64,
    from: Continuation,
) -> Result<Selected, Failure> {
    let many = usize::try_from(most).unwrap_or_default();
    let (mut found, before) = match from {
        Continuation::Unfinished(after) => {
            let after = RequestId(after);
            let mut found = requests::unfinished_page(conn, pool, after, most + 1).await?;
            if found.len() > many {
                found.truncate(many);
                let next = found.last().map_or(from, Continuation::after);
                return Ok((found, Some(next)));
            }
            (found, LAST_ENDED)
        }
        Continuation::Ended(end, id) => (Vec::new(), (end, id)),
    };
    let room = many - found.len();
    let wanted = i64::try_from(room).unwrap_or(MOST) + 1;
    let mut ended = requests::finished(conn, pool, before, wanted).await?;
    let more = ended.len() > room;
    ended.truncate(room);
    let next = more.then(|| {
        ended
            .last()
            .map_or(Continuation::Ended(before.0, before.1), Continuation::after)
    });
    found.extend(ended);
    Ok((found, next))
}

/// What an agent holds, and as many as are wanted of those that it ended last.
async fn of_agent(
    conn: &mut Conn,
    pool: PoolId,
    agent: AgentId,
    most: i64,
) -> Result<Vec<Request>, Failure> {
    let mut found: Vec<_> = requests::held_by(conn, agent).await?.into_iter().collect();
    found.extend(requests::ended_of_agent(conn, agent, most).await?);
    found.retain(|request| request.pool == pool);
    Ok(found)
}

/// A pool's request, or the refusal that says that it is not there.
pub async fn existing_request(
    conn: &mut Conn,
    pool: PoolId,
    id: RequestId,
) -> Result<Request, Failure> {
    let found = requests::by_id(conn, id).await?;
    Ok(found
        .filter(|request| request.pool == pool)
        .ok_or_else(|| {
            Refusal::new(
                Kind::JobNotFound,
                format!("there is no job request {id} in pool {pool}"),
            )
        })?)
}
