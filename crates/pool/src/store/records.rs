//! Timeline records.

use super::StoreError;
use super::dialect::{Conn, Row, document, json, query, query_scalar};
use dayfly_wire::ids::{RecordId, TimelineId};
use dayfly_wire::timeline::Record;

fn record(row: &Row) -> Result<Record, StoreError> {
    document(row, "document")
}

/// One record.
pub async fn find(
    conn: &mut Conn,
    timeline: TimelineId,
    id: RecordId,
) -> Result<Option<Record>, StoreError> {
    let row = query("SELECT document FROM records WHERE timeline_id = $1 AND id = $2")
        .bind(timeline.to_string())
        .bind(id.to_string())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(record).transpose()
}

/// The records of a timeline that changed after a change.
pub async fn all(
    conn: &mut Conn,
    timeline: TimelineId,
    after: i64,
) -> Result<Vec<Record>, StoreError> {
    let rows = query(
        "SELECT document FROM records WHERE timeline_id = $1 AND change_id > $2 ORDER BY change_id, id",
    )
    .bind(timeline.to_string())
    .bind(after)
    .fetch_all(conn)
    .await?;
    rows.iter().map(record).collect()
}

/// The last change of a timeline; 0 when there was none.
pub async fn last_change(conn: &mut Conn, timeline: TimelineId) -> Result<i64, StoreError> {
    let last: Option<i64> =
        query_scalar("SELECT MAX(change_id) FROM records WHERE timeline_id = $1")
            .bind(timeline.to_string())
            .fetch_one(conn)
            .await?;
    Ok(last.unwrap_or_default())
}

/// How many records a timeline has.
pub async fn count(conn: &mut Conn, timeline: TimelineId) -> Result<i64, StoreError> {
    Ok(
        query_scalar("SELECT COUNT(*) FROM records WHERE timeline_id = $1")
            .bind(timeline.to_string())
            .fetch_one(conn)
            .await?,
    )
}

/// Keeps a record, new or changed.
pub async fn put(conn: &mut Conn, timeline: TimelineId, record: &Record) -> Result<(), StoreError> {
    query(
        "INSERT INTO records (timeline_id, id, change_id, document) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (timeline_id, id) DO UPDATE \
         SET change_id = excluded.change_id, document = excluded.document",
    )
    .bind(timeline.to_string())
    .bind(record.id.to_string())
    .bind(record.change_id.unwrap_or_default())
    .bind(json("record", record)?)
    .execute(conn)
    .await?;
    Ok(())
}
