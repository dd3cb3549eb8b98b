//! The command line.

use crate::telemetry::LogFormat;
use clap::{Args, Parser, Subcommand};

/// Runs Azure Pipelines jobs on Kubernetes in agents that live for one job.
#[derive(Debug, Parser)]
#[command(name = "dayfly-operator", version, about, long_about = None, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Reconcile AgentPools until told to stop (SIGTERM).
    ///
    /// Finds its cluster by the service account of its pod, or by KUBECONFIG. All settings can be given by
    /// environment variables, as the Helm chart does.
    Run(Box<RunArgs>),
    /// Print the definitions of the custom resources as YAML.
    ///
    /// For example: dayfly-operator crd | kubectl apply --server-side -f -
    Crd {
        /// Only this one: agentpools or poolconnections.
        #[arg(value_parser = ["agentpools", "poolconnections"])]
        plural: Option<String>,
        /// Write one file for each into this directory instead.
        #[arg(long, conflicts_with = "plural")]
        directory: Option<std::path::PathBuf>,
    },
    /// Add a sealing key. New identities are sealed under it; the old keys go on opening what they sealed.
    RotateSealingKey {
        /// The operator's namespace.
        #[arg(long, env = "DAYFLY_NAMESPACE", default_value = "dayfly-system")]
        namespace: String,
    },
    /// Look whether the cluster is as the operator needs it; with --live, whether a service is as it is assumed to be.
    ///
    /// Without --live nothing is changed: the API server, the custom resources and the own rights are looked at. With
    /// it an agent is registered in the pool, used, and removed. Ends with 1 if anything is otherwise.
    ///
    /// For example: dayfly-operator check --live --connection contoso --pool a-pool-to-try-with
    Check(CheckArgs),
    /// Print the version.
    Version,
}

/// How something is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Settings of `check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// The operator's own namespace.
    #[arg(long, env = "DAYFLY_NAMESPACE", default_value = "dayfly-system")]
    pub namespace: String,
    /// The namespace of the sealed Secrets.
    #[arg(
        long,
        env = "DAYFLY_IDENTITIES_NAMESPACE",
        default_value = "dayfly-identities"
    )]
    pub identities_namespace: String,
    /// Namespaces whose AgentPools are reconciled, separated by commas; all when empty.
    #[arg(long, env = "DAYFLY_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// Try what is assumed of a service, in a pool of it, with an agent made for it.
    #[arg(long, requires_all = ["connection", "pool"])]
    pub live: bool,
    /// The PoolConnection.
    #[arg(long, requires = "live")]
    pub connection: Option<String>,
    /// The pool. Nothing else should run in it.
    #[arg(long, requires = "live")]
    pub pool: Option<String>,
    /// Wait so long for somebody to queue a job to the pool, take it, and end it as failed. For example 5m.
    #[arg(long, requires = "live")]
    pub with_job: Option<humantime::Duration>,
    /// How the result is printed.
    #[arg(long, short, value_enum, default_value = "table")]
    pub output: Output,
    /// The operator's projected service-account token, for connections with a workload identity.
    #[arg(long, env = "AZURE_FEDERATED_TOKEN_FILE")]
    pub federated_token_file: Option<std::path::PathBuf>,
}

impl CheckArgs {
    /// Namespaces that are watched; `None` is all of them.
    pub fn watched(&self) -> Vec<Option<String>> {
        watched(&self.watch_namespaces)
    }
}

/// Settings of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The operator's own namespace: PoolConnections and their credentials are here.
    #[arg(long, env = "DAYFLY_NAMESPACE", default_value = "dayfly-system")]
    pub namespace: String,
    /// The operator's own pod, to be labelled as the leader. Absent when it runs outside of a cluster.
    #[arg(long, env = "DAYFLY_POD_NAME")]
    pub pod_name: Option<String>,
    /// The namespace of the sealed Secrets, which holds nothing else.
    #[arg(
        long,
        env = "DAYFLY_IDENTITIES_NAMESPACE",
        default_value = "dayfly-identities"
    )]
    pub identities_namespace: String,
    /// The image of the agent.
    #[arg(long, env = "DAYFLY_AGENT_IMAGE")]
    pub agent_image: String,
    /// Its pull policy.
    #[arg(
        long,
        env = "DAYFLY_AGENT_IMAGE_PULL_POLICY",
        default_value = "IfNotPresent"
    )]
    pub agent_image_pull_policy: String,
    /// The DNS name of the Service in front of the identity API.
    #[arg(
        long,
        env = "DAYFLY_IDENTITY_SERVICE",
        default_value = "dayfly-operator.dayfly-system.svc"
    )]
    pub identity_service: String,
    /// The URL under which agents reach the identity API, when it is not the Service's, port 8443.
    #[arg(long, env = "DAYFLY_IDENTITY_URL")]
    pub identity_url: Option<String>,
    /// Namespaces whose AgentPools are reconciled, separated by commas; all when empty.
    #[arg(long, env = "DAYFLY_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// Where the identity API listens.
    #[arg(long, env = "DAYFLY_IDENTITY_LISTEN", default_value = "0.0.0.0:8443")]
    pub identity_listen: std::net::SocketAddr,
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, env = "DAYFLY_HEALTH_LISTEN", default_value = "0.0.0.0:8080")]
    pub health_listen: std::net::SocketAddr,
    /// The operator's projected service-account token, for connections with a workload identity.
    #[arg(long, env = "AZURE_FEDERATED_TOKEN_FILE")]
    pub federated_token_file: Option<std::path::PathBuf>,
    /// The log filter of the agents.
    #[arg(long, env = "DAYFLY_AGENT_LOG")]
    pub agent_log: Option<String>,
    /// What is logged, for example `info` or `info,dayfly_operator=debug`.
    #[arg(long, env = "DAYFLY_LOG", default_value = "info")]
    pub log: String,
    /// How it looks.
    #[arg(long, env = "DAYFLY_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

impl RunArgs {
    /// The URL under which agents reach the identity API.
    pub fn identity_url(&self) -> String {
        self.identity_url
            .clone()
            .unwrap_or_else(|| format!("https://{}:8443", self.identity_service))
    }

    /// Namespaces to watch; `None` is all of them.
    pub fn watched(&self) -> Vec<Option<String>> {
        watched(&self.watch_namespaces)
    }
}

fn watched(namespaces: &[String]) -> Vec<Option<String>> {
    let named: Vec<_> = namespaces
        .iter()
        .map(|name| name.trim())
        .filter(|name| !name.is_empty())
        .map(|name| Some(name.to_owned()))
        .collect();
    if named.is_empty() { vec![None] } else { named }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed_and_teaches() {
        Cli::command().debug_assert();
        let help = Cli::command()
            .find_subcommand_mut("run")
            .unwrap()
            .render_long_help()
            .to_string();
        for word in ["DAYFLY_IDENTITIES_NAMESPACE", "SIGTERM", "KUBECONFIG"] {
            assert!(help.contains(word), "{word} is missing in\n{help}");
        }
    }

    #[test]
    fn an_empty_list_of_namespaces_is_all_of_them() {
        let args = |list: &str| {
            let argv = [
                "dayfly-operator",
                "run",
                "--agent-image",
                "x",
                "--watch-namespaces",
                list,
            ];
            match Cli::parse_from(argv).command {
                Command::Run(args) => args.watched(),
                _ => unreachable!(),
            }
        };
        assert_eq!(args(""), [None]);
        assert_eq!(args("a,b"), [Some("a".to_owned()), Some("b".to_owned())]);
    }
}
