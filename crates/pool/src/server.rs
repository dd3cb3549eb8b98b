//! Puts the service behind a listener.

use crate::routes;
use crate::service::Service;
use axum::ServiceExt;
use axum::extract::Request;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// What answers that are under way have after the service was told to end.
const GRACE: Duration = Duration::from_secs(15);

/// Serves until the service is told to end: long polls then answer that there is nothing, other calls finish.
pub async fn serve(service: Arc<Service>, listener: TcpListener) -> io::Result<()> {
    let shutdown = service.shutdown.clone();
    let sweeper = {
        let service = Arc::clone(&service);
        tokio::spawn(async move { service.keep_sweeping().await })
    };
    let make = ServiceExt::<Request>::into_make_service(routes::service(Arc::clone(&service)));
    let told = shutdown.clone();
    let serving =
        axum::serve(listener, make).with_graceful_shutdown(async move { told.cancelled().await });
    let served = bounded(serving.into_future(), async move {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    })
    .await;
    service.shutdown.cancel();
    // The sweep ends at its next look at the shutdown; a panic in it was logged.
    let _ = sweeper.await;
    service.store.close().await;
    served
}

/// The server's end, or the end of its grace.
async fn bounded(
    serving: impl Future<Output = io::Result<()>>,
    grace: impl Future<Output = ()>,
) -> io::Result<()> {
    tokio::select! {
        served = serving => served,
        () = grace => {
            tracing::warn!("some answers were still under way and were dropped");
            Ok(())
        }
    }
}
