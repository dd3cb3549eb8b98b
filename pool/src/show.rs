//! Commands that look.

use crate::connect::Connection;
use crate::output::{self, Printed};
use crate::watch::{say_result, scope};
use dayfly_client::AgentQuery;
use dayfly_wire::ids::{RecordId, RequestId};
use dayfly_wire::request::JobRequest;
use dayfly_wire::timeline::Record;

/// All pools.
pub(crate) async fn pools(connection: &Connection, printed: Printed) -> anyhow::Result<()> {
    let pools = connection.client.pools().await?;
    printed.list(&pools, &["ID", "NAME", "AGENTS"], |pool| {
        vec![
            pool.id.to_string(),
            pool.name.clone(),
            pool.size.to_string(),
        ]
    })
}

/// A project's repositories.
pub(crate) async fn repositories(
    connection: &Connection,
    project: &str,
    printed: Printed,
) -> anyhow::Result<()> {
    let repositories = connection.client.repositories(project).await?;
    let header = ["NAME", "DEFAULT BRANCH", "URL"];
    printed.list(&repositories, &header, |each| {
        vec![
            each.name.clone(),
            each.default_branch.clone().unwrap_or_default(),
            each.remote_url.clone().unwrap_or_default(),
        ]
    })
}

/// A pool's agents.
pub(crate) async fn agents(
    connection: &Connection,
    pool: &str,
    printed: Printed,
) -> anyhow::Result<()> {
    let pool = connection.pool(pool).await?;
    let query = AgentQuery {
        include_assigned_request: true,
        ..AgentQuery::default()
    };
    let agents = connection.client.agents(pool, &query).await?;
    let header = ["ID", "NAME", "STATUS", "ENABLED", "JOB"];
    printed.list(&agents, &header, |agent| {
        let status = agent.status.map_or("", |status| status.as_str());
        let enabled = if agent.enabled == Some(false) {
            "no"
        } else {
            "yes"
        };
        let job = agent.assigned_request.as_ref();
        vec![
            agent.id.to_string(),
            agent.name.clone(),
            status.to_owned(),
            enabled.to_owned(),
            job.map_or_else(String::new, |job| job.request_id.to_string()),
        ]
    })
}

/// A pool's jobs.
pub(crate) async fn jobs(
    connection: &Connection,
    pool: &str,
    finished: u32,
    printed: Printed,
) -> anyhow::Result<()> {
    let pool = connection.pool(pool).await?;
    let requests = connection.client.recent_requests(pool, finished).await?;
    let header = [
        "ID", "PIPELINE", "JOB", "STATE", "AGENT", "QUEUED", "REASON",
    ];
    printed.list(&requests, &header, job_row)
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
    printed: Printed,
) -> anyhow::Result<()> {
    let job = connection.client.job(project, request).await?;
    let records = records(connection, project, request).await?;
    if printed.is_json() {
        return output::json(&serde_json::json!({"job": job, "records": records}));
    }
    let header = ["TYPE", "NAME", "STATE", "STARTED", "FINISHED"];
    printed.list(&records, &header, record_row)?;
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
