//! `dayfly-bench-pool`: measures the pool service under load and prints a table.

mod agent;
mod args;
mod client;
mod measure;
mod process;
mod report;
mod server;

use anyhow::Result;
use args::Args;
use clap::Parser;

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    // Nobody installed another one before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    process::raise_file_limit()?;
    let server = server::start(&args).await?;
    let rows = measure::all(&args, &server).await?;
    report::print(&rows);
    report::write(&args.output, &rows)
}
