//! Runs and their jobs.

use super::StoreError;
use super::dialect::{
    Conn, Row, column, date, document, json, millis, optional_date, optional_document,
    optional_millis, parsed, query, query_scalar, truth,
};
use super::plans::{plan, plan_columns, plan_joins};
use crate::rules::build_filter::{Order, OrderKey, Position};
use crate::rules::entities::{Run, RunJob, Source};
use dayfly_wire::build::{BuildReason, BuildResult, BuildStatus};
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{BuildId, DefinitionId, JobId, PlanId, PoolId, ProjectId, RequestId};
use jiff::Timestamp;

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT runs.status, runs.result, runs.reason, runs.pool_id, pools.name AS pool_name, \
             runs.repository_id, repositories.name AS repository_name, runs.source_branch, \
             runs.source_version, runs.requested_by, runs.given, runs.keep_forever, runs.queued_at, \
             runs.started_at, runs.cancelled_at, runs.finished_at, ",
            plan_columns!(),
            " FROM runs JOIN plans ON plans.id = runs.plan_id JOIN pools ON pools.id = runs.pool_id ",
            plan_joins!(),
            " LEFT JOIN repositories ON repositories.id = runs.repository_id ",
            $tail
        )
    };
}

fn run(row: &Row) -> Result<Run, StoreError> {
    let version: Option<String> = column(row, "source_version")?;
    let source = match version {
        Some(version) => Some(Source {
            repository: parsed(row, "repository_id")?,
            repository_name: column(row, "repository_name")?,
            branch: column(row, "source_branch")?,
            version,
        }),
        None => None,
    };
    Ok(Run {
        plan: plan(row)?,
        status: BuildStatus::from_text(&column::<String>(row, "status")?),
        result: column::<Option<String>>(row, "result")?.map(|text| BuildResult::from_text(&text)),
        reason: BuildReason::from_text(&column::<String>(row, "reason")?),
        pool: PoolId(column(row, "pool_id")?),
        pool_name: column(row, "pool_name")?,
        source,
        requested_by: column(row, "requested_by")?,
        given: optional_document(row, "given")?,
        keep_forever: truth(row, "keep_forever")?,
        queued_at: date(row, "queued_at")?,
        started_at: optional_date(row, "started_at")?,
        cancelled_at: optional_date(row, "cancelled_at")?,
        finished_at: optional_date(row, "finished_at")?,
    })
}

