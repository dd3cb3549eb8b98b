//! Sessions.

use super::StoreError;
use super::dialect::{Conn, Row, column, date, millis, parsed, query, query_scalar, truth};
use crate::rules::entities::Session;
use crate::rules::session::LIFE;
use dayfly_wire::ids::{AgentId, SessionId};
use jiff::Timestamp;

fn session(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        id: parsed(row, "id")?,
        agent: AgentId(column(row, "agent_id")?),
        owner_name: column(row, "owner_name")?,
        sealed_key: column(row, "sealed_key")?,
        leaving: truth(row, "leaving")?,
        created_at: date(row, "created_at")?,
        last_seen_at: date(row, "last_seen_at")?,
    })
}

/// Keeps a new session.
pub async fn insert(conn: &mut Conn, session: &Session) -> Result<(), StoreError> {
    query(
        "INSERT INTO sessions (id, agent_id, owner_name, sealed_key, leaving, created_at, last_seen_at, pool_id) \
         SELECT $1, $2, $3, $4, $5, $6, $7, pool_id FROM agents WHERE id = $2",
    )
    .bind(session.id.to_string())
    .bind(session.agent.0)
    .bind(&session.owner_name)
    .bind(&session.sealed_key)
    .bind(i64::from(session.leaving))
    .bind(millis(session.created_at))
    .bind(millis(session.last_seen_at))
    .execute(&mut *conn)
    .await?;
    count_held(conn, session.agent).await
}

/// Counts what the agent holds, after that changed: whom a job could be given to is found by it.
pub async fn count_held(conn: &mut Conn, agent: AgentId) -> Result<(), StoreError> {
    query(
        "UPDATE sessions SET held = (SELECT COUNT(*) FROM requests \
         WHERE requests.agent_id = $1 AND requests.finished_at IS NULL) WHERE agent_id = $1",
    )
    .bind(agent.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// The session with this id.
pub async fn by_id(conn: &mut Conn, id: SessionId) -> Result<Option<Session>, StoreError> {
    let row = query("SELECT * FROM sessions WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(session).transpose()
}

/// The agent's session.
pub async fn of_agent(conn: &mut Conn, agent: AgentId) -> Result<Option<Session>, StoreError> {
    let row = query("SELECT * FROM sessions WHERE agent_id = $1")
        .bind(agent.0)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(session).transpose()
}

/// How many sessions there are.
pub async fn count(conn: &mut Conn) -> Result<i64, StoreError> {
    Ok(query_scalar("SELECT COUNT(*) FROM sessions")
        .fetch_one(conn)
        .await?)
}

/// Sessions whose agent did not ask for too long.
pub async fn expired(conn: &mut Conn, now: Timestamp) -> Result<Vec<Session>, StoreError> {
    let rows = query("SELECT * FROM sessions WHERE last_seen_at <= $1")
        .bind(millis(now - LIFE))
        .fetch_all(conn)
        .await?;
    rows.iter().map(session).collect()
}

/// The agent asked.
pub async fn seen(conn: &mut Conn, id: SessionId, now: Timestamp) -> Result<(), StoreError> {
    query("UPDATE sessions SET last_seen_at = $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(millis(now))
        .execute(conn)
        .await?;
    Ok(())
}

/// The agent takes no further job.
pub async fn leaving(conn: &mut Conn, agent: AgentId) -> Result<(), StoreError> {
    query("UPDATE sessions SET leaving = 1 WHERE agent_id = $1")
        .bind(agent.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Removes a session.
pub async fn delete(conn: &mut Conn, id: SessionId) -> Result<(), StoreError> {
    query("DELETE FROM sessions WHERE id = $1")
        .bind(id.to_string())
        .execute(conn)
        .await?;
    Ok(())
}
