//! `dayfly-conformance`: runs the scenarios and prints a table.
#![allow(clippy::print_stdout)] // It talks to a terminal.

use anyhow::Context;
use clap::Parser;
use dayfly_conformance::{report, run, suite::Options};
use dayfly_wire::secret::SecretText;
use std::path::PathBuf;
use std::process::ExitCode;

/// The variable that the token comes in: a command line can be read by every process of the machine.
const TOKEN: &str = "DAYFLY_POOL_TOKEN";

/// Holds a service against the agent protocol as clients know it.
///
/// The token comes in the environment variable DAYFLY_POOL_TOKEN, or in a file. It needs the scopes "Agent Pools (read,
/// manage)"; on dayfly-pool also build_execute. Ends with 0 when no scenario failed, with 1 when one did, with 2 when
/// the run could not begin.
#[derive(Parser)]
#[command(name = "dayfly-conformance", version)]
struct Args {
    /// The base URL, with the collection or organisation, for example https://dev.azure.com/contoso.
    #[arg(long, env = "DAYFLY_POOL_URL")]
    url: String,
    /// A file that holds the token.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// A pool that is there. Without one a pool is made, and removed if the service can. On Azure DevOps name an
    /// empty pool: agents are registered in it, all of them disabled.
    #[arg(long)]
    pool: Option<String>,
    /// The project that jobs are queued to, where the service has a call for that.
    #[arg(long, default_value = "conformance")]
    project: String,
    /// Certificates (PEM) that the service's chain may end in.
    #[arg(long)]
    ca_bundle: Option<PathBuf>,
    /// Only this part of the protocol, for example `sessions`.
    #[arg(long)]
    only: Option<String>,
}

impl Args {
    fn options(&self) -> anyhow::Result<Options> {
        let read = |path: &PathBuf| {
            std::fs::read(path).with_context(|| format!("failed to read {}", path.display()))
        };
        let token = match &self.token_file {
            Some(path) => String::from_utf8(read(path)?).context("the token is no text")?,
            None => std::env::var(TOKEN)
                .with_context(|| format!("set {TOKEN}, or name a file with --token-file"))?,
        };
        Ok(Options {
            url: self.url.clone(),
            pat: SecretText::from(token.trim()),
            pool: self.pool.clone(),
            project: self.project.clone(),
            ca_bundle: self.ca_bundle.as_ref().map(read).transpose()?,
        })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let options = match args.options() {
        Ok(options) => options,
        Err(error) => return unusable(&error),
    };
    match run(&options, args.only.as_deref()).await {
        Ok(findings) => {
            print!("{}", report::table(&findings));
            ExitCode::from(u8::from(findings.differs()))
        }
        Err(stop) => unusable(&stop.into()),
    }
}

fn unusable(error: &anyhow::Error) -> ExitCode {
    eprintln!("dayfly-conformance: {error:#}");
    ExitCode::from(2)
}
