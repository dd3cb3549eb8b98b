//! The command line.

use crate::output::{self, Printed};
use crate::pipelines::{PipelinesCommand, VariablesCommand};
use crate::principals::PrincipalsCommand;
use crate::roles::{self, RolesCommand};
use crate::runs::{self, RunsCommand};
use crate::{
    administer, backup, connect::Connection, document, keys, pat, pipelines, principals, queue,
    serve, show, tasks, watch,
};
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use dayfly_pool_service::server::Limits;
use dayfly_pool_service::store::Place;
use dayfly_wire::ids::{AgentId, RequestId, TaskId};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// A pool service: queues jobs, gives them to agents, and keeps what they report.
///
/// `serve` runs the service; `pat` works on its data directory, beside the running service. Every other command
/// talks to a service over HTTP, with DAYFLY_POOL_URL and DAYFLY_POOL_TOKEN.
#[derive(Parser)]
#[command(version, after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "Example, all on one machine:
  dayfly-pool serve --data-dir data --listen 127.0.0.1:8080 --public-url http://127.0.0.1:8080/default &
  export DAYFLY_POOL_URL=http://127.0.0.1:8080/default
  export DAYFLY_POOL_TOKEN=$(dayfly-pool pat create --data-dir data --name me \\
      --scopes agentpools_manage,build_execute,code_write)
  dayfly-pool pools create linux
  dayfly-pool queue --pool linux --script 'echo hello' --watch";

#[derive(Subcommand)]
enum Command {
    /// Run the service until SIGTERM or SIGINT.
    Serve(ServeArgs),
    /// Copy the database of a running service to a file.
    Backup(BackupArgs),
    /// The service's keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Personal access tokens, made on the service's data directory.
    #[command(subcommand)]
    Pat(PatCommand),
    /// Service principals, made on the service's data directory.
    #[command(subcommand)]
    Principals(PrincipalsCommand),
    /// Roles in pools: what a name may do where, made on the service's data directory.
    #[command(subcommand)]
    Roles(RolesCommand),
    /// Add new signing and sealing keys to the service's key file; a service that runs takes them up within seconds.
    ///
    /// Tokens that were signed with the older keys count until they end.
    RotateKeys {
        /// The service's data directory.
        #[arg(long, env = "DAYFLY_POOL_DATA_DIR")]
        data_dir: PathBuf,
    },
    /// Pools.
    #[command(subcommand)]
    Pools(PoolsCommand),
    /// Git repositories.
    #[command(subcommand)]
    Repos(ReposCommand),
    /// Pipelines: files in repositories that say what is run.
    #[command(subcommand)]
    Pipelines(PipelinesCommand),
    /// Secret variables of a pipeline.
    #[command(subcommand)]
    Variables(VariablesCommand),
    /// Agents of a pool.
    #[command(subcommand)]
    Agents(AgentsCommand),
    /// Tasks: what steps may run beside scripts.
    #[command(subcommand)]
    Tasks(TasksCommand),
    /// Queued, running and ended jobs.
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Runs: a job queued by itself is a run too.
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Queue a job.
    Queue(Box<QueueArgs>),
    /// Follow a job's console and end with its result: exit code 0 when it succeeded, 1 otherwise.
    Watch(WatchArgs),
    /// Print what completes commands and options in a shell.
    ///
    /// For bash: `dayfly-pool completions bash > /etc/bash_completion.d/dayfly-pool`. For zsh: into a file `_dayfly-pool` in a
    /// directory of $fpath. For fish: into ~/.config/fish/completions/dayfly-pool.fish.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Where the service keeps its data, and where it is found.
#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    /// Directory of the database, the keys and the repositories; made when it is not there.
    #[arg(long, env = "DAYFLY_POOL_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// File with the URL of a PostgreSQL database, which is used instead of a file in the data directory.
    #[arg(long, env = "DAYFLY_POOL_DATABASE_URL_FILE")]
    pub(crate) database_url_file: Option<PathBuf>,
    /// File with the service's keys, made by `keys create`; without it they are in the data directory.
    #[arg(long)]
    pub(crate) keys_file: Option<PathBuf>,
    /// Address to listen on.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub(crate) listen: SocketAddr,
    /// Certificate with its chain, as a PEM file: serve with TLS. It is read again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// The certificate's private key, as a PEM file.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Connections of one source at once on which nobody has shown a credential. Behind an ingress all have one source.
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().unproven)]
    pub(crate) unproven_connections: usize,
    /// URL that clients use, ending in the collection: agents get it with their jobs.
    #[arg(long, value_name = "http://HOST:8080/default")]
    pub(crate) public_url: String,
    /// How long jobs are kept after their end, with their logs.
    #[arg(long, default_value = "30d")]
    pub(crate) retention: String,
    /// How many finished runs of each pipeline are kept at most; no limit when absent. A run that is to be kept for ever counts for nothing.
    #[arg(long, value_name = "RUNS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) retention_runs: Option<u32>,
    /// URL to POST to when a queue has changed: the operator's hook, so that it need not poll for it.
    #[arg(long, value_name = "URL", requires = "wake_secret_file")]
    pub(crate) wake_url: Option<String>,
    /// File with the hook's secret; sent as the password of HTTP Basic.
    #[arg(long, value_name = "FILE", requires = "wake_url")]
    pub(crate) wake_secret_file: Option<PathBuf>,
    /// For whom jobs may have identity tokens, beside api://AzureADTokenExchange; may be repeated.
    #[arg(long, value_name = "AUDIENCE")]
    pub(crate) oidc_audience: Vec<String>,
    /// How many jobs run at once, over all pools; as many as there are agents when absent.
    #[arg(long, value_name = "JOBS", env = "DAYFLY_POOL_PARALLEL_JOBS")]
    pub(crate) parallel_jobs: Option<u32>,
}

