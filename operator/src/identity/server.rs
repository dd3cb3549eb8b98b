//! Serves the identity API over TLS; connections, handshakes and requests are bounded in number and time.

use super::routes::Source;
use crate::tls::Leaf;
use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Connections at once.
const MAX_CONNECTIONS: usize = 2048;
/// Connections of one source at once.
const MAX_PER_SOURCE: usize = 64;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long the headers of a request may take, idle time between requests included.
const HEADERS: Duration = Duration::from_secs(30);
/// How long a connection may last.
const LIFE: Duration = Duration::from_secs(300);

/// Serves until told to stop.
///
/// # Errors
/// TLS cannot be set up.
pub async fn serve(
    listener: TcpListener,
    leaf: Arc<Leaf>,
    router: Router,
    shutdown: CancellationToken,
) -> Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(leaf);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let all = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let sources = Arc::new(Sources::default());
    loop {
        let permit = Arc::clone(&all).acquire_owned().await;
        let (stream, peer) = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let source = peer.ip().to_canonical();
        let Some(place) = sources.enter(source) else {
            continue;
        };
        let (acceptor, router, shutdown) = (acceptor.clone(), router.clone(), shutdown.clone());
        tokio::spawn(async move {
            let _held = (permit, place);
            tokio::select! {
                () = shutdown.cancelled() => {}
                _ = tokio::time::timeout(LIFE, connection(acceptor, stream, router, source)) => {}
            }
        });
    }
}

async fn connection(acceptor: TlsAcceptor, stream: TcpStream, router: Router, source: IpAddr) {
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else {
        return;
    };
    let service = router.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Source(source));
        request
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .await;
    if let Err(error) = served {
        tracing::debug!(%source, %error, "a connection ended");
    }
}

/// How many connections each source has.
#[derive(Default)]
struct Sources {
    counts: Mutex<HashMap<IpAddr, usize>>,
}

impl Sources {
    fn enter(self: &Arc<Self>, source: IpAddr) -> Option<Place> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(source).or_default();
        if *count >= MAX_PER_SOURCE {
            return None;
        }
        *count += 1;
        Some(Place {
            sources: Arc::clone(self),
            source,
        })
    }
}

/// One connection of a source.
struct Place {
    sources: Arc<Sources>,
    source: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self
            .sources
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_so_many_connections_and_gets_them_back() {
        let sources = Arc::new(Sources::default());
        let source = IpAddr::from([10, 0, 0, 1]);
        let held: Vec<_> = std::iter::from_fn(|| sources.enter(source))
            .take(1000)
            .collect();
        assert_eq!(held.len(), MAX_PER_SOURCE);
        assert!(sources.enter(IpAddr::from([10, 0, 0, 2])).is_some());
        drop(held);
        assert!(sources.counts.lock().unwrap().is_empty());
    }
}
