//! What somebody may do in pools.

use super::StoreError;
use super::dialect::{Conn, Row, column, name_key, parsed, query};
use crate::rules::role::{Role, Roles};
use dayfly_wire::ids::PoolId;

/// A role as it is kept.
pub struct Kept {
    /// Whose.
    pub name: String,
    /// Where.
    pub pool: PoolId,
    /// Which.
    pub role: Role,
}

fn kept(row: &Row) -> Result<Kept, StoreError> {
    Ok(Kept {
        name: column(row, "name")?,
        pool: PoolId(column(row, "pool_id")?),
        role: parsed(row, "role")?,
    })
}

/// The roles of somebody.
pub async fn of(conn: &mut Conn, name: &str) -> Result<Roles, StoreError> {
    let rows = query("SELECT * FROM pool_roles WHERE name_key = $1")
        .bind(name_key(name))
        .fetch_all(conn)
        .await?;
    let kept: Result<Vec<_>, _> = rows.iter().map(kept).collect();
    Ok(Roles::of(
        kept?.into_iter().map(|kept| (kept.pool, kept.role)),
    ))
}

/// Everybody's roles, by name.
pub async fn all(conn: &mut Conn) -> Result<Vec<Kept>, StoreError> {
    let rows = query("SELECT * FROM pool_roles ORDER BY name_key, pool_id")
        .fetch_all(conn)
        .await?;
    rows.iter().map(kept).collect()
}

/// Gives somebody a role in a pool, instead of the one before.
pub async fn put(conn: &mut Conn, name: &str, pool: PoolId, role: Role) -> Result<(), StoreError> {
    query(
        "INSERT INTO pool_roles (name_key, pool_id, name, role) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (name_key, pool_id) DO UPDATE SET name = excluded.name, role = excluded.role",
    )
    .bind(name_key(name))
    .bind(pool.0)
    .bind(name)
    .bind(role.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes somebody's role in a pool; false when there was none.
pub async fn delete(conn: &mut Conn, name: &str, pool: PoolId) -> Result<bool, StoreError> {
    let done = query("DELETE FROM pool_roles WHERE name_key = $1 AND pool_id = $2")
        .bind(name_key(name))
        .bind(pool.0)
        .execute(conn)
        .await?;
    Ok(done == 1)
}

/// Takes all of somebody's roles; false when there were none.
pub async fn delete_all(conn: &mut Conn, name: &str) -> Result<bool, StoreError> {
    let done = query("DELETE FROM pool_roles WHERE name_key = $1")
        .bind(name_key(name))
        .execute(conn)
        .await?;
    Ok(done > 0)
}
