//! The command line.

use clap::Parser;
use std::path::PathBuf;

/// Measures a pool service: parked listeners, wakes, jobs from the queue to their end, logs, lists.
///
/// Starts a service of its own in a temporary directory, or measures the one that --url names; its token then comes in
/// the environment variable DAYFLY_POOL_TOKEN and needs the scopes agentpools_manage and build_execute.
#[derive(Parser)]
#[command(name = "dayfly-bench-pool", version)]
pub(crate) struct Args {
    /// The program to start; beside this one unless said otherwise.
    #[arg(long)]
    pub(crate) program: Option<PathBuf>,
    /// Further arguments of `dayfly-pool serve`, each with an option of its own.
    #[arg(long = "serve-arg", allow_hyphen_values = true)]
    pub(crate) serve_args: Vec<String>,
    /// A service that runs already.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// The process of that service, for its memory and time, when it is on this machine.
    #[arg(long, requires = "url")]
    pub(crate) pid: Option<u32>,
    /// Agents that wait for a message.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) listeners: usize,
    /// Jobs that wake one of them, one after the other.
    #[arg(long, default_value_t = 300)]
    pub(crate) wakes: usize,
    /// Jobs from the queue to their end, as fast as it goes.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) jobs: usize,
    /// Megabytes of log.
    #[arg(long, default_value_t = 128)]
    pub(crate) log: usize,
    /// Requests that ended before the unfinished ones are listed.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) finished: usize,
    /// Where the numbers go.
    #[arg(long, default_value = "target/bench/pool.json")]
    pub(crate) output: PathBuf,
}
