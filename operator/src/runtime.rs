//! The one place that wires things together: clients, watches, loops, servers, shutdown.
//!
//! Rights that it needs are listed in `docs/reference/rbac.md`.

use crate::args::{CheckArgs, Cli, Command, RunArgs};
use crate::context::Context;
use crate::leader::lease::Lease;
use crate::leader::{Candidate, Standing, label};
use crate::metrics::Metrics;
use crate::mirror::{Mirror, PoolKey};
use crate::pool::build::Places;
use crate::report::Reports;
use crate::tls::{Authority, Leaf};
use crate::{
    admin, check, clock, connection, crd, identity, pool, sealing, telemetry, tls, watches,
};
use anyhow::Context as _;
use dayfly_keys::random::base32_name;
use dayfly_keys::stock::{KeyStock, MAX_STOCK};
use std::collections::HashSet;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Operations on services that run at once.
const OPERATIONS: usize = 24;
/// How long tasks may take to end.
const FAREWELL: Duration = Duration::from_secs(10);
/// How long the loop of an object rests after a panic.
const AFTER_PANIC: Duration = Duration::from_secs(5);
/// How often things are tidied up.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// Does what the command line says.
///
/// # Errors
/// Whatever keeps the operator from starting, or from ending cleanly.
pub async fn main(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Run(args) => run(*args).await,
        Command::Crd {
            directory: Some(directory),
            ..
        } => write_definitions(&directory),
        Command::Crd {
            plural,
            directory: None,
        } => print(&crd::yaml(plural.as_deref())?),
        Command::RotateSealingKey { namespace } => rotate(&namespace).await,
        Command::Check(args) => look(&args).await,
        Command::Version => print(&format!("dayfly-operator {}\n", env!("CARGO_PKG_VERSION"))),
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("failed to write to standard output")
}