/// Where the service's database is.
#[derive(clap::Args)]
pub(crate) struct PlaceArgs {
    /// The service's data directory.
    #[arg(
        long,
        env = "DAYFLY_POOL_DATA_DIR",
        required_unless_present = "database_url_file"
    )]
    data_dir: Option<PathBuf>,
    /// File with the URL of the service's PostgreSQL database, if it uses one.
    #[arg(long, env = "DAYFLY_POOL_DATABASE_URL_FILE")]
    database_url_file: Option<PathBuf>,
}

impl PlaceArgs {
    /// The database that the service uses when it is started with the same.
    pub(crate) fn place(&self) -> Place {
        match &self.database_url_file {
            Some(file) => Place::UrlFile(file.clone()),
            None => Place::Directory(self.data_dir.clone().unwrap_or_default()),
        }
    }
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Make a file with new keys, for all replicas of a service.
    Create {
        /// File to make; it must not be there yet.
        #[arg(long)]
        output: PathBuf,
    },
}

/// What is copied where.
#[derive(clap::Args)]
struct BackupArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// File to make; it must not be there yet.
    #[arg(long)]
    output: PathBuf,
}

#[derive(Subcommand)]
enum PatCommand {
    /// Make a token and print it; it is shown this once.
    Create {
        #[command(flatten)]
        place: PlaceArgs,
        /// To recognise the token by.
        #[arg(long)]
        name: String,
        /// What it reaches: agentpools, agentpools_manage, build, build_execute, code, code_write.
        #[arg(long)]
        scopes: String,
        /// How long it counts, for example 90d; for ever when absent.
        #[arg(long)]
        expires_in: Option<String>,
    },
    /// List the tokens, without what they are.
    List {
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        printed: Printed,
    },
    /// Revoke every token of a name, or the one of an id.
    Revoke {
        #[command(flatten)]
        place: PlaceArgs,
        /// The token's name or id.
        name: String,
    },
}

#[derive(Subcommand)]
enum PoolsCommand {
    /// Make a pool.
    Create {
        /// The pool's name.
        name: String,
    },
    /// List the pools.
    List(Printed),
}

#[derive(Subcommand)]
enum ReposCommand {
    /// Make an empty repository and print the URL to push to.
    Create {
        /// The repository's name.
        name: String,
        /// The project.
        #[arg(long, default_value = DEFAULT_PROJECT)]
        project: String,
        /// The branch of a checkout that names none.
        #[arg(long, default_value = "main")]
        default_branch: String,
    },
    /// List the repositories.
    List {
        /// The project.
        #[arg(long, default_value = DEFAULT_PROJECT)]
        project: String,
        #[command(flatten)]
        printed: Printed,
    },
}

#[derive(Subcommand)]
enum AgentsCommand {
    /// List a pool's agents.
    List {
        /// The pool.
        #[arg(long)]
        pool: String,
        #[command(flatten)]
        printed: Printed,
    },
    /// Remove an agent, by name or id. One that runs a job stays.
    Remove {
        /// The pool.
        #[arg(long)]
        pool: String,
        /// The agent's name or id.
        agent: String,
    },
    /// Let an agent take jobs, or not.
    Enable {
        /// The pool.
        #[arg(long)]
        pool: String,
        /// The agent's id.
        agent: AgentId,
        /// Take it out of use instead.
        #[arg(long)]
        off: bool,
    },
}

