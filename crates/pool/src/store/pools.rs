//! Pools.

use super::StoreError;
use super::dialect::{
    Conn, Row, column, date, document, json, millis, name_key, query, query_scalar,
};
use crate::rules::entities::Pool;
use dayfly_wire::ids::PoolId;
use jiff::Timestamp;

/// A pool with the number of its agents.
fn sized(row: &Row) -> Result<(Pool, i64), StoreError> {
    Ok((pool(row)?, column(row, "size")?))
}

fn pool(row: &Row) -> Result<Pool, StoreError> {
    Ok(Pool {
        id: PoolId(column(row, "id")?),
        name: column(row, "name")?,
        settings: document(row, "settings")?,
        created_at: date(row, "created_at")?,
    })
}

/// Keeps a new pool.
pub async fn insert(conn: &mut Conn, pool: &Pool) -> Result<(), StoreError> {
    query(
        "INSERT INTO pools (id, name, name_key, created_at, settings) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(pool.id.0)
    .bind(&pool.name)
    .bind(name_key(&pool.name))
    .bind(millis(pool.created_at))
    .bind(json("pool", &pool.settings)?)
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes a changed pool back.
pub async fn update(conn: &mut Conn, pool: &Pool) -> Result<(), StoreError> {
    query("UPDATE pools SET name = $2, name_key = $3, settings = $4 WHERE id = $1")
        .bind(pool.id.0)
        .bind(&pool.name)
        .bind(name_key(&pool.name))
        .bind(json("pool", &pool.settings)?)
        .execute(conn)
        .await?;
    Ok(())
}

/// Marks a pool as gone. Its name is free again: no name begins with a control character.
pub async fn delete(conn: &mut Conn, id: PoolId, now: Timestamp) -> Result<(), StoreError> {
    query("UPDATE pools SET deleted_at = $2, name_key = $3 WHERE id = $1")
        .bind(id.0)
        .bind(millis(now))
        .bind(format!("\u{1}{id}"))
        .execute(conn)
        .await?;
    Ok(())
}

/// The pool with this id.
pub async fn by_id(conn: &mut Conn, id: PoolId) -> Result<Option<Pool>, StoreError> {
    let row = query("SELECT * FROM pools WHERE id = $1 AND deleted_at IS NULL")
        .bind(id.0)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(pool).transpose()
}

/// The pool with this name, whatever its case.
pub async fn by_name(conn: &mut Conn, name: &str) -> Result<Option<Pool>, StoreError> {
    let row = query("SELECT * FROM pools WHERE name_key = $1")
        .bind(name_key(name))
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(pool).transpose()
}

/// All pools, each with the number of its agents.
pub async fn all(conn: &mut Conn) -> Result<Vec<(Pool, i64)>, StoreError> {
    let rows = query(
        "SELECT pools.*, (SELECT COUNT(*) FROM agents WHERE pool_id = pools.id) AS size \
         FROM pools WHERE deleted_at IS NULL ORDER BY id",
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(sized).collect()
}

/// The number of a pool's agents.
pub async fn size(conn: &mut Conn, id: PoolId) -> Result<i64, StoreError> {
    Ok(
        query_scalar("SELECT COUNT(*) FROM agents WHERE pool_id = $1")
            .bind(id.0)
            .fetch_one(conn)
            .await?,
    )
}
