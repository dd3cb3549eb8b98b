//! Messages that were not acknowledged.

use super::StoreError;
use super::dialect::{Conn, Row, column, query, query_scalar};
use crate::rules::entities::Message;
use dayfly_wire::ids::{AgentId, MessageId, RequestId};

fn message(row: &Row) -> Result<Message, StoreError> {
    Ok(Message {
        agent: AgentId(column(row, "agent_id")?),
        id: MessageId(column(row, "id")?),
        kind: column(row, "kind")?,
        request: RequestId(column(row, "request_id")?),
        body: column(row, "body")?,
    })
}

/// Puts a message into an agent's queue.
pub async fn insert(conn: &mut Conn, message: &Message) -> Result<(), StoreError> {
    query(
        "INSERT INTO messages (agent_id, id, kind, request_id, body) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(message.agent.0)
    .bind(message.id.0)
    .bind(&message.kind)
    .bind(message.request.0)
    .bind(&message.body)
    .execute(conn)
    .await?;
    Ok(())
}

/// The oldest message after an id.
pub async fn next(
    conn: &mut Conn,
    agent: AgentId,
    after: MessageId,
) -> Result<Option<Message>, StoreError> {
    let row = query("SELECT * FROM messages WHERE agent_id = $1 AND id > $2 ORDER BY id LIMIT 1")
        .bind(agent.0)
        .bind(after.0)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(message).transpose()
}

/// The agents that have messages.
pub async fn agents(conn: &mut Conn) -> Result<Vec<AgentId>, StoreError> {
    let ids: Vec<i64> = query_scalar("SELECT DISTINCT agent_id FROM messages")
        .fetch_all(conn)
        .await?;
    Ok(ids.into_iter().map(AgentId).collect())
}

/// One message.
pub async fn find(
    conn: &mut Conn,
    agent: AgentId,
    id: MessageId,
) -> Result<Option<Message>, StoreError> {
    let row = query("SELECT * FROM messages WHERE agent_id = $1 AND id = $2")
        .bind(agent.0)
        .bind(id.0)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(message).transpose()
}

/// Removes one message.
pub async fn delete(conn: &mut Conn, agent: AgentId, id: MessageId) -> Result<(), StoreError> {
    query("DELETE FROM messages WHERE agent_id = $1 AND id = $2")
        .bind(agent.0)
        .bind(id.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Removes every message about a request.
pub async fn delete_of_request(conn: &mut Conn, request: RequestId) -> Result<(), StoreError> {
    query("DELETE FROM messages WHERE request_id = $1")
        .bind(request.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Removes every message of a kind about a request.
pub async fn delete_of_kind(
    conn: &mut Conn,
    request: RequestId,
    kind: &str,
) -> Result<(), StoreError> {
    query("DELETE FROM messages WHERE request_id = $1 AND kind = $2")
        .bind(request.0)
        .bind(kind)
        .execute(conn)
        .await?;
    Ok(())
}

/// Empties an agent's queue.
pub async fn delete_of_agent(conn: &mut Conn, agent: AgentId) -> Result<(), StoreError> {
    query("DELETE FROM messages WHERE agent_id = $1")
        .bind(agent.0)
        .execute(conn)
        .await?;
    Ok(())
}
