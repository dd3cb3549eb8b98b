//! `listen`: from a pod's start to its end, around the pure [`stage`].

mod accept;
mod crash;
mod driver;
mod identity;
mod incoming;
mod lock;
mod operator;
mod poll;
mod stage;
mod worker_process;

use crate::args::ListenArgs;
use crate::control::Facts;
use crate::exit::Exit;
use accept::{HostSocket, StepHost};
use dayfly_client::{AgentCredential, Client, Credential};
use dayfly_keys::agent_key::AgentKey;
use driver::Driver;
use identity::Claimed;
use poll::Poller;
pub(crate) use poll::architecture;
use stage::Event;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Things that happen and are not handled yet.
const EVENTS: usize = 64;

/// Takes one job, or none, and leaves.
pub(crate) async fn listen(args: ListenArgs) -> Exit {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        tracing::error!("failed to listen for signals");
        return Exit::Setup;
    };
    let opened = tokio::select! {
        opened = open(&args) => opened,
        _ = terminate.recv() => {
            tracing::info!("asked to end before the session was open");
            return Exit::Done;
        }
    };
    match opened {
        Ok(opened) => run(args, opened, terminate).await,
        Err(exit) => exit,
    }
}

/// What there is before a session.
struct Opened {
    claimed: Claimed,
    step_host: StepHost,
    client: Client,
    key: Arc<AgentKey>,
}

/// The socket comes first, so that the step host can connect while the identity is claimed.
async fn open(args: &ListenArgs) -> Result<Opened, Exit> {
    let socket = HostSocket::bind(&args.socket).map_err(|error| {
        tracing::error!(%error, socket = %args.socket.display(), "failed to listen for the step host; the directory must be writable and empty");
        Exit::Setup
    })?;
    let (mut claimed, step_host) = tokio::try_join!(identity::claim(args), async {
        socket.accept().await.map_err(|error| {
            tracing::error!(%error, "failed to meet the step host");
            Exit::StepHostLost
        })
    })?;
    let key = claimed.take_key()?;
    let client = agent_client(&claimed, &key)?;
    Ok(Opened {
        claimed,
        step_host,
        client,
        key,
    })
}

fn agent_client(claimed: &Claimed, key: &Arc<AgentKey>) -> Result<Client, Exit> {
    let identity = &claimed.identity;
    Client::builder(&identity.server_url)
        .credential(Credential::Agent(AgentCredential {
            key: Arc::clone(key),
            client_id: identity.client_id,
            audience: identity.authorization_url.clone(),
            token_url: identity.token_url.clone(),
        }))
        .user_agent(user_agent())
        .ca_bundle(identity.ca_bundle.clone())
        .proxy(identity.proxy.clone())
        .build()
        .map_err(|error| {
            tracing::error!(%error, "failed to make the service's client");
            Exit::Setup
        })
}

/// What the agent calls itself.
pub(crate) fn user_agent() -> &'static str {
    concat!("dayfly-agent/", env!("CARGO_PKG_VERSION"))
}

async fn run(args: ListenArgs, opened: Opened, mut terminate: Signal) -> Exit {
    let Opened {
        claimed,
        step_host,
        client,
        key,
    } = opened;
    let (events, inbox) = mpsc::channel(EVENTS);
    let poller = Poller::new(client.clone(), key, &claimed.identity);
    let session = tokio::select! {
        session = poller.open() => session,
        _ = terminate.recv() => {
            tracing::info!("asked to end before the session was open");
            return Exit::Done;
        }
    };
    let session = match session {
        Ok(session) => session,
        Err(error) => {
            tracing::error!(%error, "failed to open a session; the agent's registration may be gone");
            return Exit::ServiceRefused;
        }
    };
    if let Some(callbacks) = &claimed.callbacks {
        tokio::spawn(Arc::clone(callbacks).listening());
    }
    tokio::spawn(forward_terminate(terminate, events.clone()));
    let idle = claimed.identity.idle_timeout_seconds;
    if idle > 0 {
        tokio::spawn(send_after(
            Duration::from_secs(idle),
            Event::IdleTooLong,
            events.clone(),
        ));
    }
    tracing::info!(agent = %claimed.identity.agent_name, agent_id = %claimed.identity.agent_id, "listening for a job");
    let facts = facts(args, &claimed, &step_host);
    Driver::new(client, claimed, facts, step_host, session, events)
        .run(poller, inbox)
        .await
}

fn facts(args: ListenArgs, claimed: &Claimed, step_host: &StepHost) -> Facts {
    let identity = &claimed.identity;
    Facts {
        agent_id: identity.agent_id,
        agent_name: identity.agent_name.clone(),
        agent_version: identity.agent_version.clone(),
        machine_name: machine_name(),
        ca_bundle: identity.ca_bundle.clone(),
        proxy: identity.proxy.clone(),
        work: args.work,
        pages: args.pages,
        job_work: step_host.work.clone(),
        job_scripts: step_host.scripts.clone(),
        job_tasks: step_host.tasks.clone(),
        task_cache: args.task_cache,
        cache: args.cache,
        call_limit: args.call_limit.map(Duration::from_secs),
        trouble_limit: Duration::from_secs(args.trouble_limit),
        token_for_tasks: args.token_for_tasks,
        job_image: args.job_image.filter(|image| !image.is_empty()),
    }
}

/// The host's name, which is the pod's.
pub(crate) fn machine_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "unknown".to_owned())
}

async fn forward_terminate(mut terminate: Signal, events: mpsc::Sender<driver::Happening>) {
    while terminate.recv().await.is_some() {
        tracing::info!("asked to end");
        if events.send(Event::Terminate.into()).await.is_err() {
            return;
        }
    }
}

/// Sends an event when its time has come.
pub(crate) async fn send_after(
    time: Duration,
    event: Event,
    events: mpsc::Sender<driver::Happening>,
) {
    tokio::time::sleep(time).await;
    let _ = events.send(event.into()).await;
}
