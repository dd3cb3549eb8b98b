//! Runs: list, look at, cancel, run again.

use crate::connect::Connection;
use crate::output::{self, Format, json};
use crate::show::{date, record_row};
use anyhow::bail;
use clap::Subcommand;
use dayfly_wire::build::{Build, BuildRecord};
use dayfly_wire::ids::BuildId;
use dayfly_wire::timeline::{JOB, Record};
use std::collections::HashMap;

const DEFAULT_PROJECT: &str = "demo";

#[derive(Subcommand)]
pub(crate) enum RunsCommand {
    /// List the runs that were queued last, the latest first.
    List {
        /// How many.
        #[arg(long, default_value_t = 25)]
        most: u32,
        /// The project.
        #[arg(long, default_value = DEFAULT_PROJECT)]
        project: String,
        /// How to print them.
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Show a run with its jobs and their steps.
    Show {
        /// The run's id.
        run: BuildId,
        /// The project.
        #[arg(long, default_value = DEFAULT_PROJECT)]
        project: String,
        /// How to print it; as JSON, the run with its timeline.
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Queue a run again, and print the new one's id: the same pipeline at the same commit, with the same values for
    /// variables. Its secret variables are those of now.
    Rerun {
        /// The run's id. It has ended, and came from a pipeline's file.
        run: BuildId,
        /// The project.
        #[arg(long, default_value = DEFAULT_PROJECT)]
        project: String,
    },
    /// Ask for the end of a run: of the jobs that run, and of those that wait.
    Cancel {
        /// The run's id.
        run: BuildId,
        /// The project.
        #[arg(long, default_value = DEFAULT_PROJECT)]
        project: String,
    },
}

/// Does what the command says.
pub(crate) async fn run(command: RunsCommand) -> anyhow::Result<()> {
    let connection = Connection::from_environment()?;
    let client = &connection.client;
    match command {
        RunsCommand::List {
            most,
            project,
            output,
        } => {
            let builds = client.builds(&project, most).await?;
            match output {
                Format::Json => json(&builds),
                Format::Table => list(&builds),
            }
        }
        RunsCommand::Show {
            run,
            project,
            output,
        } => show(&connection, &project, run, output).await,
        RunsCommand::Rerun { run, project } => {
            let before = client.build(&project, run).await?;
            if before.finish_time.is_none() {
                bail!("run {run} has not ended; wait for it, or cancel it first");
            }
            let build = client.queue_again(&project, &before).await?;
            output::remark(&format!("queued run {}", build.build_number));
            output::line(&build.id.to_string())
        }
        RunsCommand::Cancel { run, project } => {
            let build = client.cancel_build(&project, run).await?;
            output::remark(&format!("run {run} is {}", state(&build)));
            Ok(())
        }
    }
}

fn list(builds: &[Build]) -> anyhow::Result<()> {
    let rows: Vec<_> = builds.iter().map(row).collect();
    let header = [
        "ID", "NUMBER", "PIPELINE", "STATE", "REASON", "BRANCH", "BY", "QUEUED", "FINISHED",
    ];
    output::table(&header, &rows)
}

fn row(build: &Build) -> Vec<String> {
    vec![
        build.id.to_string(),
        build.build_number.clone(),
        build.definition.name.clone().unwrap_or_default(),
        state(build).to_owned(),
        build.reason.to_string(),
        build.source_branch.clone().unwrap_or_default(),
        build.requested_by.display_name.clone(),
        date(build.queue_time),
        date(build.finish_time),
    ]
}

fn state(build: &Build) -> &'static str {
    match build.result {
        Some(result) => result.as_str(),
        None => build.status.as_str(),
    }
}

async fn show(
    connection: &Connection,
    project: &str,
    run: BuildId,
    format: Format,
) -> anyhow::Result<()> {
    let build = connection.client.build(project, run).await?;
    let timeline = connection.client.build_timeline(project, run).await?;
    if let Format::Json = format {
        return json(&serde_json::json!({"build": build, "timeline": timeline}));
    }
    let rows: Vec<_> = in_order(&timeline.records)
        .into_iter()
        .map(record_row)
        .collect();
    output::table(&["TYPE", "NAME", "STATE", "STARTED", "FINISHED"], &rows)?;
    output::remark(&format!("run {run} is {}", state(&build)));
    for issue in timeline.records.iter().flat_map(|each| &each.record.issues) {
        output::remark(&issue.message);
    }
    Ok(())
}

/// Jobs in the order of their phases, each followed by its steps.
fn in_order(records: &[BuildRecord]) -> Vec<&Record> {
    let all: HashMap<_, _> = records
        .iter()
        .map(|each| (each.record.id, &each.record))
        .collect();
    let is_job = |record: &Record| record.kind.as_deref() == Some(JOB);
    let place = |record: &Record| {
        let above = record.parent_id.and_then(|id| all.get(&id));
        (above.and_then(|phase| phase.order), record.order)
    };
    let mut jobs: Vec<_> = all
        .values()
        .copied()
        .filter(|record| is_job(record))
        .collect();
    jobs.sort_by_key(|job| place(job));
    let mut ordered = Vec::new();
    for job in jobs {
        ordered.push(job);
        let below = all
            .values()
            .copied()
            .filter(|record| record.parent_id == Some(job.id));
        let mut steps: Vec<_> = below.collect();
        steps.sort_by_key(|step| step.order);
        ordered.extend(steps);
    }
    ordered
}
