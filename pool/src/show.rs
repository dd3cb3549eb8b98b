//! Commands that look.

use crate::connect::Connection;
use crate::output;
use crate::watch::{say_result, scope};
use dayfly_client::AgentQuery;
use dayfly_wire::ids::{RecordId, RequestId};
use dayfly_wire::request::JobRequest;
use dayfly_wire::timeline::Record;

/// All pools.
pub(crate) async fn pools(connection: &Connection) -> anyhow::Result<()> {
    let pools = connection.client.pools().await?;
    let rows: Vec<_> = pools
        .into_iter()
        .map(|pool| vec![pool.id.to_string(), pool.name, pool.size.to_string()])
        .collect();
    output::table(&["ID", "NAME", "AGENTS"], &rows)
}

/// A project's repositories.
pub(crate) async fn repositories(connection: &Connection, project: &str) -> anyhow::Result<()> {
    let repositories = connection.client.repositories(project).await?;
    let rows: Vec<_> = repositories
        .into_iter()
        .map(|each| {
            vec![
                each.name,
                each.default_branch.unwrap_or_default(),
                each.remote_url.unwrap_or_default(),
            ]
        })
        .collect();
    output::table(&["NAME", "DEFAULT BRANCH", "URL"], &rows)
}

/// A pool's agents.
pub(crate) async fn agents(connection: &Connection, pool: &str) -> anyhow::Result<()> {
    let pool = connection.pool(pool).await?;
    let query = AgentQuery {
        include_assigned_request: true,
        ..AgentQuery::default()
    };
    let agents = connection.client.agents(pool, &query).await?;
    let rows: Vec<_> = agents
        .into_iter()
        .map(|agent| {
            let status = agent.status.map_or("", |status| status.as_str());
            let enabled = if agent.enabled == Some(false) {
                "no"
            } else {
                "yes"
            };
            let job = agent.assigned_request;
            vec![
                agent.id.to_string(),
                agent.name,
                status.to_owned(),
                enabled.to_owned(),
                job.map_or_else(String::new, |job| job.request_id.to_string()),
            ]
        })
        .collect();
    output::table(&["ID", "NAME", "STATUS", "ENABLED", "JOB"], &rows)
}

/// A pool's jobs.
pub(crate) async fn jobs(connection: &Connection, pool: &str, finished: u32) -> anyhow::Result<()> {
    let pool = connection.pool(pool).await?;
    let requests = connection.client.recent_requests(pool, finished).await?;
    let rows: Vec<_> = requests.iter().map(job_row).collect();
    output::table(
        &[
            "ID", "PIPELINE", "JOB", "STATE", "AGENT", "QUEUED", "REASON",
        ],
        &rows,
    )
}

fn job_row(request: &JobRequest) -> Vec<String> {
    let queued = request.queue_time.map(|time| format!("{time:.0}"));
    let agent = request.reserved_agent.as_ref();
    vec![
        request.request_id.to_string(),
        request
            .definition
            .as_ref()
            .map_or_else(String::new, |definition| definition.name.clone()),
        request.job_name.clone().unwrap_or_default(),
        state(request).to_owned(),
        agent.map_or_else(String::new, |agent| agent.name.clone()),
        queued.unwrap_or_default(),
        request.status_message.clone().unwrap_or_default(),
    ]
}

fn state(request: &JobRequest) -> &'static str {
    match (request.result, request.receive_time, request.assign_time) {
        (Some(result), _, _) => result.as_str(),
        (None, Some(_), _) => "running",
        (None, None, Some(_)) => "reserved",
        (None, None, None) => "queued",
    }
}

/// A job with its steps.
pub(crate) async fn job(
    connection: &Connection,
    project: &str,
    request: RequestId,
) -> anyhow::Result<()> {
    let job = connection.client.job(project, request).await?;
    let rows: Vec<_> = records(connection, project, request)
        .await?
        .iter()
        .map(record_row)
        .collect();
    output::table(&["TYPE", "NAME", "STATE", "STARTED", "FINISHED"], &rows)?;
    match job.result {
        Some(result) => say_result(result, job.status_message.as_deref()),
        None => output::remark(job.status_message.as_deref().unwrap_or("not ended")),
    }
    Ok(())
}

/// A date as a cell, to the second.
pub(crate) fn date(date: Option<jiff::Timestamp>) -> String {
    date.map_or_else(String::new, |date| format!("{date:.0}"))
}

/// A record as a row: what it is, its state, when it began and ended.
pub(crate) fn record_row(record: &Record) -> Vec<String> {
    let state = match (record.result, record.state) {
        (Some(result), _) => result.as_str(),
        (None, Some(state)) => state.as_str(),
        (None, None) => "",
    };
    vec![
        record.kind.clone().unwrap_or_default(),
        record.name.clone().unwrap_or_default(),
        state.to_owned(),
        date(record.start_time),
        date(record.finish_time),
    ]
}

/// A job's stored logs, step by step.
pub(crate) async fn logs(
    connection: &Connection,
    project: &str,
    request: RequestId,
) -> anyhow::Result<()> {
    let job = connection.client.job(project, request).await?;
    for record in records(connection, project, request).await? {
        // The job's own log repeats those of its steps.
        let is_step = record.id.0 != job.job_id.0;
        if let Some(log) = record.log.filter(|_| is_step) {
            output::remark(&format!("== {}", record.name.unwrap_or_default()));
            let text = connection.client.log_text(&scope(&job), log.id).await?;
            output::text(&text)?;
        }
    }
    Ok(())
}

/// The job's record and those of its steps; the timeline has those of the run's other jobs too.
async fn records(
    connection: &Connection,
    project: &str,
    request: RequestId,
) -> anyhow::Result<Vec<Record>> {
    let job = connection.client.job(project, request).await?;
    let timeline = connection
        .client
        .timeline(&scope(&job), job.timeline_id)
        .await?;
    let mut records = timeline.records.unwrap_or_default();
    let own = RecordId(job.job_id.0);
    records.retain(|record| record.id == own || record.parent_id == Some(own));
    records.sort_by_key(|record| (record.id != own, record.order));
    Ok(records)
}
