//! Removing runs with everything that belongs to them.

use super::StoreError;
use super::dialect::{Conn, Row, column, millis, parsed, query, query_scalar};
use dayfly_wire::ids::{BuildId, DefinitionId, PlanId, TimelineId};
use jiff::Timestamp;

/// Removes at most `most` runs that finished before a time; answers how many there were.
pub async fn forget_finished(
    conn: &mut Conn,
    before: Timestamp,
    most: i64,
) -> Result<usize, StoreError> {
    let rows: Vec<Row> = query(
        "SELECT runs.id, runs.plan_id, plans.timeline_id FROM runs \
         JOIN plans ON plans.id = runs.plan_id \
         WHERE runs.finished_at IS NOT NULL AND runs.finished_at < $1 AND runs.keep_forever = 0 \
         ORDER BY runs.finished_at LIMIT $2",
    )
    .bind(millis(before))
    .bind(most)
    .fetch_all(&mut *conn)
    .await?;
    forget_all(conn, &rows).await
}

/// Of each pipeline that has more than `keep` finished runs, the newest of those that are too many.
pub async fn surplus(
    conn: &mut Conn,
    keep: i64,
) -> Result<Vec<(DefinitionId, BuildId)>, StoreError> {
    let definitions: Vec<i64> = query_scalar("SELECT id FROM definitions ORDER BY id")
        .fetch_all(&mut *conn)
        .await?;
    let mut surplus = Vec::new();
    for definition in definitions {
        let newest: Option<i64> = query_scalar(
            "SELECT id FROM runs WHERE definition_id = $1 AND finished_at IS NOT NULL \
             AND keep_forever = 0 ORDER BY id DESC LIMIT 1 OFFSET $2",
        )
        .bind(definition)
        .bind(keep)
        .fetch_optional(&mut *conn)
        .await?;
        surplus.extend(newest.map(|run| (DefinitionId(definition), BuildId(run))));
    }
    Ok(surplus)
}

/// Removes at most `most` finished runs of a pipeline up to one; answers how many there were.
pub async fn forget_up_to(
    conn: &mut Conn,
    definition: DefinitionId,
    newest: BuildId,
    most: i64,
) -> Result<usize, StoreError> {
    let rows: Vec<Row> = query(
        "SELECT runs.id, runs.plan_id, plans.timeline_id FROM runs \
         JOIN plans ON plans.id = runs.plan_id \
         WHERE runs.definition_id = $1 AND runs.id <= $2 AND runs.finished_at IS NOT NULL \
         AND runs.keep_forever = 0 ORDER BY runs.id LIMIT $3",
    )
    .bind(definition.0)
    .bind(newest.0)
    .bind(most)
    .fetch_all(&mut *conn)
    .await?;
    forget_all(conn, &rows).await
}

async fn forget_all(conn: &mut Conn, rows: &[Row]) -> Result<usize, StoreError> {
    for row in rows {
        let id = BuildId(column(row, "id")?);
        let (plan, timeline) = (parsed(row, "plan_id")?, parsed(row, "timeline_id")?);
        forget(conn, id, plan, timeline).await?;
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
        query(statement).bind(key).execute(&mut *conn).await?;
    }
    for statement in [
        "DELETE FROM artifacts WHERE build_id = $1",
        "DELETE FROM container_files WHERE build_id = $1",
        "DELETE FROM run_jobs WHERE run_id = $1",
        "DELETE FROM runs WHERE id = $1",
    ] {
        query(statement).bind(run.0).execute(&mut *conn).await?;
    }
    query("DELETE FROM plans WHERE id = $1")
        .bind(&plan)
        .execute(conn)
        .await?;
    Ok(())
}