fn write_definitions(directory: &std::path::Path) -> anyhow::Result<()> {
    for document in crd::documents() {
        let plural = &document.spec.names.plural;
        let path = directory.join(format!("{}_{plural}.yaml", document.spec.group));
        std::fs::write(&path, crd::yaml(Some(plural))?)
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

async fn look(args: &CheckArgs) -> anyhow::Result<()> {
    telemetry::install("info", telemetry::LogFormat::Text)?;
    let (text, good) = check::run(&kube_client().await?, args).await?;
    print(&text)?;
    anyhow::ensure!(good, "not everything is as it should be");
    Ok(())
}

async fn rotate(namespace: &str) -> anyhow::Result<()> {
    let client = kube_client().await?;
    let (id, count) = sealing::rotate(&client, namespace).await?;
    print(&format!(
        "sealing key {id} was added; {count} keys open. A running operator uses it within a minute.\n"
    ))
}

async fn kube_client() -> anyhow::Result<kube::Client> {
    let mut config = kube::Config::infer().await.context(
        "failed to find a cluster: run in a pod with a service account, or set KUBECONFIG",
    )?;
    config.connect_timeout = Some(Duration::from_secs(10));
    config.write_timeout = Some(Duration::from_secs(30));
    kube::Client::try_from(config).context("failed to set up the Kubernetes client")
}

async fn run(args: RunArgs) -> anyhow::Result<()> {
    telemetry::install(&args.log, args.log_format)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace = args.namespace,
        identities = args.identities_namespace,
        watched = ?args.watched(),
        identity_url = args.identity_url(),
        "dayfly-operator starts"
    );
    let kube = kube_client().await?;
    let authority = tls::load(&kube, &args.namespace, clock::now()).await?;
    let leaf = Arc::new(Leaf::new(leaf(&authority, &args)?));
    let (told, standing) = watch::channel(Standing::Unknown);
    let context = Arc::new(context(args, kube, &authority, standing).await?);
    let identity = TcpListener::bind(context.args.identity_listen)
        .await
        .with_context(|| format!("failed to listen on {}", context.args.identity_listen))?;
    let health = TcpListener::bind(context.args.health_listen)
        .await
        .with_context(|| format!("failed to listen on {}", context.args.health_listen))?;
    serve_health(&context, health);
    context.tasks.spawn(housekeeping(
        Arc::clone(&context),
        authority,
        Arc::clone(&leaf),
    ));
    let routes = identity::routes::router(Arc::clone(&context));
    let identity = tokio::spawn(identity::server::serve(
        identity,
        leaf,
        routes,
        context.shutdown.clone(),
    ));
    let candidate = Candidate::new(lease(&context), told);
    follow_and_lead(&context, candidate).await?;
    identity
        .await
        .context("the identity API panicked")?
        .context("failed to serve the identity API")
}

fn lease(context: &Context) -> Lease {
    // Of a process outside of a cluster nobody knows when it has ended but by its silence.
    let unnamed = || format!("dayfly-operator-{}", base32_name(10));
    let own = context.args.pod_name.clone().unwrap_or_else(unnamed);
    Lease::new(context.kube.clone(), &context.args.namespace, own)
}

/// Waits for the lead, works, and hands over.
async fn follow_and_lead(context: &Arc<Context>, mut candidate: Candidate) -> anyhow::Result<()> {
    let mut told = std::pin::pin!(until_told());
    tokio::select! {
        () = candidate.acquire() => {}
        told = &mut told => {
            told?;
            tracing::info!("told to stop");
            stop(context).await;
            return Ok(());
        }
    }
    tracing::info!("leads");
    // What is read before this process leads may be older than the last thing that the one before it did.
    start_watches(context);
    context
        .tasks
        .spawn(start_loops_when_ready(Arc::clone(context)));
    tokio::select! {
        lost = candidate.keep() => {
            let Err(deposed) = lost;
            context.shutdown.cancel();
            return Err(deposed.into());
        }
        told = &mut told => told?,
    }
    tracing::info!("told to stop");
    // Nobody else leads while something of this process is still under way.
    tokio::select! {
        _ = candidate.keep() => {}
        () = stop(context) => candidate.release().await,
    }
    Ok(())
}

async fn context(
    args: RunArgs,
    kube: kube::Client,
    authority: &Authority,
    standing: watch::Receiver<Standing>,
) -> anyhow::Result<Context> {
    let sealing = sealing::Sealing::load(&kube, &args.namespace).await?;
    let watched = args.watched().len();
    let places = Places {
        agent_image: args.agent_image.clone(),
        pull_policy: args.agent_image_pull_policy.clone(),
        identity_url: args.identity_url(),
        identity_ca: authority.certificate.clone(),
        agent_log: args.agent_log.clone(),
        operator_namespace: args.namespace.clone(),
    };
    Ok(Context {
        reports: Reports::new(kube.clone(), args.pod_name.clone()),
        pools: Mirror::new(watched),
        connection_objects: Mirror::new(1),
        pods: Mirror::new(watched),
        secrets: Mirror::new(1),
        connections: connection::Connections::default(),
        pollers: crate::poller::Pollers::default(),
        memory: crate::memory::Memory::default(),
        backoffs: crate::backoff::Backoffs::default(),
        wakes: crate::wakes::Wakes::default(),
        stock: KeyStock::start(1),
        metrics: Metrics::new(),
        operations: Arc::new(Semaphore::new(OPERATIONS)),
        tasks: TaskTracker::new(),
        shutdown: CancellationToken::new(),
        args,
        standing,
        kube,
        places,
        sealing,
    })
}

fn leaf(
    authority: &Authority,
    args: &RunArgs,
) -> Result<rustls::sign::CertifiedKey, tls::TlsError> {
    let subjects = tls::subjects(&args.identity_service, &args.identity_url());
    authority.leaf(&subjects, clock::now())
}

fn serve_health(context: &Arc<Context>, listener: TcpListener) {
    let (routes, shutdown) = (admin::router(Arc::clone(context)), context.shutdown.clone());
    context.tasks.spawn(async move {
        let served = axum::serve(listener, routes)
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "failed to serve health and metrics");
        }
    });
}

/// Spawns a task that ends at shutdown.
fn until_shutdown(context: &Arc<Context>, task: impl Future<Output = ()> + Send + 'static) {
    let shutdown = context.shutdown.clone();
    context.tasks.spawn(async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = task => {}
        }
    });
}

fn start_watches(context: &Arc<Context>) {
    for (watch, namespace) in context.args.watched().into_iter().enumerate() {
        until_shutdown(
            context,
            watches::pods(Arc::clone(context), watch, namespace.clone()),
        );
        let loops = Loops::of_pools(context);
        let begin = move |key: &PoolKey| loops.begin(key.clone());
        until_shutdown(
            context,
            watches::agent_pools(Arc::clone(context), watch, namespace, begin),
        );
    }
    until_shutdown(context, watches::secrets(Arc::clone(context)));
    let loops = Loops::of_connections(context);
    let begin = move |name: &str| loops.begin(name.to_owned());
    until_shutdown(context, watches::connections(Arc::clone(context), begin));
}