#[derive(Subcommand)]
enum TasksCommand {
    /// Upload a task: a directory with a task.json, or a zip archive of one.
    Upload {
        /// The directory or the archive.
        source: PathBuf,
        /// Replace the version if it is there. Agents keep what they have downloaded already.
        #[arg(long)]
        overwrite: bool,
    },
    /// List the tasks with their versions.
    List(Printed),
    /// Remove a task.
    Delete {
        /// The task's id.
        task: TaskId,
        /// Only this version, for example 2.1.0.
        #[arg(long)]
        version: Option<String>,
    },
}

#[derive(Subcommand)]
enum JobsCommand {
    /// List a pool's unfinished jobs, and those that ended last.
    List {
        /// The pool.
        #[arg(long)]
        pool: String,
        /// How many ended ones.
        #[arg(long, default_value_t = 20)]
        finished: u32,
        #[command(flatten)]
        printed: Printed,
    },
    /// Show a job with its steps.
    Show {
        #[command(flatten)]
        job: WatchArgs,
        #[command(flatten)]
        printed: Printed,
    },
    /// Print a job's stored logs.
    Logs(WatchArgs),
    /// Ask for the end of a job.
    Cancel {
        /// The job.
        #[command(flatten)]
        job: WatchArgs,
        /// For those who look at the job later.
        #[arg(long)]
        reason: Option<String>,
    },
}

/// Which job.
#[derive(clap::Args)]
pub(crate) struct WatchArgs {
    /// The request's id, as `queue` printed it.
    pub(crate) request: RequestId,
    /// The project that it was queued in.
    #[arg(long, default_value = DEFAULT_PROJECT)]
    pub(crate) project: String,
}

/// What the job is; steps run in the order of the command line.
#[derive(clap::Args)]
pub(crate) struct QueueArgs {
    /// The pool.
    #[arg(long, required_unless_present = "file")]
    pub(crate) pool: Option<String>,
    /// The project.
    #[arg(long, default_value = DEFAULT_PROJECT)]
    pub(crate) project: String,
    /// A step that checks a repository of the project out; the first one is the job's own.
    #[arg(long, value_name = "REPOSITORY")]
    pub(crate) checkout: Vec<String>,
    /// A step that runs a script in the default shell.
    #[arg(long)]
    pub(crate) script: Vec<String>,
    /// A step that runs a script in bash.
    #[arg(long)]
    pub(crate) bash: Vec<String>,
    /// What the agent must offer: `name`, `name -equals value` or `name -gtVersion 1.2.3`.
    #[arg(long)]
    pub(crate) demand: Vec<String>,
    /// A variable.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) variable: Vec<String>,
    /// A secret variable, from an environment variable of this command.
    #[arg(long, value_name = "NAME=ENVIRONMENT_VARIABLE")]
    pub(crate) secret: Vec<String>,
    /// A secret variable, from a file; one line end at its end is dropped.
    #[arg(long, value_name = "NAME=PATH")]
    pub(crate) secret_file: Vec<String>,
    /// A branch, a tag, a ref or a commit of the first repository.
    #[arg(long = "ref")]
    pub(crate) reference: Option<String>,
    /// The pipeline's name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Minutes that the job may run; 0 for no limit.
    #[arg(long)]
    pub(crate) timeout: Option<i64>,
    /// Jobs of a higher priority are served first, from -10 to 10.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) priority: Option<i64>,
    /// Let scripts see the job's token as SYSTEM_ACCESSTOKEN without mapping it.
    #[arg(long)]
    pub(crate) scripts_access_token: bool,
    /// The job as a document, YAML or JSON; the other options add to it.
    #[arg(long)]
    pub(crate) file: Option<PathBuf>,
    /// Follow the job to its end, as `watch` does.
    #[arg(long)]
    pub(crate) watch: bool,
}

const DEFAULT_PROJECT: &str = "demo";

