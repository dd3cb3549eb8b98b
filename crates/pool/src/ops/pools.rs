//! Pools: find, list, make, change, remove.

use crate::rules::access::{Caller, Scope, require_scope};
use crate::rules::entities::{Pool, PoolSettings};
use crate::rules::pool;
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::role::{Role, has_role, require_in_every_pool, require_in_pool};
use crate::service::{Failure, Service};
use crate::store::counters::{self, Counter};
use crate::store::dialect::Conn;
use crate::store::{pools, requests};
use dayfly_wire::ids::PoolId;
use dayfly_wire::pool::{AgentPool, PoolChange};

impl Service {
    /// The pools, or the one of a name, in which the caller has at least this role.
    pub async fn pools(
        &self,
        caller: &Caller,
        name: Option<&str>,
        role: Role,
    ) -> Result<Vec<AgentPool>, Failure> {
        require_scope(caller, Scope::AgentPools)?;
        let mut conn = self.store.read().await?;
        let mut found = match name {
            None => pools::all(&mut conn).await?,
            Some(name) => match pools::by_name(&mut conn, name).await? {
                Some(pool) => {
                    let size = pools::size(&mut conn, pool.id).await?;
                    vec![(pool, size)]
                }
                None => Vec::new(),
            },
        };
        found.retain(|(pool, _)| has_role(caller, pool.id, role));
        let documents = found.into_iter();
        Ok(documents
            .map(|(pool, size)| pool::document(pool, size, self.keys.instance))
            .collect())
    }

    /// One pool.
    pub async fn pool(&self, caller: &Caller, id: PoolId) -> Result<AgentPool, Failure> {
        require_in_pool(caller, Scope::AgentPools, id)?;
        let mut conn = self.store.read().await?;
        let pool = existing_pool(&mut conn, id).await?;
        let size = pools::size(&mut conn, id).await?;
        Ok(pool::document(pool, size, self.keys.instance))
    }

    /// Makes a pool.
    pub async fn create_pool(&self, caller: &Caller, name: &str) -> Result<AgentPool, Failure> {
        let named = PoolChange {
            name: Some(name.to_owned()),
            ..PoolChange::default()
        };
        self.create_pool_with(caller, named).await
    }

    /// Makes a pool with more than a name.
    pub async fn create_pool_with(
        &self,
        caller: &Caller,
        draft: PoolChange,
    ) -> Result<AgentPool, Failure> {
        require_in_every_pool(caller, Scope::AgentPoolsManage)?;
        let name = pool::name(draft.name.as_deref().unwrap_or_default())?;
        let mut settings = PoolSettings::default();
        pool::change(&mut settings, draft)?;
        let mut unit = self.begin().await?;
        check_name_is_free(unit.conn(), &name).await?;
        let made = Pool {
            id: PoolId(counters::next(unit.conn(), Counter::Pool).await?),
            name,
            settings,
            created_at: unit.now,
        };
        pools::insert(unit.conn(), &made).await?;
        unit.commit().await?;
        Ok(pool::document(made, 0, self.keys.instance))
    }

    /// Changes what is named of a pool.
    pub async fn change_pool(
        &self,
        caller: &Caller,
        id: PoolId,
        draft: PoolChange,
    ) -> Result<AgentPool, Failure> {
        require_in_pool(caller, Scope::AgentPoolsManage, id)?;
        let mut unit = self.begin().await?;
        let mut changed = existing_pool(unit.conn(), id).await?;
        if let Some(given) = &draft.name {
            let name = pool::name(given)?;
            if !name.eq_ignore_ascii_case(&changed.name) {
                check_name_is_free(unit.conn(), &name).await?;
            }
            changed.name = name;
        }
        pool::change(&mut changed.settings, draft)?;
        pools::update(unit.conn(), &changed).await?;
        let size = pools::size(unit.conn(), id).await?;
        unit.commit().await?;
        Ok(pool::document(changed, size, self.keys.instance))
    }

    /// Removes a pool that nothing uses. What it was stays with the jobs that ran in it.
    pub async fn delete_pool(&self, caller: &Caller, id: PoolId) -> Result<(), Failure> {
        require_in_pool(caller, Scope::AgentPoolsManage, id)?;
        let mut unit = self.begin().await?;
        let gone = existing_pool(unit.conn(), id).await?;
        let agents = pools::size(unit.conn(), id).await?;
        let unfinished = requests::unfinished(unit.conn(), id).await?.len();
        pool::check_removable(&gone, agents, unfinished)?;
        let now = unit.now;
        pools::delete(unit.conn(), id, now).await?;
        unit.commit().await?;
        Ok(())
    }
}

async fn check_name_is_free(conn: &mut Conn, name: &str) -> Result<(), Failure> {
    if pools::by_name(conn, name).await?.is_some() {
        let taken = format!("there is a pool {name:?} already");
        return Err(Refusal::new(Kind::Exists, taken).into());
    }
    Ok(())
}

/// The pool, or the refusal that says that it is not there.
pub async fn existing_pool(conn: &mut Conn, id: PoolId) -> Result<Pool, Failure> {
    let pool = pools::by_id(conn, id).await?;
    Ok(pool
        .ok_or_else(|| Refusal::new(Kind::PoolNotFound, format!("there is no agent pool {id}")))?)
}
