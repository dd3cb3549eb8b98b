//! Console lines of jobs that are followed, or were a short while ago.

use super::StoreError;
use super::dialect::{Conn, Row, column, document, json, millis, query, query_scalar};
use crate::rules::feed::{Chunk, LINES};
use dayfly_wire::ids::{RecordId, RequestId};
use jiff::Timestamp;

/// Chunks that are read at once; a page is full with fewer unless they are tiny.
const CHUNKS: i64 = 200;

fn chunk(row: &Row) -> Result<Chunk, StoreError> {
    let malformed = |_| StoreError::Malformed { what: "step id" };
    let step: Option<String> = column(row, "step_id")?;
    Ok(Chunk {
        first: column(row, "first_line")?,
        number: column(row, "step_line")?,
        step: step.map(|id| id.parse().map_err(malformed)).transpose()?,
        lines: document(row, "lines")?,
    })
}

/// Adds lines at the end, and drops those that are too many.
pub async fn append(
    conn: &mut Conn,
    request: RequestId,
    step: Option<RecordId>,
    number: Option<i64>,
    lines: &[String],
) -> Result<(), StoreError> {
    let count = i64::try_from(lines.len()).unwrap_or(i64::MAX);
    let next: i64 = query_scalar(
        "INSERT INTO feeds (request_id, next_line) VALUES ($1, $2) ON CONFLICT (request_id) \
         DO UPDATE SET next_line = feeds.next_line + excluded.next_line RETURNING next_line",
    )
    .bind(request.0)
    .bind(count)
    .fetch_one(&mut *conn)
    .await?;
    query(
        "INSERT INTO feed_chunks (request_id, first_line, line_count, step_id, step_line, lines) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(request.0)
    .bind(next - count)
    .bind(count)
    .bind(step.map(|id| id.to_string()))
    .bind(number)
    .bind(json("console lines", &lines)?)
    .execute(&mut *conn)
    .await?;
    query("DELETE FROM feed_chunks WHERE request_id = $1 AND first_line + line_count <= $2")
        .bind(request.0)
        .bind(next - LINES)
        .execute(conn)
        .await?;
    Ok(())
}

/// The first chunks with lines from number `after` on.
pub async fn after(
    conn: &mut Conn,
    request: RequestId,
    after: u64,
) -> Result<Vec<Chunk>, StoreError> {
    let rows = query(
        "SELECT first_line, step_id, step_line, lines FROM feed_chunks WHERE request_id = $1 \
         AND first_line + line_count > $2 ORDER BY first_line LIMIT $3",
    )
    .bind(request.0)
    .bind(i64::try_from(after).unwrap_or(i64::MAX))
    .bind(CHUNKS)
    .fetch_all(conn)
    .await?;
    rows.iter().map(chunk).collect()
}

/// Removes the lines of at most `most` jobs that ended before a time, or are gone; answers how many there were.
pub async fn forget(conn: &mut Conn, before: Timestamp, most: i64) -> Result<usize, StoreError> {
    let old: Vec<i64> = query_scalar(
        "SELECT feeds.request_id FROM feeds LEFT JOIN requests ON requests.id = feeds.request_id \
         WHERE requests.id IS NULL OR requests.finished_at < $1 LIMIT $2",
    )
    .bind(millis(before))
    .bind(most)
    .fetch_all(&mut *conn)
    .await?;
    for request in &old {
        for statement in [
            "DELETE FROM feed_chunks WHERE request_id = $1",
            "DELETE FROM feeds WHERE request_id = $1",
        ] {
            query(statement).bind(*request).execute(&mut *conn).await?;
        }
    }
    Ok(old.len())
}
