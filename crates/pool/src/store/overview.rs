//! What the web page shows, across pools and projects.

use super::StoreError;
use super::dialect::{Conn, Row, column, millis, optional_date, query, query_scalar};
use dayfly_wire::ids::PoolId;
use dayfly_wire::overview::PoolOverview;
use jiff::Timestamp;

fn pool(row: &Row) -> Result<PoolOverview, StoreError> {
    Ok(PoolOverview {
        id: PoolId(column(row, "id")?),
        name: column(row, "name")?,
        agents: column(row, "agents")?,
        online: column(row, "online")?,
        disabled: column(row, "disabled")?,
        running: column(row, "running")?,
        waiting: column(row, "waiting")?,
    })
}

/// All pools with their numbers, by name. Agents count as online that were seen after a time.
pub async fn pools(
    conn: &mut Conn,
    seen_after: Timestamp,
) -> Result<Vec<PoolOverview>, StoreError> {
    let rows = query(
        "SELECT pools.id, pools.name, \
         (SELECT COUNT(*) FROM agents WHERE agents.pool_id = pools.id) AS agents, \
         (SELECT COUNT(*) FROM agents JOIN sessions ON sessions.agent_id = agents.id \
          WHERE agents.pool_id = pools.id AND sessions.last_seen_at > $1) AS online, \
         (SELECT COUNT(*) FROM agents WHERE agents.pool_id = pools.id AND agents.enabled = 0) AS disabled, \
         (SELECT COUNT(*) FROM requests WHERE requests.pool_id = pools.id \
          AND requests.finished_at IS NULL AND requests.assigned_at IS NOT NULL) AS running, \
         (SELECT COUNT(*) FROM requests WHERE requests.pool_id = pools.id \
          AND requests.finished_at IS NULL AND requests.assigned_at IS NULL) AS waiting \
         FROM pools WHERE pools.deleted_at IS NULL ORDER BY pools.name_key",
    )
    .bind(millis(seen_after))
    .fetch_all(conn)
    .await?;
    rows.iter().map(pool).collect()
}

/// How the queue of a pool stands.
pub struct Queue {
    /// The pool.
    pub pool: PoolId,
    /// Requests without an agent.
    pub waiting: i64,
    /// Requests with one.
    pub assigned: i64,
    /// When the oldest of those without an agent was queued.
    pub oldest: Option<Timestamp>,
}

fn queue(row: &Row) -> Result<Queue, StoreError> {
    Ok(Queue {
        pool: PoolId(column(row, "id")?),
        waiting: column(row, "waiting")?,
        assigned: column(row, "assigned")?,
        oldest: optional_date(row, "oldest")?,
    })
}

/// The queues of all pools.
pub async fn queues(conn: &mut Conn) -> Result<Vec<Queue>, StoreError> {
    let rows = query(
        "SELECT pools.id, \
         (SELECT COUNT(*) FROM requests WHERE requests.pool_id = pools.id \
          AND requests.finished_at IS NULL AND requests.assigned_at IS NULL) AS waiting, \
         (SELECT COUNT(*) FROM requests WHERE requests.pool_id = pools.id \
          AND requests.finished_at IS NULL AND requests.assigned_at IS NOT NULL) AS assigned, \
         (SELECT MIN(requests.queued_at) FROM requests WHERE requests.pool_id = pools.id \
          AND requests.finished_at IS NULL AND requests.assigned_at IS NULL) AS oldest \
         FROM pools WHERE pools.deleted_at IS NULL ORDER BY pools.id",
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(queue).collect()
}

/// How many sessions were seen after a time.
pub async fn sessions(conn: &mut Conn, seen_after: Timestamp) -> Result<i64, StoreError> {
    Ok(
        query_scalar("SELECT COUNT(*) FROM sessions WHERE last_seen_at > $1")
            .bind(millis(seen_after))
            .fetch_one(conn)
            .await?,
    )
}
