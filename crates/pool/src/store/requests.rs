//! Job requests. Finding the unfinished ones costs what they are, not what there ever was.

use super::StoreError;
use super::dialect::{
    Conn, Row, column, date, document, json, millis, optional_date, optional_millis, parsed, query,
    query_scalar,
};
use super::plans::{plan, plan_columns, plan_joins};
use crate::rules::entities::Request;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{AgentId, JobId, PlanId, PoolId, RequestId};
use jiff::Timestamp;

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT requests.id, requests.pool_id, requests.job_id, requests.name, requests.demands, \
             requests.matched, requests.place, requests.timeout_minutes, requests.cancel_timeout_minutes, \
             requests.queued_at, requests.assigned_at, requests.acknowledged_at, requests.received_at, \
             requests.locked_until, requests.cancelled_at, requests.finished_at, requests.result, \
             requests.status_message, requests.agent_id, requests.agent_name, ",
            plan_columns!(),
            " FROM requests JOIN plans ON plans.id = requests.plan_id ",
            plan_joins!(),
            " ",
            $tail
        )
    };
}

fn request(row: &Row) -> Result<Request, StoreError> {
    Ok(Request {
        id: RequestId(column(row, "id")?),
        pool: PoolId(column(row, "pool_id")?),
        plan: plan(row)?,
        job: parsed(row, "job_id")?,
        name: column(row, "name")?,
        demands: document(row, "demands")?,
        matched: document(row, "matched")?,
        priority: -column::<i64>(row, "place")?,
        timeout_minutes: column(row, "timeout_minutes")?,
        cancel_timeout_minutes: column(row, "cancel_timeout_minutes")?,
        queued_at: date(row, "queued_at")?,
        assigned_at: optional_date(row, "assigned_at")?,
        acknowledged_at: optional_date(row, "acknowledged_at")?,
        received_at: optional_date(row, "received_at")?,
        locked_until: optional_date(row, "locked_until")?,
        cancelled_at: optional_date(row, "cancelled_at")?,
        finished_at: optional_date(row, "finished_at")?,
        result: column::<Option<String>>(row, "result")?.map(|text| TaskResult::from_text(&text)),
        status_message: column(row, "status_message")?,
        agent: column::<Option<i64>>(row, "agent_id")?.map(AgentId),
        agent_name: column(row, "agent_name")?,
    })
}

fn requests(rows: &[Row]) -> Result<Vec<Request>, StoreError> {
    rows.iter().map(request).collect()
}

