//! Stored logs, in chunks.

use super::StoreError;
use super::dialect::{Conn, Row, column, date, millis, optional_parsed, query, query_scalar};
use dayfly_wire::ids::{JobId, LogId, PlanId};
use dayfly_wire::log::LogReference;
use jiff::Timestamp;

/// A stored log without its text.
#[derive(Clone, Debug)]
pub struct Log {
    /// Its id in the plan.
    pub id: LogId,
    /// The job that made it; not known of logs of before.
    pub job: Option<JobId>,
    /// The name that the agent gave it.
    pub path: String,
    /// Line ends that it holds.
    pub line_count: i64,
    /// Bytes that it holds.
    pub bytes: i64,
    /// Chunks that it has.
    pub chunks: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last appended to.
    pub changed_at: Timestamp,
}

impl Log {
    /// The log as a document.
    pub fn document(&self) -> LogReference {
        LogReference {
            id: self.id,
            path: Some(self.path.clone()),
            line_count: self.line_count,
            location: None,
            created_on: Some(self.created_at),
            last_changed_on: Some(self.changed_at),
        }
    }
}

/// A piece of a log's text.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The number of its first line, from 1.
    pub first_line: i64,
    /// The text.
    pub content: String,
}

fn log(row: &Row) -> Result<Log, StoreError> {
    Ok(Log {
        id: LogId(column(row, "id")?),
        job: optional_parsed(row, "job_id")?,
        path: column(row, "path")?,
        line_count: column(row, "line_count")?,
        bytes: column(row, "bytes")?,
        chunks: column(row, "chunks")?,
        created_at: date(row, "created_at")?,
        changed_at: date(row, "changed_at")?,
    })
}

/// Makes an empty log of a job.
pub async fn create(
    conn: &mut Conn,
    plan: PlanId,
    job: JobId,
    path: String,
    now: Timestamp,
) -> Result<Log, StoreError> {
    let id: i64 = query_scalar(
        "UPDATE plans SET last_log_id = last_log_id + 1 WHERE id = $1 RETURNING last_log_id",
    )
    .bind(plan.to_string())
    .fetch_one(&mut *conn)
    .await?;
    let log = Log {
        id: LogId(id),
        job: Some(job),
        path,
        line_count: 0,
        bytes: 0,
        chunks: 0,
        created_at: now,
        changed_at: now,
    };
    query(
        "INSERT INTO logs (plan_id, id, job_id, path, line_count, bytes, chunks, created_at, changed_at) \
         VALUES ($1, $2, $3, $4, 0, 0, 0, $5, $5)",
    )
    .bind(plan.to_string())
    .bind(id)
    .bind(job.to_string())
    .bind(&log.path)
    .bind(millis(now))
    .execute(conn)
    .await?;
    Ok(log)
}

/// A plan's log.
pub async fn find(conn: &mut Conn, plan: PlanId, id: LogId) -> Result<Option<Log>, StoreError> {
    let row = query("SELECT * FROM logs WHERE plan_id = $1 AND id = $2")
        .bind(plan.to_string())
        .bind(id.0)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(log).transpose()
}

/// A plan's logs.
pub async fn all(conn: &mut Conn, plan: PlanId) -> Result<Vec<Log>, StoreError> {
    let rows = query("SELECT * FROM logs WHERE plan_id = $1 ORDER BY id")
        .bind(plan.to_string())
        .fetch_all(conn)
        .await?;
    rows.iter().map(log).collect()
}

/// Adds a chunk at the end and writes the log's new numbers back.
pub async fn append(
    conn: &mut Conn,
    plan: PlanId,
    log: &mut Log,
    content: &str,
    line_ends: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO log_chunks (plan_id, log_id, number, first_line, line_count, content) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(plan.to_string())
    .bind(log.id.0)
    .bind(log.chunks)
    .bind(log.line_count + 1)
    .bind(line_ends)
    .bind(content)
    .execute(&mut *conn)
    .await?;
    log.chunks += 1;
    log.line_count += line_ends;
    log.bytes += i64::try_from(content.len()).unwrap_or(i64::MAX);
    log.changed_at = now;
    query(
        "UPDATE logs SET line_count = $3, bytes = $4, chunks = $5, changed_at = $6 \
         WHERE plan_id = $1 AND id = $2",
    )
    .bind(plan.to_string())
    .bind(log.id.0)
    .bind(log.line_count)
    .bind(log.bytes)
    .bind(log.chunks)
    .bind(millis(now))
    .execute(conn)
    .await?;
    Ok(())
}

/// The next chunk, from a number on, that holds any of the lines `start` to `end`; with its own number.
pub async fn next_chunk(
    conn: &mut Conn,
    plan: PlanId,
    id: LogId,
    from: i64,
    start: i64,
    end: i64,
) -> Result<Option<(i64, Chunk)>, StoreError> {
    let row = query(
        "SELECT number, first_line, content FROM log_chunks \
         WHERE plan_id = $1 AND log_id = $2 AND number >= $3 \
         AND first_line <= $5 AND first_line + line_count >= $4 ORDER BY number LIMIT 1",
    )
    .bind(plan.to_string())
    .bind(id.0)
    .bind(from)
    .bind(start)
    .bind(end)
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        let chunk = Chunk {
            first_line: column(&row, "first_line")?,
            content: column(&row, "content")?,
        };
        Ok((column(&row, "number")?, chunk))
    })
    .transpose()
}
