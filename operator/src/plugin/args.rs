//! The command line of `kubectl dayfly`.

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Says how pools of agents stand, and why a job has no agent.
///
/// Reads AgentPools, pods and Events with the rights of whoever calls it, from the cluster that kubectl uses
/// (KUBECONFIG). Put it on the PATH as `kubectl-dayfly`.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl dayfly",
    bin_name = "kubectl dayfly",
    version,
    propagate_version = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Where to look.
    #[command(flatten)]
    pub place: Place,
}

/// Where to look, and how to answer.
#[derive(Debug, Args)]
pub struct Place {
    /// The namespace of the AgentPools; the one of the kubeconfig's context when absent.
    #[arg(long, short, global = true)]
    pub namespace: Option<String>,
    /// Every namespace.
    #[arg(long, short = 'A', global = true, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Another context of the kubeconfig.
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// For people or for programs.
    #[arg(long, short, value_enum, default_value_t, global = true)]
    pub output: Output,
}

/// How to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how many jobs wait and run, how many agents there are, and what is wrong.
    Status {
        /// Only this AgentPool, with its templates, its waiting jobs and its conditions.
        pool: Option<String>,
    },
    /// Say why a job has no agent, or where it runs.
    ///
    /// For example: kubectl dayfly explain 4711, or with a URL that ends in the number.
    Explain {
        /// The request's number, or a URL that ends in it.
        request: String,
    },
    /// Start no further agents and let idle ones go. Jobs that run are finished.
    Drain {
        /// The AgentPool.
        pool: String,
        /// Wait until the last agent has gone, at most so long, for example 1h.
        #[arg(long, value_parser = humantime::parse_duration)]
        wait: Option<std::time::Duration>,
        /// Let it start agents again instead.
        #[arg(long, conflicts_with = "wait")]
        undo: bool,
    },
    /// List sealed Secrets and pods that belong to no AgentPool. The operator removes them; this only looks.
    Orphans {
        /// Look only. Required, so that nobody expects more.
        #[arg(long, required = true)]
        dry_run: bool,
        /// The namespace of the sealed Secrets.
        #[arg(long, default_value = "dayfly-identities")]
        identities_namespace: String,
    },
    /// Print what the agent of a job logged, as long as its pod is kept (`lifecycle.history`). What the steps wrote is in
    /// the service.
    Logs {
        /// The request's number, or a URL that ends in it.
        request: String,
        /// Go on until the pod ends.
        #[arg(long, short)]
        follow: bool,
    },
}

/// The number at the end of what names a request.
///
/// # Errors
/// It ends in none.
pub fn request_number(text: &str) -> anyhow::Result<i64> {
    let text = text.trim_end_matches('/');
    let digits = text.len() - text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    text[text.len() - digits..]
        .parse()
        .map_err(|_| anyhow::anyhow!("{text:?} does not end in a request's number, such as 4711"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_request_is_named_by_number_or_url() {
        assert_eq!(request_number("4711").unwrap(), 4711);
        let url = "https://dev.azure.com/contoso/_apis/distributedtask/pools/3/jobrequests/4711/";
        assert_eq!(request_number(url).unwrap(), 4711);
        for wrong in ["", "latest", "99999999999999999999"] {
            assert!(request_number(wrong).is_err(), "{wrong}");
        }
    }
}
