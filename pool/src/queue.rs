//! Queues a job.

use crate::connect::Connection;
use crate::{output, watch};
use dayfly_wire::queue::QueueJob;
use std::process::ExitCode;

/// Queues the job and prints its id; follows it when asked to.
pub(crate) async fn run(
    connection: &Connection,
    project: &str,
    job: &QueueJob,
    follow: bool,
) -> anyhow::Result<ExitCode> {
    let queued = connection.client.queue_job(project, job).await?;
    if follow {
        output::remark(&format!("queued job {}", queued.request_id));
        return watch::run(connection, project, queued.request_id).await;
    }
    output::line(&queued.request_id.to_string())?;
    if let Some(result) = queued.result {
        watch::say_result(result, queued.status_message.as_deref());
        return Ok(watch::exit_code(result));
    }
    Ok(ExitCode::SUCCESS)
}
