//! `worker`: runs the one job that the listener hands over, reports it, and exits with its result.

pub(crate) mod again;
pub(crate) mod artifacts;
pub(crate) mod cache;
pub(crate) mod command_effects;
pub(crate) mod command_uploads;
pub mod commands;
pub(crate) mod containers;
pub(crate) mod finish;
pub(crate) mod git;
pub(crate) mod git_lfs;
mod git_refs;
mod git_submodules;
mod ignore_file;
pub(crate) mod job;
pub mod lines;
pub(crate) mod listener;
pub(crate) mod macros;
pub mod mask;
mod mask_expressions;
pub(crate) mod obey;
pub(crate) mod patterns;
pub(crate) mod place;
pub(crate) mod plan;
pub(crate) mod process;
mod proxy;
pub(crate) mod record;
pub(crate) mod report;
pub(crate) mod repository_credential;
pub(crate) mod restrictions;
pub mod result;
pub(crate) mod rows;
pub(crate) mod secret_forms;
pub(crate) mod secrets;
pub(crate) mod step;
pub(crate) mod steps;
pub(crate) mod system_variables;
pub mod tasks;
pub(crate) mod uploads;
pub(crate) mod variables;

use crate::args::WorkerArgs;
use crate::control::Facts;
use crate::exit::Exit;
use crate::host::link::Link;
use crate::inherited;
use dayfly_client::{BuildError, Client, Credential, PlanScope};
use dayfly_wire::ids::RecordId;
use dayfly_wire::job::{
    ACCESS_TOKEN, ACCESS_TOKEN_VARIABLE, ENABLE_ACCESS_TOKEN, Endpoint, JobMessage,
    SYSTEM_CONNECTION,
};
use dayfly_wire::secret::SecretText;
use job::Job;
use listener::Listener;
use mask::Masker;
use place::WorkVolume;
use report::outbox::Outbox;
use report::sender::{Destination, Reporter};
use std::io;
use std::os::fd::OwnedFd;
use tokio::net::UnixStream;
use variables::Variables;

/// Why the worker cannot run the job. Nothing of the job's content is repeated.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("failed to take over an inherited descriptor")]
    Descriptor(#[from] io::Error),
    #[error("failed to receive the job from the listener")]
    NoJob,
    #[error("failed to read the job message (line {line}, column {column})")]
    Message { line: usize, column: usize },
    #[error(
        "failed to find the job's token: the message has no {SYSTEM_CONNECTION} with an {ACCESS_TOKEN}"
    )]
    NoConnection,
    #[error(transparent)]
    Client(#[from] BuildError),
}

/// Runs the job.
pub(crate) async fn work(args: WorkerArgs) -> Exit {
    match run(&args).await {
        Ok(Some(result)) => Exit::Result(result::exit_code(result)),
        Ok(None) => Exit::NotReported,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, cause, "failed to run the job");
            Exit::Setup
        }
    }
}

async fn run(args: &WorkerArgs) -> Result<Option<dayfly_wire::event::TaskResult>, StartError> {
    let (control, step_host) = (
        inherited::take(args.control)?,
        inherited::take(args.step_host)?,
    );
    let (listener, facts, body) = Listener::connect(stream(control)?)
        .await
        .ok_or(StartError::NoJob)?;
    let message = parse(&body)?;
    drop(body);
    let link = Link::new(stream(step_host)?);
    let destination = destination(&facts, &message)?;
    let mut masker = Masker::default();
    let unmasked = secrets::add_all(&mut masker, &message);
    std::fs::create_dir_all(&facts.pages)?;
    let volume = WorkVolume::open(&facts.work)?;
    let outbox = Outbox::new(RecordId(message.job_id.0), facts.pages.clone(), masker);
    let (reporter, sending) = Reporter::start(outbox, &destination, listener.canceled().clone());
    tokio::spawn(listener::follow_feed_interval(
        listener.feed_interval(),
        reporter.clone(),
    ));
    let mut variables = Variables::from_message(&message.variables);
    // What the classic option "allow scripts to access the OAuth token" comes to. It is masked all the same.
    if variables.flag(ENABLE_ACCESS_TOKEN)
        && let Some((_, token)) = system_connection(&message)
    {
        variables.reveal(ACCESS_TOKEN_VARIABLE, token);
    }
    let job = Job::new(
        facts,
        message,
        link,
        listener,
        reporter,
        variables,
        volume,
        destination,
    );
    Ok(job.run(unmasked, sending).await)
}

fn stream(descriptor: OwnedFd) -> io::Result<UnixStream> {
    let stream = std::os::unix::net::UnixStream::from(descriptor);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// The parser's own words may repeat what it read, so only the place is told.
fn parse(body: &[u8]) -> Result<JobMessage, StartError> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    serde_json::from_slice(body).map_err(|error| StartError::Message {
        line: error.line(),
        column: error.column(),
    })
}

fn destination(facts: &Facts, message: &JobMessage) -> Result<Destination, StartError> {
    let (connection, token) = system_connection(message).ok_or(StartError::NoConnection)?;
    let client = Client::builder(&connection.url)
        .credential(Credential::Bearer(token.duplicate()))
        .user_agent(concat!("dayfly-agent/", env!("CARGO_PKG_VERSION")))
        .ca_bundle(facts.ca_bundle.clone())
        .proxy(facts.proxy.clone())
        .longest_call(facts.call_limit)
        .build()?;
    Ok(Destination {
        trouble_limit: facts.trouble_limit,
        client,
        scope: PlanScope {
            project: message.plan.scope_identifier,
            hub: message.plan.plan_type.clone(),
            plan: message.plan.plan_id,
        },
        timeline: message.timeline.id,
        job: message.job_id,
    })
}

/// The connection that reports go to, and the job token.
pub(crate) fn system_connection(message: &JobMessage) -> Option<(&Endpoint, &SecretText)> {
    let connection = message
        .resources
        .endpoints
        .iter()
        .find(|endpoint| endpoint.name.eq_ignore_ascii_case(SYSTEM_CONNECTION))?;
    let (_, token) = connection
        .authorization
        .as_ref()?
        .parameters
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(ACCESS_TOKEN))?;
    Some((connection, token))
}
