//! Puts the service behind a listener.
//!
//! Connections are counted and their heads are timed: the service may be reached by whoever runs a step.

use crate::routes;
use crate::service::Service;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// What answers that are under way have after the service was told to end.
const GRACE: Duration = Duration::from_secs(15);
/// Connections at once: each listening agent holds one or two.
const CONNECTIONS: usize = 30_000;
/// How long a client may take for the head of a request, and how long an unused connection stays.
const HEAD: Duration = Duration::from_secs(75);
/// What to wait when the machine has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until the service is told to end: long polls then answer that there is nothing, other calls finish.
pub async fn serve(service: Arc<Service>, listener: TcpListener) -> io::Result<()> {
    let shutdown = service.shutdown.clone();
    let background = TaskTracker::new();
    for_ever(&background, &service);
    let router = routes::service(Arc::clone(&service))
        .map_request(|request: hyper::Request<Incoming>| request.map(Body::new));
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // A client that finds no room waits in the kernel's queue.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let router = TowerToHyperService::new(router.clone());
                let shutdown = shutdown.clone();
                connections.spawn(async move {
                    connection(stream, router, shutdown).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
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

fn for_ever(tasks: &TaskTracker, service: &Arc<Service>) {
    let sweeping = Arc::clone(service);
    tasks.spawn(async move { sweeping.keep_sweeping().await });
    let tidying = Arc::clone(service);
    tasks.spawn(async move { tidying.keep_tidying().await });
    let calling = Arc::clone(service);
    tasks.spawn(async move { calling.keep_calling().await });
}

/// Serves one connection to its end; when the service ends, the answer under way is the last one.
async fn connection<S>(stream: TcpStream, service: S, shutdown: CancellationToken)
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
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), service)
    );
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        // Clients go away in the middle of things; that is theirs to do.
        tracing::debug!(%error, "a connection broke off");
    }
}
