//! Timelines beside a plan's own.

use super::StoreError;
use super::dialect::{Conn, millis, optional_parsed, parsed, query, query_scalar};
use dayfly_wire::ids::{JobId, PlanId, TimelineId};
use jiff::Timestamp;

/// Whether any plan has a timeline of this id, as its own or beside it.
pub async fn exists(conn: &mut Conn, id: TimelineId) -> Result<bool, StoreError> {
    let found: i64 = query_scalar(
        "SELECT (SELECT COUNT(*) FROM timelines WHERE id = $1) \
         + (SELECT COUNT(*) FROM plans WHERE timeline_id = $1)",
    )
    .bind(id.to_string())
    .fetch_one(conn)
    .await?;
    Ok(found > 0)
}

/// Keeps a new timeline.
pub async fn insert(
    conn: &mut Conn,
    plan: PlanId,
    job: JobId,
    id: TimelineId,
    now: Timestamp,
) -> Result<(), StoreError> {
    query("INSERT INTO timelines (id, plan_id, job_id, created_at) VALUES ($1, $2, $3, $4)")
        .bind(id.to_string())
        .bind(plan.to_string())
        .bind(job.to_string())
        .bind(millis(now))
        .execute(conn)
        .await?;
    Ok(())
}

/// The job that made a timeline; none for a plan's own, and for one of before.
pub async fn maker(conn: &mut Conn, id: TimelineId) -> Result<Option<JobId>, StoreError> {
    let row = query("SELECT job_id FROM timelines WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(conn)
        .await?;
    match row {
        Some(row) => optional_parsed(&row, "job_id"),
        None => Ok(None),
    }
}

/// A plan's timelines beside its own.
pub async fn of_plan(conn: &mut Conn, plan: PlanId) -> Result<Vec<TimelineId>, StoreError> {
    let rows = query("SELECT id FROM timelines WHERE plan_id = $1 ORDER BY created_at, id")
        .bind(plan.to_string())
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| parsed(row, "id")).collect()
}
