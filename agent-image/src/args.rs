//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Runs one Azure Pipelines job and leaves.
///
/// In a Dayfly pod the container `agent` runs `listen` and the container `job` runs `step-host`; the operator
/// sets everything that they need. Exit code 0 says that the job was run and reported, whatever its result;
/// the codes of infrastructure failures are in the reference documentation.
#[derive(Parser)]
#[command(name = "dayfly-agent", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The parts of the agent.
#[derive(Subcommand)]
pub enum Command {
    /// Wait for one job, have it run, report it, leave.
    ///
    /// The identity comes from the operator (DAYFLY_OPERATOR_URL), or, to run without one, from a file.
    Listen(ListenArgs),
    /// Run steps on behalf of the agent, as process 1 of the job container.
    StepHost(StepHostArgs),
    /// Copy this binary into a directory, for job images that do not hold it.
    Install(InstallArgs),
    /// Run the job that arrives on an inherited descriptor. Started by `listen`.
    #[command(hide = true)]
    Worker(WorkerArgs),
    /// Answer git's question for a credential from an inherited descriptor. Started by git.
    #[command(hide = true)]
    GitCredential(GitCredentialArgs),
}

/// `listen`.
#[derive(Args)]
pub struct ListenArgs {
    /// The identity's name, which is the pod's name.
    #[arg(long, env = "DAYFLY_IDENTITY", default_value = "")]
    pub identity: String,
    /// The operator's identity API, for example https://dayfly-operator.dayfly-system.svc:8443.
    #[arg(
        long,
        env = "DAYFLY_OPERATOR_URL",
        required_unless_present = "identity_file"
    )]
    pub operator_url: Option<String>,
    /// The certificate (PEM text) that the operator's must end in; no other is trusted.
    #[arg(long, env = "DAYFLY_OPERATOR_CA", hide_env_values = true)]
    pub operator_ca: Option<String>,
    /// The pod's projected token, by which the operator knows this pod.
    #[arg(
        long,
        env = "DAYFLY_TOKEN_FILE",
        default_value = "/var/run/secrets/dayfly/token"
    )]
    pub token_file: PathBuf,
    /// For development: a file (or /dev/fd/N) that holds the identity as the operator would answer it, in JSON.
    /// No operator is asked or told anything.
    #[arg(long, conflicts_with = "operator_url")]
    pub identity_file: Option<PathBuf>,
    /// Where the step host connects.
    #[arg(
        long,
        env = "DAYFLY_SOCKET",
        default_value = "/run/dayfly/step-host.sock"
    )]
    pub socket: PathBuf,
    /// The whole work volume. Its directory `work` is what the job sees.
    #[arg(long, env = "DAYFLY_WORK", default_value = "/dayfly/work")]
    pub work: PathBuf,
    /// Where log pages wait to be sent.
    #[arg(long, env = "DAYFLY_PAGES", default_value = "/dayfly/pages")]
    pub pages: PathBuf,
    /// Archives of tasks that need not be downloaded, as ID_VERSION.zip; looked into when it is there.
    #[arg(long, env = "DAYFLY_TASK_CACHE", default_value = "/dayfly/task-cache")]
    pub task_cache: PathBuf,
    /// The cache volume: what jobs keep between runs; used when it is there.
    #[arg(long, env = "DAYFLY_CACHE", default_value = "/dayfly/cache")]
    pub cache: PathBuf,
    /// For development: the longest that a call of a job may take, in seconds.
    #[arg(long, hide = true)]
    pub call_limit: Option<u64>,
    /// For development: how long a service in trouble is tried before its job is given up, in seconds. By default about
    /// as long as a service keeps a lock that nobody renews.
    #[arg(long, hide = true, default_value_t = 600)]
    pub trouble_limit: u64,
    /// Which tasks are given the job's token.
    #[arg(
        long,
        env = "DAYFLY_TOKEN_FOR_TASKS",
        value_enum,
        default_value = "installed"
    )]
    pub token_for_tasks: TokenForTasks,
    /// The image that the job container runs; jobs that ask for a container are served when it is this one.
    #[arg(long, env = "DAYFLY_JOB_IMAGE")]
    pub job_image: Option<String>,
}

/// Which tasks are given the job's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum TokenForTasks {
    /// Those that the service's catalogue serves, as long as their files are what it served.
    Installed,
    /// Those of a short list that is built in, unless the job says that they are not the service's own.
    Listed,
    /// None.
    None,
}

impl std::fmt::Display for TokenForTasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Installed => "installed",
            Self::Listed => "listed",
            Self::None => "none",
        })
    }
}

/// `step-host`.
#[derive(Args)]
pub struct StepHostArgs {
    /// Where the agent listens.
    #[arg(
        long,
        env = "DAYFLY_SOCKET",
        default_value = "/run/dayfly/step-host.sock"
    )]
    pub socket: PathBuf,
    /// The work directory.
    #[arg(long, default_value = "/work")]
    pub work: PathBuf,
    /// Where script bodies go; memory, in a pod.
    #[arg(long, env = "DAYFLY_SCRIPTS", default_value = "/dayfly/scripts")]
    pub scripts: PathBuf,
    /// Where the agent puts tasks; nothing in the job container can write it, in a pod.
    #[arg(long, env = "DAYFLY_TASKS", default_value = "/dayfly/tasks")]
    pub tasks: PathBuf,
    /// For development: serve without being process 1, and kill only what descends from this process.
    #[arg(long, hide = true)]
    pub not_process_one: bool,
}

/// `install`.
#[derive(Args)]
pub struct InstallArgs {
    /// Where to.
    pub directory: PathBuf,
}

/// `worker`.
#[derive(Args)]
pub struct WorkerArgs {
    /// The descriptor that leads to the listener.
    #[arg(long)]
    pub control: i32,
    /// The descriptor that leads to the step host.
    #[arg(long)]
    pub step_host: i32,
}

/// `git-credential`.
#[derive(Args)]
pub struct GitCredentialArgs {
    /// The descriptor that holds the credential.
    #[arg(long)]
    pub descriptor: i32,
    /// `get`; everything else that git may ask is ignored.
    pub operation: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