/// Keeps a new request with its sealed message.
pub async fn insert(
    conn: &mut Conn,
    request: &Request,
    sealed_message: &str,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO requests (id, pool_id, plan_id, job_id, name, demands, matched, sealed_message, \
         timeout_minutes, cancel_timeout_minutes, queued_at, finished_at, result, status_message, place) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(request.id.0)
    .bind(request.pool.0)
    .bind(request.plan.id.to_string())
    .bind(request.job.to_string())
    .bind(&request.name)
    .bind(json("demands", &request.demands)?)
    .bind(json("matched agents", &request.matched)?)
    .bind(sealed_message)
    .bind(request.timeout_minutes)
    .bind(request.cancel_timeout_minutes)
    .bind(millis(request.queued_at))
    .bind(optional_millis(request.finished_at))
    .bind(request.result.map(TaskResult::as_str))
    .bind(&request.status_message)
    .bind(-request.priority)
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes a changed request back. An ended job's sealed message, and with it its secrets, is dropped.
pub async fn update(conn: &mut Conn, request: &Request) -> Result<(), StoreError> {
    query(
        "UPDATE requests SET assigned_at = $2, acknowledged_at = $3, received_at = $4, \
         locked_until = $5, cancelled_at = $6, finished_at = $7, result = $8, status_message = $9, \
         agent_id = $10, agent_name = $11, place = $13, \
         sealed_message = CASE WHEN $12 = 1 THEN '' ELSE sealed_message END WHERE id = $1",
    )
    .bind(request.id.0)
    .bind(optional_millis(request.assigned_at))
    .bind(optional_millis(request.acknowledged_at))
    .bind(optional_millis(request.received_at))
    .bind(optional_millis(request.locked_until))
    .bind(optional_millis(request.cancelled_at))
    .bind(optional_millis(request.finished_at))
    .bind(request.result.map(TaskResult::as_str))
    .bind(&request.status_message)
    .bind(request.agent.map(|agent| agent.0))
    .bind(&request.agent_name)
    .bind(i64::from(request.is_finished()))
    .bind(-request.priority)
    .execute(conn)
    .await?;
    Ok(())
}

/// The request with this id.
pub async fn by_id(conn: &mut Conn, id: RequestId) -> Result<Option<Request>, StoreError> {
    let row = query(select!("WHERE requests.id = $1"))
        .bind(id.0)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(request).transpose()
}

/// The request of this job.
pub async fn by_job(conn: &mut Conn, job: JobId) -> Result<Option<Request>, StoreError> {
    let row = query(select!("WHERE requests.job_id = $1"))
        .bind(job.to_string())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(request).transpose()
}

/// Puts another message in the place of a request's, sealed.
pub async fn replace_message(
    conn: &mut Conn,
    id: RequestId,
    sealed: &str,
) -> Result<(), StoreError> {
    query("UPDATE requests SET sealed_message = $2 WHERE id = $1")
        .bind(id.0)
        .bind(sealed)
        .execute(conn)
        .await?;
    Ok(())
}

/// The request's message, sealed; empty once it ended.
pub async fn sealed_message(conn: &mut Conn, id: RequestId) -> Result<String, StoreError> {
    Ok(
        query_scalar("SELECT sealed_message FROM requests WHERE id = $1")
            .bind(id.0)
            .fetch_one(conn)
            .await?,
    )
}

/// The unfinished request that an agent holds.
pub async fn held_by(conn: &mut Conn, agent: AgentId) -> Result<Option<Request>, StoreError> {
    let row = query(select!(
        "WHERE requests.agent_id = $1 AND requests.finished_at IS NULL ORDER BY requests.id LIMIT 1"
    ))
    .bind(agent.0)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(request).transpose()
}

/// The unfinished requests of a pool that agents hold.
pub async fn held(conn: &mut Conn, pool: PoolId) -> Result<Vec<Request>, StoreError> {
    let rows = query(select!(
        "WHERE requests.pool_id = $1 AND requests.finished_at IS NULL AND requests.agent_id IS NOT NULL"
    ))
    .bind(pool.0)
    .fetch_all(conn)
    .await?;
    requests(&rows)
}

/// A place in the queue: after the request of this place and id.
#[derive(Clone, Copy, Debug)]
pub struct QueuePlace(i64, i64);

impl QueuePlace {
    /// Before the first request.
    pub const START: Self = Self(i64::MIN, 0);

    /// After a request.
    pub fn after(request: &Request) -> Self {
        Self(-request.priority, request.id.0)
    }
}

/// A page, after a place, of a pool's requests that wait for an agent, in their order.
pub async fn waiting(
    conn: &mut Conn,
    pool: PoolId,
    after: QueuePlace,
    size: i64,
) -> Result<Vec<Request>, StoreError> {
    let rows = query(select!(
        "WHERE requests.pool_id = $1 AND (requests.place, requests.id) > ($2, $3) \
         AND requests.finished_at IS NULL AND requests.assigned_at IS NULL \
         ORDER BY requests.place, requests.id LIMIT $4"
    ))
    .bind(pool.0)
    .bind(after.0)
    .bind(after.1)
    .bind(size)
    .fetch_all(conn)
    .await?;
    requests(&rows)
}

/// The pools in which requests wait.
pub async fn pools_that_wait(conn: &mut Conn) -> Result<Vec<PoolId>, StoreError> {
    let pools: Vec<i64> = query_scalar(
        "SELECT DISTINCT pool_id FROM requests WHERE finished_at IS NULL AND assigned_at IS NULL \
         ORDER BY pool_id",
    )
    .fetch_all(conn)
    .await?;
    Ok(pools.into_iter().map(PoolId).collect())
}

/// The highest priority of those that wait in a pool; 0 when none does.
pub async fn highest_priority(conn: &mut Conn, pool: PoolId) -> Result<i64, StoreError> {
    let place: Option<i64> = query_scalar(
        "SELECT MIN(place) FROM requests \
         WHERE pool_id = $1 AND finished_at IS NULL AND assigned_at IS NULL",
    )
    .bind(pool.0)
    .fetch_one(conn)
    .await?;
    Ok(-place.unwrap_or_default())
}

/// How many requests agents hold, over all pools.
pub async fn count_held(conn: &mut Conn) -> Result<i64, StoreError> {
    Ok(query_scalar(
        "SELECT COUNT(*) FROM requests WHERE finished_at IS NULL AND agent_id IS NOT NULL",
    )
    .fetch_one(conn)
    .await?)
}

/// The requests that agents hold, over all pools.
pub async fn all_held(conn: &mut Conn, most: i64) -> Result<Vec<Request>, StoreError> {
    let rows = query(select!(
        "WHERE requests.finished_at IS NULL AND requests.agent_id IS NOT NULL \
         ORDER BY requests.id LIMIT $1"
    ))
    .bind(most)
    .fetch_all(conn)
    .await?;
    requests(&rows)
}

/// A pool's unfinished requests, in their order.
pub async fn unfinished(conn: &mut Conn, pool: PoolId) -> Result<Vec<Request>, StoreError> {
    let rows = query(select!(
        "WHERE requests.pool_id = $1 AND requests.finished_at IS NULL ORDER BY requests.id"
    ))
    .bind(pool.0)
    .fetch_all(conn)
    .await?;
    requests(&rows)
}

/// A page, after an id, of a pool's unfinished requests by id.
pub async fn unfinished_page(
    conn: &mut Conn,
    pool: PoolId,
    after: RequestId,
    size: i64,
) -> Result<Vec<Request>, StoreError> {
    let rows = query(select!(
        "WHERE requests.pool_id = $1 AND requests.id > $2 AND requests.finished_at IS NULL \
         ORDER BY requests.id LIMIT $3"
    ))
    .bind(pool.0)
    .bind(after.0)
    .bind(size)
    .fetch_all(conn)
    .await?;
    requests(&rows)
}

/// Where a list of finished requests goes on: before this end and id.
pub type FinishedPlace = (i64, i64);

/// Before the last request that ended.
pub const LAST_ENDED: FinishedPlace = (i64::MAX, i64::MAX);

/// A pool's finished requests before a place, the last to end first.
pub async fn finished(
    conn: &mut Conn,
    pool: PoolId,
    before: FinishedPlace,
    most: i64,
) -> Result<Vec<Request>, StoreError> {
    let rows = query(select!(
        "WHERE requests.pool_id = $1 AND (requests.finished_at, requests.id) < ($2, $3) \
         AND requests.finished_at IS NOT NULL \
         ORDER BY requests.finished_at DESC, requests.id DESC LIMIT $4"
    ))
    .bind(pool.0)
    .bind(before.0)
    .bind(before.1)
    .bind(most)
    .fetch_all(conn)
    .await?;
    requests(&rows)
}

/// A plan's requests, all or that of one job.
pub async fn of_plan(
    conn: &mut Conn,
    plan: PlanId,
    job: Option<JobId>,
) -> Result<Vec<Request>, StoreError> {
    let query = match job {
        Some(job) => query(select!(
            "WHERE requests.plan_id = $1 AND requests.job_id = $2 ORDER BY requests.id"
        ))
        .bind(plan.to_string())
        .bind(job.to_string()),
        None => query(select!("WHERE requests.plan_id = $1 ORDER BY requests.id"))
            .bind(plan.to_string()),
    };
    let rows = query.fetch_all(conn).await?;
    requests(&rows)
}

/// The requests that an agent had and that have ended, the last to end first.
pub async fn ended_of_agent(
    conn: &mut Conn,
    agent: AgentId,
    most: i64,
) -> Result<Vec<Request>, StoreError> {
    let rows = query(select!(
        "WHERE requests.agent_id = $1 AND requests.finished_at IS NOT NULL \
         ORDER BY requests.finished_at DESC, requests.id DESC LIMIT $2"
    ))
    .bind(agent.0)
    .bind(most)
    .fetch_all(conn)
    .await?;
    requests(&rows)
}

/// Unfinished requests that agents hold, of all pools: those whose times may have passed.
pub async fn timed(conn: &mut Conn) -> Result<Vec<Request>, StoreError> {
    let rows = query(select!(
        "WHERE requests.finished_at IS NULL AND requests.locked_until IS NOT NULL"
    ))
    .fetch_all(conn)
    .await?;
    requests(&rows)
}

/// Whether a lock has passed that nobody has looked at since.
pub async fn any_lapsed(conn: &mut Conn, now: Timestamp) -> Result<bool, StoreError> {
    let found: Option<i64> = query_scalar(
        "SELECT 1 FROM requests WHERE finished_at IS NULL AND locked_until IS NOT NULL \
         AND locked_until <= $1 LIMIT 1",
    )
    .bind(millis(now))
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}