/// Does what the command line says.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Serve(args) => serve::run(args).await?,
        Command::Backup(args) => backup::run(&args.place.place(), &args.output).await?,
        Command::Keys(KeysCommand::Create { output }) => {
            anyhow::ensure!(!output.exists(), "{} is there already", output.display());
            dayfly_pool_service::keyfile::make(&output)?;
        }
        Command::Pat(command) => run_pat(command).await?,
        Command::Principals(command) => principals::run(command).await?,
        Command::Roles(command) => roles::run(command).await?,
        Command::RotateKeys { data_dir } => keys::rotate(&data_dir).await?,
        Command::Pools(PoolsCommand::Create { name }) => {
            administer::create_pool(&Connection::from_environment()?, &name).await?;
        }
        Command::Pools(PoolsCommand::List(printed)) => {
            show::pools(&Connection::from_environment()?, printed).await?;
        }
        Command::Repos(command) => run_repos(command).await?,
        Command::Pipelines(command) => pipelines::run(command).await?,
        Command::Variables(command) => pipelines::run_variables(command).await?,
        Command::Agents(command) => run_agents(command).await?,
        Command::Tasks(command) => run_tasks(command).await?,
        Command::Jobs(command) => run_jobs(command).await?,
        Command::Runs(command) => runs::run(command).await?,
        Command::Queue(args) => return run_queue(*args).await,
        Command::Completions { shell } => complete(shell)?,
        Command::Watch(job) => {
            return watch::run(&Connection::from_environment()?, &job.project, job.request).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints completions. They are made in memory first: whoever reads them may go away in the middle.
fn complete(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    let mut command = Args::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    output::text(&String::from_utf8(script)?)
}

async fn run_pat(command: PatCommand) -> anyhow::Result<()> {
    match command {
        PatCommand::Create {
            place,
            name,
            scopes,
            expires_in,
        } => pat::create(&place.place(), &name, &scopes, expires_in.as_deref()).await,
        PatCommand::List { place, printed } => pat::list(&place.place(), printed).await,
        PatCommand::Revoke { place, name } => pat::revoke(&place.place(), &name).await,
    }
}

async fn run_repos(command: ReposCommand) -> anyhow::Result<()> {
    let connection = Connection::from_environment()?;
    match command {
        ReposCommand::Create {
            name,
            project,
            default_branch,
        } => administer::create_repository(&connection, &project, name, default_branch).await,
        ReposCommand::List { project, printed } => {
            show::repositories(&connection, &project, printed).await
        }
    }
}

async fn run_agents(command: AgentsCommand) -> anyhow::Result<()> {
    let connection = Connection::from_environment()?;
    match command {
        AgentsCommand::List { pool, printed } => show::agents(&connection, &pool, printed).await,
        AgentsCommand::Remove { pool, agent } => {
            administer::remove_agent(&connection, &pool, &agent).await
        }
        AgentsCommand::Enable { pool, agent, off } => {
            administer::enable_agent(&connection, &pool, agent, !off).await
        }
    }
}

async fn run_tasks(command: TasksCommand) -> anyhow::Result<()> {
    let connection = Connection::from_environment()?;
    match command {
        TasksCommand::Upload { source, overwrite } => {
            tasks::upload(&connection, &source, overwrite).await
        }
        TasksCommand::List(printed) => tasks::list(&connection, printed).await,
        TasksCommand::Delete { task, version } => {
            tasks::delete(&connection, task, version.as_deref()).await
        }
    }
}

async fn run_jobs(command: JobsCommand) -> anyhow::Result<()> {
    let connection = Connection::from_environment()?;
    match command {
        JobsCommand::List {
            pool,
            finished,
            printed,
        } => show::jobs(&connection, &pool, finished, printed).await,
        JobsCommand::Show { job, printed } => {
            show::job(&connection, &job.project, job.request, printed).await
        }
        JobsCommand::Logs(job) => show::logs(&connection, &job.project, job.request).await,
        JobsCommand::Cancel { job, reason } => {
            administer::cancel_job(&connection, &job.project, job.request, reason).await
        }
    }
}

async fn run_queue(args: QueueArgs) -> anyhow::Result<ExitCode> {
    let connection = Connection::from_environment()?;
    let (project, watch) = (args.project.clone(), args.watch);
    let job = document::from_args(args)?;
    queue::run(&connection, &project, &job, watch).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
    #[test]
    fn every_command_that_lists_prints_documents_too() {
        fn lists(command: &clap::Command, path: &str, found: &mut Vec<String>) {
            for inner in command.get_subcommands() {
                let path = format!("{path} {}", inner.get_name());
                if inner.get_name() == "list" {
                    let output = inner.get_arguments().find(|arg| arg.get_id() == "output");
                    assert!(output.is_some(), "{path} has no --output");
                    found.push(path.clone());
                }
                lists(inner, &path, found);
            }
        }
        let mut found = Vec::new();
        lists(&Args::command(), "dayfly-pool", &mut found);
        assert!(found.len() >= 8, "{found:?}");
    }
}
