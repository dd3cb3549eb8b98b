//! How long the first job of a cold pool takes on the cluster at hand, and how much of it is the cluster's own.

mod args;
mod floor;
mod report;
mod rounds;
mod summary;

use args::Args;
use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    dayfly_e2e::install_tls();
    let samples = rounds::run(&args).await?;
    let summary = summary::summarize(&samples);
    report::print(&samples, &summary);
    report::write(&args.output, &summary)
}
