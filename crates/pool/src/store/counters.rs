//! Ids that people see: they count from 1 and are never given twice.

use super::StoreError;
use super::dialect::{Conn, query_scalar};

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub enum Counter {
    /// Pools.
    Pool,
    /// Agents.
    Agent,
    /// Job requests.
    Request,
    /// Runs.
    Build,
    /// Pipelines.
    Definition,
    /// Artifacts.
    Artifact,
    /// Changes of timelines.
    Change,
}

/// The next number.
pub async fn next(conn: &mut Conn, counter: Counter) -> Result<i64, StoreError> {
    let name = match counter {
        Counter::Pool => "pool",
        Counter::Agent => "agent",
        Counter::Request => "request",
        Counter::Build => "build",
        Counter::Definition => "definition",
        Counter::Artifact => "artifact",
        Counter::Change => "change",
    };
    Ok(
        query_scalar("UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value")
            .bind(name)
            .fetch_one(conn)
            .await?,
    )
}
