//! Job requests: read, renew, end.

use super::endings::{EndedBy, end_request};
use super::pools::existing_pool;
use super::runs::job_changed;
use crate::rules::access::{
    Caller, Scope, own_request, require_listener, require_request_reader, require_scope,
};
use crate::rules::entities::Request;
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::request;
use crate::service::{Failure, Service};
use crate::store::dialect::Conn;
use crate::store::requests;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{AgentId, PoolId, RequestId};
use dayfly_wire::request::JobRequest;

/// Which requests of a pool are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The unfinished ones, and as many of those that finished last.
    Unfinished {
        /// How many.
        and_finished: i64,
    },
    /// The unfinished ones and then the finished ones, as many in all.
    Top(i64),
    /// One agent's, newest first.
    OfAgent {
        /// Which.
        agent: AgentId,
        /// How many finished ones.
        and_finished: i64,
    },
}

/// The most requests in one answer beyond the unfinished ones.
const MOST: i64 = 1000;

impl Service {
    /// A pool's requests.
    pub async fn requests(
        &self,
        caller: &Caller,
        pool: PoolId,
        selection: Selection,
    ) -> Result<Vec<JobRequest>, Failure> {
        require_scope(caller, Scope::AgentPools)?;
        self.settle().await?;
        let mut conn = self.store.read().await?;
        existing_pool(&mut conn, pool).await?;
        let found = select(&mut conn, pool, selection).await?;
        Ok(found
            .iter()
            .map(|found| request::document(found, None))
            .collect())
    }

    /// One request.
    pub async fn request(
        &self,
        caller: &Caller,
        pool: PoolId,
        id: RequestId,
    ) -> Result<JobRequest, Failure> {
        if let Caller::Job(_) = caller {
            // Refused before it learns which requests there are.
            require_scope(caller, Scope::AgentPools)?;
        }
        self.settle().await?;
        let mut conn = self.store.read().await?;
        let found = existing_request(&mut conn, pool, id).await?;
        require_request_reader(caller, &found)?;
        Ok(request::document(&found, None))
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
        require_scope(caller, Scope::AgentPoolsManage)?;
        let mut unit = self.begin().await?;
        let mut ended = existing_request(unit.conn(), pool, id).await?;
        end_request(&mut unit, &mut ended, result, message, EndedBy::Service).await?;
        unit.commit().await?;
        Ok(())
    }
}

async fn select(
    conn: &mut Conn,
    pool: PoolId,
    selection: Selection,
) -> Result<Vec<Request>, Failure> {
    match selection {
        Selection::Unfinished { and_finished } => {
            let mut found = requests::unfinished(conn, pool).await?;
            if and_finished > 0 {
                found.extend(requests::finished(conn, pool, and_finished.min(MOST)).await?);
            }
            Ok(found)
        }
        Selection::Top(most) => {
            let most = most.clamp(0, MOST);
            let mut found = requests::unfinished(conn, pool).await?;
            found.truncate(usize::try_from(most).unwrap_or_default());
            let room = most - i64::try_from(found.len()).unwrap_or(most);
            if room > 0 {
                found.extend(requests::finished(conn, pool, room).await?);
            }
            Ok(found)
        }
        Selection::OfAgent {
            agent,
            and_finished,
        } => {
            let most = and_finished.clamp(0, MOST);
            let mut found = requests::of_agent(conn, agent, most + 1).await?;
            found.retain(|request| request.pool == pool);
            let mut room = most;
            found.retain(|request| {
                room -= i64::from(request.is_finished());
                !request.is_finished() || room >= 0
            });
            Ok(found)
        }
    }
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
