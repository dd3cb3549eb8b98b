//! Pools: find, list, make.

use crate::rules::access::{Caller, Scope, require_scope};
use crate::rules::entities::Pool;
use crate::rules::refusal::{Kind, Refusal};
use crate::service::{Failure, Service};
use crate::store::counters::{self, Counter};
use crate::store::dialect::Conn;
use crate::store::pools;
use dayfly_wire::ids::PoolId;
use dayfly_wire::pool::AgentPool;

const MAX_NAME: usize = 128;

impl Service {
    /// The pools, or the one of a name.
    pub async fn pools(
        &self,
        caller: &Caller,
        name: Option<&str>,
    ) -> Result<Vec<AgentPool>, Failure> {
        require_scope(caller, Scope::AgentPools)?;
        let mut conn = self.store.read().await?;
        let Some(name) = name else {
            let all = pools::all(&mut conn).await?;
            return Ok(all.into_iter().map(document).collect());
        };
        match pools::by_name(&mut conn, name).await? {
            Some(pool) => {
                let size = pools::size(&mut conn, pool.id).await?;
                Ok(vec![document((pool, size))])
            }
            None => Ok(Vec::new()),
        }
    }

    /// One pool.
    pub async fn pool(&self, caller: &Caller, id: PoolId) -> Result<AgentPool, Failure> {
        require_scope(caller, Scope::AgentPools)?;
        let mut conn = self.store.read().await?;
        let pool = existing_pool(&mut conn, id).await?;
        let size = pools::size(&mut conn, id).await?;
        Ok(document((pool, size)))
    }

    /// Makes a pool.
    pub async fn create_pool(&self, caller: &Caller, name: &str) -> Result<AgentPool, Failure> {
        require_scope(caller, Scope::AgentPoolsManage)?;
        let name = name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control)
        {
            return Err(Refusal::invalid(format!(
                "name: a pool's name has 1 to {MAX_NAME} characters, none of them a control character"
            ))
            .into());
        }
        let mut unit = self.begin().await?;
        if pools::by_name(unit.conn(), name).await?.is_some() {
            return Err(
                Refusal::new(Kind::Exists, format!("there is a pool {name:?} already")).into(),
            );
        }
        let pool = Pool {
            id: PoolId(counters::next(unit.conn(), Counter::Pool).await?),
            name: name.to_owned(),
            created_at: unit.now,
        };
        pools::insert(unit.conn(), &pool).await?;
        unit.commit().await?;
        Ok(document((pool, 0)))
    }
}

/// The pool, or the refusal that says that it is not there.
pub async fn existing_pool(conn: &mut Conn, id: PoolId) -> Result<Pool, Failure> {
    let pool = pools::by_id(conn, id).await?;
    Ok(pool
        .ok_or_else(|| Refusal::new(Kind::PoolNotFound, format!("there is no agent pool {id}")))?)
}

fn document((pool, size): (Pool, i64)) -> AgentPool {
    AgentPool {
        id: pool.id,
        name: pool.name,
        created_on: Some(pool.created_at),
        is_hosted: false,
        pool_type: "automation".to_owned(),
        size,
        is_legacy: false,
        options: "none".to_owned(),
    }
}