/// Keeps a new run.
pub async fn insert(conn: &mut Conn, run: &Run) -> Result<(), StoreError> {
    let source = run.source.as_ref();
    let given = run.given.as_ref();
    let given = given.map(|given| json("variables of a run", given));
    query(
        "INSERT INTO runs (id, plan_id, project_id, definition_id, status, reason, pool_id, \
         repository_id, source_branch, source_version, requested_by, keep_forever, queued_at, given) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(run.plan.build.0)
    .bind(run.plan.id.to_string())
    .bind(run.plan.project.to_string())
    .bind(run.plan.definition.0)
    .bind(run.status.as_str())
    .bind(run.reason.as_str())
    .bind(run.pool.0)
    .bind(source.map(|source| source.repository.to_string()))
    .bind(source.and_then(|source| source.branch.clone()))
    .bind(source.map(|source| source.version.clone()))
    .bind(&run.requested_by)
    .bind(i64::from(run.keep_forever))
    .bind(millis(run.queued_at))
    .bind(given.transpose()?)
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes a changed run back.
pub async fn update(conn: &mut Conn, run: &Run) -> Result<(), StoreError> {
    query(
        "UPDATE runs SET status = $2, result = $3, keep_forever = $4, started_at = $5, \
         cancelled_at = $6, finished_at = $7 WHERE id = $1",
    )
    .bind(run.plan.build.0)
    .bind(run.status.as_str())
    .bind(run.result.map(BuildResult::as_str))
    .bind(i64::from(run.keep_forever))
    .bind(optional_millis(run.started_at))
    .bind(optional_millis(run.cancelled_at))
    .bind(optional_millis(run.finished_at))
    .execute(conn)
    .await?;
    Ok(())
}

/// The run with this id.
pub async fn by_id(conn: &mut Conn, id: BuildId) -> Result<Option<Run>, StoreError> {
    let row = query(select!("WHERE runs.id = $1"))
        .bind(id.0)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(run).transpose()
}

/// The newest runs of all projects before an id, newest first.
pub async fn recent(conn: &mut Conn, before: BuildId, most: i64) -> Result<Vec<Run>, StoreError> {
    let rows = query(select!("WHERE runs.id < $1 ORDER BY runs.id DESC LIMIT $2"))
        .bind(before.0)
        .bind(most)
        .fetch_all(conn)
        .await?;
    rows.iter().map(run).collect()
}

/// The run of a plan.
pub async fn by_plan(conn: &mut Conn, plan: PlanId) -> Result<Option<Run>, StoreError> {
    let row = query(select!("WHERE runs.plan_id = $1"))
        .bind(plan.to_string())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(run).transpose()
}

/// Which runs a page is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// A project's.
    Project(ProjectId),
    /// A project's that have not ended.
    Unfinished(ProjectId),
    /// A pipeline's.
    Definition(DefinitionId),
}

/// A page of runs by the time of their queueing, which is the order of their ids; `after` is the last one's id.
pub async fn page(
    conn: &mut Conn,
    among: Among,
    descending: bool,
    after: Option<BuildId>,
    size: i64,
) -> Result<Vec<Run>, StoreError> {
    let first = if descending { i64::MAX } else { 0 };
    let statement = match (among, descending) {
        (Among::Project(_), true) => {
            select!("WHERE runs.project_id = $1 AND runs.id < $2 ORDER BY runs.id DESC LIMIT $3")
        }
        (Among::Project(_), false) => {
            select!("WHERE runs.project_id = $1 AND runs.id > $2 ORDER BY runs.id LIMIT $3")
        }
        (Among::Unfinished(_), true) => select!(
            "WHERE runs.project_id = $1 AND runs.finished_at IS NULL AND runs.id < $2 \
             ORDER BY runs.id DESC LIMIT $3"
        ),
        (Among::Unfinished(_), false) => select!(
            "WHERE runs.project_id = $1 AND runs.finished_at IS NULL AND runs.id > $2 \
             ORDER BY runs.id LIMIT $3"
        ),
        (Among::Definition(_), true) => {
            select!("WHERE runs.definition_id = $1 AND runs.id < $2 ORDER BY runs.id DESC LIMIT $3")
        }
        (Among::Definition(_), false) => {
            select!("WHERE runs.definition_id = $1 AND runs.id > $2 ORDER BY runs.id LIMIT $3")
        }
    };
    let query = match among {
        Among::Project(id) | Among::Unfinished(id) => query(statement).bind(id.to_string()),
        Among::Definition(id) => query(statement).bind(id.0),
    };
    let rows = query
        .bind(after.map_or(first, |id| id.0))
        .bind(size)
        .fetch_all(conn)
        .await?;
    rows.iter().map(run).collect()
}

/// A page of a project's runs by the time of their start or their end, those without one as the latest. Every run of
/// the project is looked at.
pub async fn page_by_date(
    conn: &mut Conn,
    project: ProjectId,
    order: Order,
    after: Option<Position>,
    size: i64,
) -> Result<Vec<Run>, StoreError> {
    let statement = match (order.key, order.descending) {
        (OrderKey::Finished, true) => select!(
            "WHERE runs.project_id = $1 AND (COALESCE(runs.finished_at, $5) < $2 \
             OR (COALESCE(runs.finished_at, $5) = $2 AND runs.id < $3)) \
             ORDER BY COALESCE(runs.finished_at, $5) DESC, runs.id DESC LIMIT $4"
        ),
        (OrderKey::Finished, false) => select!(
            "WHERE runs.project_id = $1 AND (COALESCE(runs.finished_at, $5) > $2 \
             OR (COALESCE(runs.finished_at, $5) = $2 AND runs.id > $3)) \
             ORDER BY COALESCE(runs.finished_at, $5), runs.id LIMIT $4"
        ),
        (OrderKey::Started | OrderKey::Queued, true) => select!(
            "WHERE runs.project_id = $1 AND (COALESCE(runs.started_at, $5) < $2 \
             OR (COALESCE(runs.started_at, $5) = $2 AND runs.id < $3)) \
             ORDER BY COALESCE(runs.started_at, $5) DESC, runs.id DESC LIMIT $4"
        ),
        (OrderKey::Started | OrderKey::Queued, false) => select!(
            "WHERE runs.project_id = $1 AND (COALESCE(runs.started_at, $5) > $2 \
             OR (COALESCE(runs.started_at, $5) = $2 AND runs.id > $3)) \
             ORDER BY COALESCE(runs.started_at, $5), runs.id LIMIT $4"
        ),
    };
    let first = if order.descending { i64::MAX } else { i64::MIN };
    let rows = query(statement)
        .bind(project.to_string())
        .bind(after.map_or(first, |after| after.date))
        .bind(after.map_or(first, |after| after.run))
        .bind(size)
        .bind(millis(Timestamp::MAX))
        .fetch_all(conn)
        .await?;
    rows.iter().map(run).collect()
}

fn job(row: &Row) -> Result<RunJob, StoreError> {
    Ok(RunJob {
        id: parsed(row, "id")?,
        number: column(row, "number")?,
        name: column(row, "name")?,
        display_name: column(row, "display_name")?,
        depends_on: document(row, "depends_on")?,
        condition: column(row, "condition")?,
        request: column::<Option<i64>>(row, "request_id")?.map(RequestId),
        started_at: optional_date(row, "started_at")?,
        finished_at: optional_date(row, "finished_at")?,
        result: column::<Option<String>>(row, "result")?.map(|text| TaskResult::from_text(&text)),
        status_message: column(row, "status_message")?,
    })
}

/// Keeps a new job of a run; `sealed` is what is needed to start it, empty when it starts now.
pub async fn insert_job(
    conn: &mut Conn,
    run: BuildId,
    job: &RunJob,
    sealed: &str,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO run_jobs (id, run_id, number, name, display_name, depends_on, condition, sealed_job) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(job.id.to_string())
    .bind(run.0)
    .bind(job.number)
    .bind(&job.name)
    .bind(&job.display_name)
    .bind(json("names of jobs", &job.depends_on)?)
    .bind(&job.condition)
    .bind(sealed)
    .execute(conn)
    .await?;
    Ok(())
}

/// The job was given a request; what it was started from, and with it its secrets, is dropped.
pub async fn started(conn: &mut Conn, job: JobId, request: RequestId) -> Result<(), StoreError> {
    query("UPDATE run_jobs SET request_id = $2, sealed_job = '' WHERE id = $1")
        .bind(job.to_string())
        .bind(request.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// The job ended without a request.
pub async fn left_out(conn: &mut Conn, job: &RunJob) -> Result<(), StoreError> {
    query(
        "UPDATE run_jobs SET result = $2, status_message = $3, finished_at = $4, sealed_job = '' \
         WHERE id = $1",
    )
    .bind(job.id.to_string())
    .bind(job.result.map(TaskResult::as_str))
    .bind(&job.status_message)
    .bind(optional_millis(job.finished_at))
    .execute(conn)
    .await?;
    Ok(())
}

/// What a job that waits is started from, sealed.
pub async fn sealed_job(conn: &mut Conn, job: JobId) -> Result<String, StoreError> {
    Ok(
        query_scalar("SELECT sealed_job FROM run_jobs WHERE id = $1")
            .bind(job.to_string())
            .fetch_one(conn)
            .await?,
    )
}

/// A run's jobs in their order; how those that were started go and ended is what their requests say.
pub async fn jobs(conn: &mut Conn, run: BuildId) -> Result<Vec<RunJob>, StoreError> {
    let rows = query(
        "SELECT run_jobs.id, run_jobs.number, run_jobs.name, run_jobs.display_name, \
         run_jobs.depends_on, run_jobs.condition, run_jobs.request_id, \
         requests.received_at AS started_at, \
         COALESCE(requests.finished_at, run_jobs.finished_at) AS finished_at, \
         COALESCE(requests.result, run_jobs.result) AS result, \
         COALESCE(requests.status_message, run_jobs.status_message) AS status_message \
         FROM run_jobs LEFT JOIN requests ON requests.id = run_jobs.request_id \
         WHERE run_jobs.run_id = $1 ORDER BY run_jobs.number",
    )
    .bind(run.0)
    .fetch_all(conn)
    .await?;
    rows.iter().map(job).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: [&str; 2] = [
        include_str!("../../migrations/0001_first.sql"),
        include_str!("../../migrations/0002_paging.sql"),
    ];
    const ROWS: &str = "
        INSERT INTO projects VALUES ('00000000-0000-0000-0000-000000000001', 'demo', 'demo', 5);
        INSERT INTO definitions VALUES (7, '00000000-0000-0000-0000-000000000001', 'job', 'job');
        INSERT INTO pools VALUES (3, 'linux', 'linux', 5);
        INSERT INTO plans VALUES ('00000000-0000-0000-0000-000000000002',
            '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002',
            11, '20260101.11', 7, 0, 10);
        INSERT INTO requests (id, pool_id, plan_id, job_id, name, demands, matched, sealed_message,
            timeout_minutes, cancel_timeout_minutes, queued_at, received_at, finished_at, result)
            VALUES (4, 3, '00000000-0000-0000-0000-000000000002',
            '00000000-0000-0000-0000-000000000009', 'Build', '[]', '[]', '', 60, 5, 10, 20, 30,
            'succeededWithIssues');";

    #[tokio::test]
    async fn a_job_of_before_is_a_run_of_one_job() {
        let memory = rusqlite::Connection::open_in_memory().unwrap();
        for statements in [BEFORE[0], BEFORE[1], ROWS] {
            memory.execute_batch(statements).unwrap();
        }
        let all = sqlx::migrate!("./migrations");
        for later in all.iter().skip(BEFORE.len()) {
            memory.execute_batch(later.sql.as_str()).unwrap();
        }
        let mut conn = Conn::Sqlite(memory);
        let run = by_id(&mut conn, BuildId(11)).await.unwrap().unwrap();
        assert_eq!(run.status, BuildStatus::Completed);
        assert_eq!(run.result, Some(BuildResult::PartiallySucceeded));
        assert_eq!(run.plan.build_number, "20260101.11");
        assert_eq!(run.pool_name, "linux");
        let ended = run.finished_at.map(|date| date.as_millisecond());
        assert_eq!((millis(run.queued_at), ended), (10, Some(30)));
        let jobs = jobs(&mut conn, BuildId(11)).await.unwrap();
        assert_eq!(jobs.len(), 1);
        assert_eq!(
            (jobs[0].request, jobs[0].display_name.as_str()),
            (Some(RequestId(4)), "Build")
        );
        assert_eq!(jobs[0].result, Some(TaskResult::SucceededWithIssues));
        let definition = super::super::definitions::by_id(&mut conn, DefinitionId(7)).await;
        assert_eq!(definition.unwrap().unwrap().file, None);
    }
}
