//! Removing runs with everything that belongs to them.

use super::StoreError;
use super::dialect::{Conn, Row, column, millis, parsed};
use dayfly_wire::ids::{BuildId, PlanId, TimelineId};
use jiff::Timestamp;

/// Removes at most `most` runs that finished before a time; answers how many there were.
pub async fn forget_finished(
    conn: &mut Conn,
    before: Timestamp,
    most: i64,
) -> Result<usize, StoreError> {
    let rows: Vec<Row> = sqlx::query(
        "SELECT runs.id, runs.plan_id, plans.timeline_id FROM runs \
         JOIN plans ON plans.id = runs.plan_id \
         WHERE runs.finished_at IS NOT NULL AND runs.finished_at < $1 AND runs.keep_forever = 0 \
         ORDER BY runs.finished_at LIMIT $2",
    )
    .bind(millis(before))
    .bind(most)
    .fetch_all(&mut *conn)
    .await?;
    for row in &rows {
        let id = BuildId(column(row, "id")?);
        forget(
            conn,
            id,
            parsed(row, "plan_id")?,
            parsed(row, "timeline_id")?,
        )
        .await?;
    }
    Ok(rows.len())
}

/// Removes a run with its jobs, requests, records and logs.
pub async fn forget(
    conn: &mut Conn,
    run: BuildId,
    plan: PlanId,
    timeline: TimelineId,
) -> Result<(), StoreError> {
    let (plan, timeline) = (plan.to_string(), timeline.to_string());
    for (statement, key) in [
        ("DELETE FROM log_chunks WHERE plan_id = $1", &plan),
        ("DELETE FROM logs WHERE plan_id = $1", &plan),
        ("DELETE FROM attachments WHERE plan_id = $1", &plan),
        (
            "DELETE FROM records WHERE timeline_id IN (SELECT id FROM timelines WHERE plan_id = $1)",
            &plan,
        ),
        ("DELETE FROM timelines WHERE plan_id = $1", &plan),
        ("DELETE FROM records WHERE timeline_id = $1", &timeline),
        ("DELETE FROM requests WHERE plan_id = $1", &plan),
    ] {
        sqlx::query(statement).bind(key).execute(&mut *conn).await?;
    }
    for statement in [
        "DELETE FROM artifacts WHERE build_id = $1",
        "DELETE FROM container_files WHERE build_id = $1",
        "DELETE FROM run_jobs WHERE run_id = $1",
        "DELETE FROM runs WHERE id = $1",
    ] {
        sqlx::query(statement)
            .bind(run.0)
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query("DELETE FROM plans WHERE id = $1")
        .bind(&plan)
        .execute(conn)
        .await?;
    Ok(())
}
