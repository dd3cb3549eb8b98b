//! Agents, with whether they have a live session.

use super::StoreError;
use super::dialect::{
    Conn, Row, column, date, document, json, millis, name_key, optional_document, parsed, query,
    truth,
};
use crate::rules::entities::Agent;
use crate::rules::session;
use dayfly_wire::agent::AgentPublicKey;
use dayfly_wire::ids::{AgentId, ClientId, MessageId, PoolId};
use jiff::Timestamp;

/// An agent, and when its session's last question came.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The agent.
    pub agent: Agent,
    last_seen_at: Option<Timestamp>,
}

impl Listed {
    /// Whether it has a live session.
    pub fn is_online(&self, now: Timestamp) -> bool {
        self.last_seen_at
            .is_some_and(|seen| session::is_live(seen, now))
    }
}

fn agent(row: &Row) -> Result<Agent, StoreError> {
    Ok(Agent {
        id: AgentId(column(row, "id")?),
        pool: PoolId(column(row, "pool_id")?),
        name: column(row, "name")?,
        version: column(row, "version")?,
        os_description: column(row, "os_description")?,
        enabled: truth(row, "enabled")?,
        single_use: truth(row, "single_use")?,
        jobs_taken: column(row, "jobs_taken")?,
        client_id: parsed(row, "client_id")?,
        key: AgentPublicKey {
            modulus: column(row, "key_modulus")?,
            exponent: column(row, "key_exponent")?,
        },
        key_version: column(row, "key_version")?,
        last_message: MessageId(column(row, "last_message_id")?),
        system_capabilities: document(row, "system_capabilities")?,
        reported_capabilities: optional_document(row, "reported_capabilities")?,
        user_capabilities: document(row, "user_capabilities")?,
        properties: document(row, "properties")?,
        created_at: date(row, "created_at")?,
        status_changed_at: date(row, "status_changed_at")?,
    })
}

fn listed(row: &Row) -> Result<Listed, StoreError> {
    Ok(Listed {
        agent: agent(row)?,
        last_seen_at: super::dialect::optional_date(row, "last_seen_at")?,
    })
}

