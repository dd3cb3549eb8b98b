//! `kubectl dayfly`: says how pools stand and why a job waits.
//!
//! [`explain`] and [`table`] are pure; [`cluster`] asks the API server.

pub mod args;
pub mod cluster;
pub mod explain;
pub mod orphans;
pub mod table;

use crate::crd::pool::AgentPool;
use anyhow::{Context as _, bail};
use args::{Cli, Command, Output, request_number};
use cluster::Cluster;
use explain::{Explanation, Facts, explain};
use futures::AsyncBufReadExt;
use futures::TryStreamExt;
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two looks at a pool that is drained.
const LOOK: Duration = Duration::from_secs(1);

/// Does what the command line says. A code other than 0 says that it could not.
pub fn main(cli: Cli) -> ExitCode {
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start")
        .and_then(|runtime| runtime.block_on(run(cli)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a standard error there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let cluster = Cluster::connect(&cli.place).await?;
    let output = cli.place.output;
    match cli.command {
        Command::Status { pool: None } => {
            let pools = cluster.pools().await?;
            if pools.is_empty() && output == Output::Table {
                return print(&format!("{}\n", cluster.nothing_found()));
            }
            overview(&pools, output)
        }
        Command::Status { pool: Some(name) } => detail(&cluster.pool(&name).await?, output),
        Command::Explain { request } => {
            let explanation = find(&cluster, request_number(&request)?).await?;
            match output {
                Output::Json => json(&explanation),
                Output::Table => print(&explanation.to_string()),
            }
        }
        Command::Drain { pool, undo, .. } if undo => {
            cluster.pool(&pool).await?;
            cluster.pause(&pool, false).await?;
            print(&format!("{pool} starts agents again\n"))
        }
        Command::Drain { pool, wait, .. } => drain(&cluster, &pool, wait).await,
        Command::Orphans {
            identities_namespace,
            ..
        } => {
            let found = orphans::find(
                &cluster.every_pool().await?,
                &cluster.secrets(&identities_namespace).await?,
                &cluster.pods().await?,
            );
            match output {
                Output::Json => json(&found),
                Output::Table => print(&orphans::table(&found)),
            }
        }
        Command::Logs { request, follow } => {
            let number = request_number(&request)?;
            let Some(pod) = cluster.pod_of(number).await? else {
                bail!(
                    "no pod of request {number} is there; pods that succeeded are removed at once, failed ones are kept for lifecycle.history of their AgentPool"
                );
            };
            let mut lines = cluster.log(&pod, follow).await?.lines();
            while let Some(line) = lines.try_next().await? {
                print(&format!("{line}\n"))?;
            }
            Ok(())
        }
    }
}

fn overview(pools: &[AgentPool], output: Output) -> anyhow::Result<()> {
    match output {
        Output::Json => json(&pools),
        Output::Table => print(&table::overview(pools)),
    }
}

fn detail(pool: &AgentPool, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Json => json(pool),
        Output::Table => print(&table::detail(pool)),
    }
}

async fn find(cluster: &Cluster, request: i64) -> anyhow::Result<Explanation> {
    let pools = cluster.pools().await?;
    let pod = cluster.pod_of(request).await?;
    let waits = explain::pool_of(&pools, request);
    let warnings = match waits {
        Some(pool) => cluster.warnings(pool).await?,
        None => Vec::new(),
    };
    Ok(explain(&Facts {
        request,
        pools: &pools,
        pod: pod.as_ref(),
        warnings: &warnings,
    }))
}

async fn drain(cluster: &Cluster, pool: &str, wait: Option<Duration>) -> anyhow::Result<()> {
    cluster.pool(pool).await?;
    cluster.pause(pool, true).await?;
    let gone = cluster.delete_idle(pool).await?;
    print(&format!(
        "{pool} starts no further agents; {gone} without a job were asked to leave. `kubectl dayfly drain --undo {pool}` takes it back\n"
    ))?;
    let Some(wait) = wait else {
        return Ok(());
    };
    let begun = Instant::now();
    let mut told = None;
    loop {
        let left = cluster.agents_of(pool).await?;
        if left == 0 {
            return print(&format!("{pool} has no agents any more\n"));
        }
        if begun.elapsed() > wait {
            bail!(
                "{left} agents of {pool} still run after {}; their jobs go on",
                humantime::format_duration(wait)
            );
        }
        if told != Some(left) {
            print(&format!("{left} agents left\n"))?;
            told = Some(left);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn json(document: &impl Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(document)? + "\n"))
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.context("failed to write to standard output")
}
