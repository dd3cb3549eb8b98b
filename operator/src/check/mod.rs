//! Looks at a cluster, and at a service that its owner names, and says what is as it is assumed to be.
//!
//! [`cluster`] changes nothing. [`live`] registers an agent of its own in the pool that is named, and removes it.

pub mod cluster;
pub mod live;
mod live_job;
pub mod report;

use crate::args::{CheckArgs, Output};
use crate::connection::objects::Own;
use crate::connection::refresh;
use crate::crd::connection::PoolConnection;
use crate::deadline::within;
use anyhow::{Context as _, bail};
use kube::{Api, Client};
use report::Report;

/// Looks, and says what it saw; whether all is well.
///
/// # Errors
/// What should be looked at is not there.
pub async fn run(kube: &Client, args: &CheckArgs) -> anyhow::Result<(String, bool)> {
    let report = match (args.live, &args.connection, &args.pool) {
        (true, Some(connection), Some(pool)) => live(kube, args, connection, pool).await?,
        _ => cluster::check(kube, args).await,
    };
    let text = match args.output {
        Output::Table => report.table(),
        Output::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    Ok((text, report.is_good()))
}

async fn live(
    kube: &Client,
    args: &CheckArgs,
    connection: &str,
    pool: &str,
) -> anyhow::Result<Report> {
    let api: Api<PoolConnection> = Api::namespaced(kube.clone(), &args.namespace);
    let object = within(api.get(connection)).await.with_context(|| {
        format!(
            "failed to read PoolConnection {connection} in namespace {}",
            args.namespace
        )
    })?;
    let own = Own {
        kube,
        namespace: &args.namespace,
        federated_token_file: args.federated_token_file.as_deref(),
    };
    let link = match refresh::link(&own, &object.spec).await {
        Ok(link) => link,
        Err((_, message)) => bail!("PoolConnection {connection} cannot be used: {message}"),
    };
    let job = args.with_job.map(Into::into);
    Ok(live::check(&link, pool, job).await)
}
