//! Attachments of records; their content lies in files.

use super::StoreError;
use super::dialect::{Conn, Row, column, date, millis, parsed, query, query_scalar};
use dayfly_wire::ids::{PlanId, RecordId, TimelineId};
use jiff::Timestamp;

/// An attachment.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The timeline of its record.
    pub timeline: TimelineId,
    /// Its record.
    pub record: RecordId,
    /// Its type.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The hash of its content.
    pub hash: String,
    /// The length of its content.
    pub bytes: i64,
    /// When it was put first.
    pub created_at: Timestamp,
    /// When it was put last.
    pub changed_at: Timestamp,
}

fn attachment(row: &Row) -> Result<Attachment, StoreError> {
    Ok(Attachment {
        timeline: parsed(row, "timeline_id")?,
        record: parsed(row, "record_id")?,
        kind: column(row, "kind")?,
        name: column(row, "name")?,
        hash: column(row, "hash")?,
        bytes: column(row, "bytes")?,
        created_at: date(row, "created_at")?,
        changed_at: date(row, "changed_at")?,
    })
}

/// Keeps an attachment, new or again; when it was put first stays.
pub async fn put(conn: &mut Conn, plan: PlanId, attachment: &Attachment) -> Result<(), StoreError> {
    query(
        "INSERT INTO attachments (timeline_id, record_id, kind, name, plan_id, hash, bytes, created_at, changed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         ON CONFLICT (timeline_id, record_id, kind, name) DO UPDATE \
         SET hash = excluded.hash, bytes = excluded.bytes, changed_at = excluded.changed_at",
    )
    .bind(attachment.timeline.to_string())
    .bind(attachment.record.to_string())
    .bind(&attachment.kind)
    .bind(&attachment.name)
    .bind(plan.to_string())
    .bind(&attachment.hash)
    .bind(attachment.bytes)
    .bind(millis(attachment.created_at))
    .bind(millis(attachment.changed_at))
    .execute(conn)
    .await?;
    Ok(())
}

/// One attachment.
pub async fn find(
    conn: &mut Conn,
    timeline: TimelineId,
    record: RecordId,
    kind: &str,
    name: &str,
) -> Result<Option<Attachment>, StoreError> {
    let row = query(
        "SELECT * FROM attachments \
         WHERE timeline_id = $1 AND record_id = $2 AND kind = $3 AND name = $4",
    )
    .bind(timeline.to_string())
    .bind(record.to_string())
    .bind(kind)
    .bind(name)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(attachment).transpose()
}

/// A record's attachments of a type, by name.
pub async fn of_record(
    conn: &mut Conn,
    timeline: TimelineId,
    record: RecordId,
    kind: &str,
) -> Result<Vec<Attachment>, StoreError> {
    let rows = query(
        "SELECT * FROM attachments \
         WHERE timeline_id = $1 AND record_id = $2 AND kind = $3 ORDER BY name",
    )
    .bind(timeline.to_string())
    .bind(record.to_string())
    .bind(kind)
    .fetch_all(conn)
    .await?;
    rows.iter().map(attachment).collect()
}

/// A plan's attachments of a type, in the order of their records.
pub async fn of_plan(
    conn: &mut Conn,
    plan: PlanId,
    kind: &str,
) -> Result<Vec<Attachment>, StoreError> {
    let rows = query(
        "SELECT * FROM attachments WHERE plan_id = $1 AND kind = $2 \
         ORDER BY created_at, record_id, name",
    )
    .bind(plan.to_string())
    .bind(kind)
    .fetch_all(conn)
    .await?;
    rows.iter().map(attachment).collect()
}

/// How many attachments a plan has.
pub async fn count(conn: &mut Conn, plan: PlanId) -> Result<i64, StoreError> {
    Ok(
        query_scalar("SELECT COUNT(*) FROM attachments WHERE plan_id = $1")
            .bind(plan.to_string())
            .fetch_one(conn)
            .await?,
    )
}
