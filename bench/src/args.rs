//! The command line.

use clap::Parser;
use std::path::PathBuf;

/// Measures how long one job takes from the queue to its first line, and from its end until nothing is left.
///
/// Runs jobs one after another on an installed Dayfly (e2e/install.sh), in a namespace and a pool of its own that are
/// removed afterwards. No agent waits for them: each job's pod is started for it, from a full reserve of registered
/// identities. Between the jobs, bare pods of the same shape are started (two containers, same images) and tell by
/// their own clocks when they ran: that is what the cluster takes in any case, and the goal is a ratio to it.
///
/// All clocks should be of one machine: queued and finished are told by the pool service, session open by the operator,
/// the rest by this program.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Examples:
  . e2e/cluster/env.sh && dayfly-bench              20 jobs, about 3 minutes on two cores
  dayfly-bench --jobs 3 --output /tmp/quick.json    a quick look

With fewer than 100 jobs, p99 is the slowest of all."
)]
pub(crate) struct Args {
    /// How many jobs to measure.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) jobs: u32,
    /// How many jobs to run before that, unmeasured: images are unpacked and caches are warm afterwards.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) warm_up: u32,
    /// Where the numbers are written, as JSON.
    #[arg(long, default_value = "target/bench/first-job.json")]
    pub(crate) output: PathBuf,
}
