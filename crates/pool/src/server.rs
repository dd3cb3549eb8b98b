//! Puts the service behind a listener.
//!
//! Connections are counted and timed: the service may be reached by whoever runs a step.

use crate::connections::{Sources, Standing};
use crate::fresh::keep_fresh;
use crate::routes;
use crate::routes::extract::{BODY, BodyTime};
use crate::service::Service;
use crate::throttle::Source;
use crate::tls::{Certificates, TlsError};
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutWriter;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// What answers that are under way have after the service was told to end.
const GRACE: Duration = Duration::from_secs(15);
/// What to wait when the machine has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// What a server bears.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once: each listening agent holds one or two.
    pub connections: usize,
    /// Connections of one source at once on which nobody has shown a credential that counts.
    pub unproven: usize,
    /// How long such a connection lives, its TLS handshake included.
    pub unproven_life: Duration,
    /// How long a client may take for the head of a request, and how long an unused connection stays.
    pub head: Duration,
    /// How long a client may take for a document.
    pub body: Duration,
    /// How long a client may take nothing of an answer.
    pub write: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 30_000,
            unproven: 512,
            unproven_life: Duration::from_secs(30),
            head: Duration::from_secs(75),
            body: BODY,
            write: Duration::from_secs(60),
        }
    }
}

/// How a server is set up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What it bears.
    pub limits: Limits,
    /// With TLS under this certificate.
    pub tls: Option<Arc<Certificates>>,
}

/// Why a server did not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Serves until the service is told to end: long polls then answer that there is nothing, other calls finish.
pub async fn serve(
    service: Arc<Service>,
    listener: TcpListener,
    options: Options,
) -> Result<(), ServeError> {
    let Options { limits, tls } = options;
    let acceptor = match &tls {
        Some(certificates) => Some(TlsAcceptor::from(certificates.server_config()?)),
        None => None,
    };
    let shutdown = service.shutdown.clone();
    let background = TaskTracker::new();
    for_ever(&background, &service);
    if let Some(certificates) = tls {
        let shutdown = shutdown.clone();
        background.spawn(async move {
            keep_fresh("certificate", &shutdown, || certificates.refresh()).await;
        });
    }
    let server = Arc::new(Server {
        limits,
        acceptor,
        shutdown: shutdown.clone(),
        sources: Sources::new(limits.unproven),
    });
    let connections = TaskTracker::new();
    tokio::select! {
        () = accept_all(&server, &service, &listener, &connections) => {}
        () = shutdown.cancelled() => {}
    }
    drop(listener);
    connections.close();
    background.close();
    let ended = async { tokio::join!(connections.wait(), background.wait()) };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::warn!("some answers were still under way and are dropped");
    }
    service.store.close().await;
    Ok(())
}

struct Server {
    limits: Limits,
    acceptor: Option<TlsAcceptor>,
    shutdown: CancellationToken,
    sources: Arc<Sources>,
}

async fn accept_all(
    server: &Arc<Server>,
    service: &Arc<Service>,
    listener: &TcpListener,
    connections: &TaskTracker,
) {
    let router = routes::service(Arc::clone(service));
    let room = Arc::new(Semaphore::new(server.limits.connections));
    loop {
        // A client that finds no room waits in the kernel's queue.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(standing) = server.sources.enter(peer.ip()) else {
            service.metrics.connections_refused.inc();
            continue;
        };
        let time = BodyTime(server.limits.body);
        let facts = (Source(peer.ip()), standing.clone(), time);
        let router = router
            .clone()
            .map_request(move |mut request: hyper::Request<Body>| {
                let (source, standing, time) = facts.clone();
                request.extensions_mut().insert(source);
                request.extensions_mut().insert(standing);
                request.extensions_mut().insert(time);
                request
            })
            .map_request(|request: hyper::Request<Incoming>| request.map(Body::new));
        let router = TowerToHyperService::new(router);
        let (server, service) = (Arc::clone(server), Arc::clone(service));
        connections.spawn(async move {
            let _counted = service.metrics.connections.enter();
            server.connection(stream, router, standing).await;
            drop(permit);
        });
    }
}

fn for_ever(tasks: &TaskTracker, service: &Arc<Service>) {
    let sweeping = Arc::clone(service);
    tasks.spawn(async move { sweeping.keep_sweeping().await });
    let listening = Arc::clone(service);
    tasks.spawn(async move { listening.keep_listening().await });
    let checking = Arc::clone(service);
    tasks.spawn(async move { checking.keep_checking_in().await });
    let scheduling = Arc::clone(service);
    tasks.spawn(async move { scheduling.keep_scheduling().await });
    let tidying = Arc::clone(service);
    tasks.spawn(async move { tidying.keep_tidying().await });
    let calling = Arc::clone(service);
    tasks.spawn(async move { calling.keep_calling().await });
    let service = Arc::clone(service);
    tasks.spawn(async move {
        keep_fresh("key file", &service.shutdown, || service.keys.refresh()).await;
    });
}

impl Server {
    /// Serves one connection to its end.
    async fn connection<S>(&self, stream: TcpStream, service: S, standing: Standing)
    where
        S: hyper::service::Service<
                hyper::Request<Incoming>,
                Response = axum::response::Response,
                Error = std::convert::Infallible,
            >,
    {
        // Small answers are sent at once; a message must not wait for an acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "failed to set TCP_NODELAY");
        }
        let serving = async {
            match &self.acceptor {
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => self.requests(stream, service).await,
                    Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
                },
                None => self.requests(stream, service).await,
            }
        };
        let mut serving = pin!(serving);
        tokio::select! {
            () = serving.as_mut() => return,
            () = standing.proven() => {}
            () = tokio::time::sleep(self.limits.unproven_life) => {
                tracing::debug!("closed a connection on which nobody showed a credential");
                return;
            }
        }
        serving.await;
    }

    /// Answers requests; when the service ends, the answer under way is the last one.
    async fn requests<S, IO>(&self, stream: IO, service: S)
    where
        IO: AsyncRead + AsyncWrite + Unpin,
        S: hyper::service::Service<
                hyper::Request<Incoming>,
                Response = axum::response::Response,
                Error = std::convert::Infallible,
            >,
    {
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(self.limits.write));
        let mut serving = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.limits.head)
                .serve_connection(TokioIo::new(Box::pin(stream)), service)
        );
        let served = tokio::select! {
            served = serving.as_mut() => served,
            () = self.shutdown.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = served {
            // Clients go away in the middle of things; that is theirs to do.
            tracing::debug!(%error, "a connection broke off");
        }
    }
}
