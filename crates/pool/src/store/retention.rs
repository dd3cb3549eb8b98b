//! Removing old jobs with everything that belongs to them.

use super::StoreError;
use super::dialect::{Conn, Row, column, millis};
use jiff::Timestamp;

/// Removes the plans of at most `most` requests that finished before a time; answers how many there were.
pub async fn forget_finished(
    conn: &mut Conn,
    before: Timestamp,
    most: i64,
) -> Result<usize, StoreError> {
    let rows: Vec<Row> = sqlx::query(
        "SELECT requests.id, requests.plan_id, plans.timeline_id FROM requests \
         JOIN plans ON plans.id = requests.plan_id \
         WHERE requests.finished_at IS NOT NULL AND requests.finished_at < $1 \
         ORDER BY requests.finished_at LIMIT $2",
    )
    .bind(millis(before))
    .bind(most)
    .fetch_all(&mut *conn)
    .await?;
    for row in &rows {
        let (id, plan): (i64, String) = (column(row, "id")?, column(row, "plan_id")?);
        let timeline: String = column(row, "timeline_id")?;
        for (statement, key) in [
            ("DELETE FROM log_chunks WHERE plan_id = $1", &plan),
            ("DELETE FROM logs WHERE plan_id = $1", &plan),
            ("DELETE FROM records WHERE timeline_id = $1", &timeline),
        ] {
            sqlx::query(statement).bind(key).execute(&mut *conn).await?;
        }
        sqlx::query("DELETE FROM requests WHERE id = $1")
            .bind(id)
            .execute(&mut *conn)
            .await?;
        sqlx::query("DELETE FROM plans WHERE id = $1")
            .bind(&plan)
            .execute(&mut *conn)
            .await?;
    }
    Ok(rows.len())
}
