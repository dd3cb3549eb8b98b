//! Runs the service.

use crate::args::ServeArgs;
use crate::pat;
use anyhow::Context;
use dayfly_pool_service::clock::SystemClock;
use dayfly_pool_service::hook::WakeHook;
use dayfly_pool_service::rules::limits::Limits as Bounds;
use dayfly_pool_service::server::{self, Limits, Options};
use dayfly_pool_service::service::{POLL_HOLD, Service, Settings};
use dayfly_pool_service::tls::Certificates;
use dayfly_wire::secret::SecretText;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

/// Serves until a signal says to end.
pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    start_logging();
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("failed to listen on {}", args.listen))?;
    let options = options(&args)?;
    let wake_hook = wake_hook(args.wake_url, args.wake_secret_file.as_deref())?;
    let settings = Settings {
        data_dir: args.data_dir,
        database_url_file: args.database_url_file,
        keys_file: args.keys_file,
        public_url: args.public_url,
        poll_hold: POLL_HOLD,
        retention: pat::parse_life(&args.retention)?,
        retained_runs: args.retention_runs.map(i64::from),
        wake_hook,
        oidc_audiences: args.oidc_audience,
        limits: Bounds {
            parallel_jobs: args.parallel_jobs.map(i64::from),
            ..Bounds::default()
        },
    };
    let service = Service::open(settings, Arc::new(SystemClock)).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %args.listen,
        url = %service.settings.public_url,
        "the pool service serves"
    );
    end_on_signal(service.shutdown.clone())?;
    server::serve(service, listener, options)
        .await
        .context("failed to serve")?;
    tracing::info!("the pool service has ended");
    Ok(())
}

fn wake_hook(url: Option<String>, secret: Option<&Path>) -> anyhow::Result<Option<Arc<WakeHook>>> {
    let (Some(url), Some(path)) = (url, secret) else {
        return Ok(None);
    };
    let what = || format!("failed to read the hook's secret from {}", path.display());
    let text = Zeroizing::new(std::fs::read_to_string(path).with_context(what)?);
    let secret = SecretText::new(text.trim().to_owned());
    anyhow::ensure!(!secret.is_empty(), "{} is empty", path.display());
    Ok(Some(Arc::new(WakeHook { url, secret })))
}

fn options(args: &ServeArgs) -> anyhow::Result<Options> {
    let tls = match (&args.tls_certificate, &args.tls_key) {
        (Some(certificate), Some(key)) => Some(Certificates::open(certificate, key)?),
        (None, _) | (_, None) => None,
    };
    let limits = Limits {
        unproven: args.unproven_connections,
        ..Limits::default()
    };
    Ok(Options { limits, tls })
}

fn end_on_signal(shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to watch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to watch SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("ending: no new calls are taken");
        shutdown.cancel();
    });
    Ok(())
}

fn start_logging() {
    let filter = EnvFilter::try_from_env("DAYFLY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let json = std::env::var("DAYFLY_LOG_FORMAT").is_ok_and(|format| format == "json");
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if json {
        subscriber.json().init();
    } else {
        subscriber.init();
    }
}
