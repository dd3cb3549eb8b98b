//! Schedules of pipelines, and what they queued last.

use super::StoreError;
use super::dialect::{Conn, column, date, document, json, millis, query, query_scalar};
use dayfly_pipeline::file::Schedule;
use dayfly_wire::ids::DefinitionId;
use jiff::Timestamp;

/// A schedule of a pipeline.
pub struct Kept {
    /// The pipeline.
    pub definition: DefinitionId,
    /// Its place in the file.
    pub number: i64,
    /// What the file says.
    pub schedule: Schedule,
    /// Up to when it was looked at.
    pub seen_at: Timestamp,
}

/// Every schedule of every pipeline.
pub async fn all(conn: &mut Conn) -> Result<Vec<Kept>, StoreError> {
    let rows = query(
        "SELECT definition_id, number, schedule, seen_at FROM definition_schedules \
         ORDER BY definition_id, number",
    )
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Kept {
                definition: DefinitionId(column(row, "definition_id")?),
                number: column(row, "number")?,
                schedule: document(row, "schedule")?,
                seen_at: date(row, "seen_at")?,
            })
        })
        .collect()
}

/// Takes the schedules of a pipeline's file. One that it had before keeps the time up to which it was looked at.
pub async fn replace(
    conn: &mut Conn,
    definition: DefinitionId,
    schedules: &[Schedule],
    now: Timestamp,
) -> Result<(), StoreError> {
    let before: Vec<_> = all(conn)
        .await?
        .into_iter()
        .filter(|kept| kept.definition == definition)
        .collect();
    query("DELETE FROM definition_schedules WHERE definition_id = $1")
        .bind(definition.0)
        .execute(&mut *conn)
        .await?;
    for (schedule, number) in schedules.iter().zip(1_i64..) {
        let known = before.iter().find(|kept| kept.schedule == *schedule);
        let seen_at = known.map_or(now, |kept| kept.seen_at);
        query(
            "INSERT INTO definition_schedules (definition_id, number, schedule, seen_at) \
             VALUES ($1, $2, $3, $4)",
        )
        .bind(definition.0)
        .bind(number)
        .bind(json("schedule", schedule)?)
        .bind(millis(seen_at))
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// A schedule was looked at; false when somebody else has done so since it was read.
pub async fn seen(conn: &mut Conn, kept: &Kept, now: Timestamp) -> Result<bool, StoreError> {
    let updated = query(
        "UPDATE definition_schedules SET seen_at = $4 \
         WHERE definition_id = $1 AND number = $2 AND seen_at = $3",
    )
    .bind(kept.definition.0)
    .bind(kept.number)
    .bind(millis(kept.seen_at))
    .bind(millis(now))
    .execute(conn)
    .await?;
    Ok(updated > 0)
}

/// The commit of a branch that a schedule of the pipeline queued last.
pub async fn queued_version(
    conn: &mut Conn,
    definition: DefinitionId,
    reference: &str,
) -> Result<Option<String>, StoreError> {
    Ok(query_scalar(
        "SELECT version FROM scheduled_heads WHERE definition_id = $1 AND reference = $2",
    )
    .bind(definition.0)
    .bind(reference)
    .fetch_optional(conn)
    .await?)
}

/// A schedule of the pipeline queued this commit of a branch.
pub async fn put_queued_version(
    conn: &mut Conn,
    definition: DefinitionId,
    reference: &str,
    version: &str,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO scheduled_heads (definition_id, reference, version) VALUES ($1, $2, $3) \
         ON CONFLICT (definition_id, reference) DO UPDATE SET version = excluded.version",
    )
    .bind(definition.0)
    .bind(reference)
    .bind(version)
    .execute(conn)
    .await?;
    Ok(())
}