/// One task per object; a new one when the object comes again.
struct Loops<K> {
    running: Arc<Mutex<HashSet<K>>>,
    start: Arc<dyn Fn(K) -> futures::future::BoxFuture<'static, ()> + Send + Sync>,
    /// Whether the mirror holds the object.
    exists: Arc<dyn Fn(&K) -> bool + Send + Sync>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Loops<PoolKey> {
    fn of_pools(context: &Arc<Context>) -> Self {
        let shared = Arc::clone(context);
        Self {
            running: Arc::default(),
            start: Arc::new(move |key| {
                let context = Arc::clone(&shared);
                Box::pin(async move {
                    ready(&context).await;
                    pool::reconcile::follow(context, key).await;
                })
            }),
            exists: {
                let shared = Arc::clone(context);
                Arc::new(move |key| shared.pools.find(key, "").is_some())
            },
            tasks: context.tasks.clone(),
            shutdown: context.shutdown.clone(),
        }
    }
}

impl Loops<String> {
    fn of_connections(context: &Arc<Context>) -> Self {
        let shared = Arc::clone(context);
        Self {
            running: Arc::default(),
            start: Arc::new(move |name| {
                Box::pin(connection::refresh::follow(Arc::clone(&shared), name))
            }),
            exists: {
                let shared = Arc::clone(context);
                Arc::new(move |name| {
                    shared
                        .connection_objects
                        .find(&shared.own_pool_key(name), "")
                        .is_some()
                })
            },
            tasks: context.tasks.clone(),
            shutdown: context.shutdown.clone(),
        }
    }
}

impl<K: Clone + Eq + std::hash::Hash + std::fmt::Debug + Send + 'static> Loops<K> {
    fn begin(&self, key: K) {
        if !self.lock().insert(key.clone()) {
            return;
        }
        let (start, exists) = (Arc::clone(&self.start), Arc::clone(&self.exists));
        let (running, shutdown) = (Arc::clone(&self.running), self.shutdown.clone());
        self.tasks.spawn(async move {
            loop {
                // A panic ends this loop only.
                if tokio::spawn(start(key.clone())).await.is_err() {
                    tracing::error!(object = ?key, "the loop of an object panicked; it begins again");
                    tokio::time::sleep(AFTER_PANIC).await;
                }
                let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
                // Deleted and made again while the loop was ending: nobody else begins it, because it still ran. The
                // mirror holds an object before `begin` is called for it, so under the lock one of the two sees it.
                if shutdown.is_cancelled() || !exists(&key) {
                    running.remove(&key);
                    return;
                }
            }
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<K>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until every list was read once, what is missing means nothing.
async fn ready(context: &Context) {
    context.pools.ready().await;
    context.connection_objects.ready().await;
    context.pods.ready().await;
    context.secrets.ready().await;
}

async fn start_loops_when_ready(context: Arc<Context>) {
    tokio::select! {
        () = context.shutdown.cancelled() => return,
        () = ready(&context) => {}
    }
    if let Some(own) = &context.args.pod_name {
        match label::lead(&context.kube, &context.args.namespace, own).await {
            Ok(()) => tracing::info!(pod = own, "agents find this pod"),
            Err(error) => {
                tracing::error!(%error, "failed to label the own pod as the leader; agents cannot find it")
            }
        }
    }
    tracing::info!("every list was read; ready");
}

/// What is done once a minute: sealing keys, leaf, memory, size of the key stock.
async fn housekeeping(context: Arc<Context>, authority: Authority, leaf_in_use: Arc<Leaf>) {
    let mut leaf_made = clock::now();
    let mut pause = Duration::from_secs(2);
    loop {
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let now = clock::now();
        context.memory.prune(now);
        context.stock.set_target(stock_target(&context));
        if pause < HOUSEKEEPING {
            pause = (pause * 2).min(HOUSEKEEPING);
            continue;
        }
        if let Err(error) = context
            .sealing
            .reload(&context.kube, &context.args.namespace)
            .await
        {
            tracing::warn!(%error, "failed to read the sealing keys again");
        }
        if now.duration_since(leaf_made) > tls::LEAF_RENEW {
            match leaf(&authority, &context.args) {
                Ok(fresh) => {
                    leaf_in_use.replace(fresh);
                    leaf_made = now;
                }
                Err(error) => {
                    tracing::error!(%error, "failed to renew the identity API's certificate")
                }
            }
        }
    }
}

/// As many keys as there can be agents, within bounds.
fn stock_target(context: &Context) -> usize {
    let all = context.pools.all();
    let agents = all
        .iter()
        .filter_map(|(_, guarded)| guarded.0.as_ref().ok())
        .map(|pool| pool.spec.scaling.max_agents);
    let sum: i64 = agents.map(i64::from).sum();
    usize::try_from(sum).unwrap_or(0).min(MAX_STOCK)
}

async fn until_told() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to watch for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn stop(context: &Context) {
    if let Some(own) = &context.args.pod_name
        && let Err(error) = label::resign(&context.kube, &context.args.namespace, own).await
    {
        tracing::warn!(%error, "failed to take the leader's label from the own pod");
    }
    context.shutdown.cancel();
    context.tasks.close();
    if tokio::time::timeout(FAREWELL, context.tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("some tasks did not end in time");
    }
}
