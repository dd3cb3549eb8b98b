//! Task definitions; their archives lie in files.

use super::StoreError;
use super::dialect::{Conn, Row, column, document, json, millis, name_key, query, query_scalar};
use dayfly_wire::ids::TaskId;
use dayfly_wire::task::{TaskDefinition, TaskVersion};
use jiff::Timestamp;

/// A task definition with its archive.
#[derive(Clone, Debug)]
pub struct Task {
    /// What it says.
    pub definition: TaskDefinition,
    /// The hash of its archive.
    pub hash: String,
    /// The length of its archive.
    pub bytes: i64,
}

fn task(row: &Row) -> Result<Task, StoreError> {
    Ok(Task {
        definition: document(row, "document")?,
        hash: column(row, "hash")?,
        bytes: column(row, "bytes")?,
    })
}

/// Keeps a task definition, new or again.
pub async fn put(conn: &mut Conn, task: &Task, now: Timestamp) -> Result<(), StoreError> {
    let TaskDefinition {
        id, version, name, ..
    } = &task.definition;
    query(
        "INSERT INTO tasks (id, major, minor, patch, name, document, hash, bytes, uploaded_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id, major, minor, patch) DO UPDATE \
         SET name = excluded.name, document = excluded.document, hash = excluded.hash, \
         bytes = excluded.bytes, uploaded_at = excluded.uploaded_at",
    )
    .bind(id.to_string())
    .bind(i64::from(version.major))
    .bind(i64::from(version.minor))
    .bind(i64::from(version.patch))
    .bind(name)
    .bind(json("task", &task.definition)?)
    .bind(&task.hash)
    .bind(task.bytes)
    .bind(millis(now))
    .execute(conn)
    .await?;
    Ok(())
}

/// One version of a task.
pub async fn find(
    conn: &mut Conn,
    id: TaskId,
    version: TaskVersion,
) -> Result<Option<Task>, StoreError> {
    let row =
        query("SELECT * FROM tasks WHERE id = $1 AND major = $2 AND minor = $3 AND patch = $4")
            .bind(id.to_string())
            .bind(i64::from(version.major))
            .bind(i64::from(version.minor))
            .bind(i64::from(version.patch))
            .fetch_optional(conn)
            .await?;
    row.as_ref().map(task).transpose()
}

/// All task definitions, or those of one task.
pub async fn all(conn: &mut Conn, id: Option<TaskId>) -> Result<Vec<TaskDefinition>, StoreError> {
    let query = match id {
        Some(id) => query("SELECT document FROM tasks WHERE id = $1 ORDER BY major, minor, patch")
            .bind(id.to_string()),
        None => query("SELECT document FROM tasks ORDER BY name, id, major, minor, patch"),
    };
    let rows = query.fetch_all(conn).await?;
    rows.iter().map(|row| document(row, "document")).collect()
}

/// The versions of a task that is called so, or has this id, without regard to case.
pub async fn of_major(
    conn: &mut Conn,
    name: &str,
    major: u32,
) -> Result<Vec<TaskDefinition>, StoreError> {
    let rows =
        query("SELECT document FROM tasks WHERE (LOWER(name) = $1 OR id = $1) AND major = $2")
            .bind(name_key(name))
            .bind(i64::from(major))
            .fetch_all(conn)
            .await?;
    rows.iter().map(|row| document(row, "document")).collect()
}

/// How many there are.
pub async fn count(conn: &mut Conn) -> Result<i64, StoreError> {
    Ok(query_scalar("SELECT COUNT(*) FROM tasks")
        .fetch_one(conn)
        .await?)
}

/// Removes a task, or one version of it; answers how many versions.
pub async fn delete(
    conn: &mut Conn,
    id: TaskId,
    version: Option<TaskVersion>,
) -> Result<u64, StoreError> {
    let query = match version {
        Some(version) => {
            query("DELETE FROM tasks WHERE id = $1 AND major = $2 AND minor = $3 AND patch = $4")
                .bind(id.to_string())
                .bind(i64::from(version.major))
                .bind(i64::from(version.minor))
                .bind(i64::from(version.patch))
        }
        None => query("DELETE FROM tasks WHERE id = $1").bind(id.to_string()),
    };
    Ok(query.execute(conn).await?)
}