/// Keeps a new agent.
pub async fn insert(conn: &mut Conn, agent: &Agent) -> Result<(), StoreError> {
    query(
        "INSERT INTO agents (id, pool_id, name, name_key, version, os_description, enabled, single_use, \
         jobs_taken, client_id, key_modulus, key_exponent, key_version, last_message_id, \
         system_capabilities, user_capabilities, properties, created_at, status_changed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
    )
    .bind(agent.id.0)
    .bind(agent.pool.0)
    .bind(&agent.name)
    .bind(name_key(&agent.name))
    .bind(&agent.version)
    .bind(&agent.os_description)
    .bind(i64::from(agent.enabled))
    .bind(i64::from(agent.single_use))
    .bind(agent.jobs_taken)
    .bind(agent.client_id.to_string())
    .bind(&agent.key.modulus)
    .bind(&agent.key.exponent)
    .bind(agent.key_version)
    .bind(agent.last_message.0)
    .bind(json("capabilities", &agent.system_capabilities)?)
    .bind(json("capabilities", &agent.user_capabilities)?)
    .bind(json("properties", &agent.properties)?)
    .bind(millis(agent.created_at))
    .bind(millis(agent.status_changed_at))
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes a changed agent back.
pub async fn update(conn: &mut Conn, agent: &Agent) -> Result<(), StoreError> {
    query(
        "UPDATE agents SET name = $2, name_key = $3, version = $4, os_description = $5, enabled = $6, \
         single_use = $7, jobs_taken = $8, key_modulus = $9, key_exponent = $10, key_version = $11, \
         last_message_id = $12, system_capabilities = $13, user_capabilities = $14, properties = $15, \
         status_changed_at = $16, reported_capabilities = $17 WHERE id = $1",
    )
    .bind(agent.id.0)
    .bind(&agent.name)
    .bind(name_key(&agent.name))
    .bind(&agent.version)
    .bind(&agent.os_description)
    .bind(i64::from(agent.enabled))
    .bind(i64::from(agent.single_use))
    .bind(agent.jobs_taken)
    .bind(&agent.key.modulus)
    .bind(&agent.key.exponent)
    .bind(agent.key_version)
    .bind(agent.last_message.0)
    .bind(json("capabilities", &agent.system_capabilities)?)
    .bind(json("capabilities", &agent.user_capabilities)?)
    .bind(json("properties", &agent.properties)?)
    .bind(millis(agent.status_changed_at))
    .bind(reported_column(agent)?)
    .execute(conn)
    .await?;
    Ok(())
}

fn reported_column(agent: &Agent) -> Result<Option<String>, StoreError> {
    let reported = agent.reported_capabilities.as_ref();
    reported
        .map(|reported| json("capabilities", reported))
        .transpose()
}

/// Removes an agent; its session and its messages go before.
pub async fn delete(conn: &mut Conn, id: AgentId) -> Result<(), StoreError> {
    query("DELETE FROM agents WHERE id = $1")
        .bind(id.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// The agent with this id.
pub async fn by_id(conn: &mut Conn, id: AgentId) -> Result<Option<Agent>, StoreError> {
    let row = query("SELECT * FROM agents WHERE id = $1")
        .bind(id.0)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(agent).transpose()
}

/// The agent with this client id.
pub async fn by_client(conn: &mut Conn, client: ClientId) -> Result<Option<Agent>, StoreError> {
    let row = query("SELECT * FROM agents WHERE client_id = $1")
        .bind(client.to_string())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(agent).transpose()
}

macro_rules! select_listed {
    ($tail:literal) => {
        concat!(
            "SELECT agents.*, sessions.last_seen_at FROM agents \
             LEFT JOIN sessions ON sessions.agent_id = agents.id ",
            $tail
        )
    };
}

/// A pool's agent, with its status.
pub async fn find(
    conn: &mut Conn,
    pool: PoolId,
    id: AgentId,
) -> Result<Option<Listed>, StoreError> {
    let row = query(select_listed!(
        "WHERE agents.id = $1 AND agents.pool_id = $2"
    ))
    .bind(id.0)
    .bind(pool.0)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(listed).transpose()
}

/// A pool's agents by id, all of them or those of one name.
pub async fn of_pool(
    conn: &mut Conn,
    pool: PoolId,
    name: Option<&str>,
) -> Result<Vec<Listed>, StoreError> {
    let query = match name {
        Some(name) => query(select_listed!(
            "WHERE agents.pool_id = $1 AND name_key = $2"
        ))
        .bind(pool.0)
        .bind(name_key(name)),
        None => query(select_listed!(
            "WHERE agents.pool_id = $1 ORDER BY agents.id"
        ))
        .bind(pool.0),
    };
    let rows = query.fetch_all(conn).await?;
    rows.iter().map(listed).collect()
}

/// A page of a pool's agents after an id.
pub async fn page(
    conn: &mut Conn,
    pool: PoolId,
    after: AgentId,
    size: i64,
) -> Result<Vec<Listed>, StoreError> {
    let rows = query(select_listed!(
        "WHERE agents.pool_id = $1 AND agents.id > $2 ORDER BY agents.id LIMIT $3"
    ))
    .bind(pool.0)
    .bind(after.0)
    .bind(size)
    .fetch_all(conn)
    .await?;
    rows.iter().map(listed).collect()
}

/// A page, after an id, of a pool's agents that listen, are enabled, stay, and hold nothing.
pub async fn idle(
    conn: &mut Conn,
    pool: PoolId,
    now: Timestamp,
    after: AgentId,
    size: i64,
) -> Result<Vec<Agent>, StoreError> {
    let rows = query(
        "SELECT agents.* FROM sessions JOIN agents ON agents.id = sessions.agent_id \
         WHERE sessions.pool_id = $1 AND sessions.agent_id > $3 AND sessions.held = 0 AND sessions.leaving = 0 \
         AND sessions.last_seen_at > $2 AND agents.enabled = 1 \
         AND NOT (agents.single_use = 1 AND agents.jobs_taken > 0) \
         ORDER BY sessions.agent_id LIMIT $4",
    )
    .bind(pool.0)
    .bind(millis(now - session::LIFE))
    .bind(after.0)
    .bind(size)
    .fetch_all(conn)
    .await?;
    rows.iter().map(agent).collect()
}
