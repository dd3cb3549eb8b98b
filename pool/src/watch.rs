//! Follows a job's console to its end.

use crate::connect::Connection;
use crate::output;
use crate::show;
use dayfly_client::PlanScope;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{RecordId, RequestId};
use dayfly_wire::queue::{FeedEntry, QueuedJob};
use std::process::ExitCode;

/// Prints lines as they come, and the result at the end.
pub(crate) async fn run(
    connection: &Connection,
    project: &str,
    request: RequestId,
) -> anyhow::Result<ExitCode> {
    let job = connection.client.job(project, request).await?;
    let mut step = None;
    let (mut after, mut printed) = (0, false);
    loop {
        let page = connection
            .client
            .follow_job(project, request, after)
            .await?;
        if page.dropped > 0 && printed {
            output::remark(&format!(
                "({} lines were not shown; the log has them)",
                page.dropped
            ));
        }
        for entry in &page.value {
            say_step(connection, &job, &mut step, entry).await?;
            output::line(&entry.line)?;
            printed = true;
        }
        after = page.next;
        if let Some(result) = page.result {
            if !printed {
                // The console is kept for recent jobs only.
                show::logs(connection, project, request).await?;
            }
            say_result(result, page.status_message.as_deref());
            return Ok(exit_code(result));
        }
    }
}

/// Says which step writes, whenever that changes.
async fn say_step(
    connection: &Connection,
    job: &QueuedJob,
    current: &mut Option<RecordId>,
    entry: &FeedEntry,
) -> anyhow::Result<()> {
    if entry.step_id == *current {
        return Ok(());
    }
    *current = entry.step_id;
    if let Some(id) = entry.step_id {
        let timeline = connection
            .client
            .timeline(&scope(job), job.timeline_id)
            .await?;
        let records = timeline.records.unwrap_or_default();
        let record = records.into_iter().find(|record| record.id == id);
        if let Some(name) = record.and_then(|record| record.name) {
            output::remark(&format!("== {name}"));
        }
    }
    Ok(())
}

/// The plan of a job.
pub(crate) fn scope(job: &QueuedJob) -> PlanScope {
    PlanScope {
        project: job.project_id,
        hub: "build".to_owned(),
        plan: job.plan_id,
    }
}

/// Says how the job ended.
pub(crate) fn say_result(result: TaskResult, message: Option<&str>) {
    match message {
        Some(message) => output::remark(&format!("job {result}: {message}")),
        None => output::remark(&format!("job {result}")),
    }
}

/// 0 for success, with or without issues.
pub(crate) fn exit_code(result: TaskResult) -> ExitCode {
    match result {
        TaskResult::Succeeded | TaskResult::SucceededWithIssues => ExitCode::SUCCESS,
        TaskResult::Failed
        | TaskResult::Canceled
        | TaskResult::Skipped
        | TaskResult::Abandoned
        | TaskResult::Other => ExitCode::FAILURE,
    }
}
