//! Roles in pools. They are given beside the running service, on its database; no route gives one.

use super::starting::existing_pool;
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::role::{EVERY_POOL, Role, Roles};
use crate::service::Failure;
use crate::store::dialect::Conn;
use crate::store::{Store, pools, roles};
use dayfly_wire::ids::PoolId;
use serde::Serialize;
use std::collections::HashMap;

/// The longest name of somebody.
const LONGEST: usize = 200;

/// A role as it is shown.
#[derive(Serialize)]
pub struct Shown {
    /// Whose: the name of tokens or of a service principal.
    pub name: String,
    /// The pool; none for every pool.
    pub pool: Option<String>,
    /// What.
    pub role: Role,
}

/// Gives whoever has this name a role in a pool, or in every pool. From the first one on the name reaches no pool without
/// a role.
pub async fn set(store: &Store, name: &str, pool: Option<&str>, role: Role) -> Result<(), Failure> {
    let name = name.trim();
    if name.is_empty() || name.len() > LONGEST {
        return Err(Refusal::invalid(format!(
            "a role is somebody's: a name of 1 to {LONGEST} characters"
        ))
        .into());
    }
    let mut unit = store.write().await?;
    let place = place(&mut unit, pool).await?;
    if roles::of(&mut unit, name).await? == Roles::Unset {
        // What stays when the last role is taken: otherwise taking it would open every pool.
        roles::put(&mut unit, name, EVERY_POOL, Role::Nothing).await?;
    }
    roles::put(&mut unit, name, place, role).await?;
    unit.commit().await?;
    Ok(())
}

/// Takes the role in a pool, or in every pool.
pub async fn unset(store: &Store, name: &str, pool: Option<&str>) -> Result<(), Failure> {
    let mut unit = store.write().await?;
    let place = place(&mut unit, pool).await?;
    let was = if place == EVERY_POOL {
        let was = roles::of(&mut unit, name).await? != Roles::Unset;
        if was {
            roles::put(&mut unit, name, EVERY_POOL, Role::Nothing).await?;
        }
        was
    } else {
        roles::delete(&mut unit, name, place).await?
    };
    unit.commit().await?;
    was.then_some(()).ok_or_else(|| none(name))
}

/// Forgets that a name was ever given a role: its scopes count alone again.
pub async fn clear(store: &Store, name: &str) -> Result<(), Failure> {
    let mut unit = store.write().await?;
    let was = roles::delete_all(&mut unit, name).await?;
    unit.commit().await?;
    was.then_some(()).ok_or_else(|| none(name))
}

/// All roles, by name; those in pools that are gone are left out.
pub async fn list(store: &Store) -> Result<Vec<Shown>, Failure> {
    let mut conn = store.read().await?;
    let names: HashMap<PoolId, String> = pools::all(&mut conn)
        .await?
        .into_iter()
        .map(|(pool, _)| (pool.id, pool.name))
        .collect();
    let mut shown = Vec::new();
    for kept in roles::all(&mut conn).await? {
        let pool = names.get(&kept.pool).cloned();
        if pool.is_some() || kept.pool == EVERY_POOL {
            shown.push(Shown {
                name: kept.name,
                pool,
                role: kept.role,
            });
        }
    }
    Ok(shown)
}

async fn place(conn: &mut Conn, pool: Option<&str>) -> Result<PoolId, Failure> {
    match pool {
        Some(name) => Ok(existing_pool(conn, name).await?.id),
        None => Ok(EVERY_POOL),
    }
}

fn none(name: &str) -> Failure {
    Refusal::new(Kind::NotFound, format!("{name:?} has no such role")).into()
}
