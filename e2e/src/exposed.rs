//! An address of this machine that pods reach, and somebody behind it who counts who comes.

use crate::Result;
use anyhow::Context;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The node's address in the cluster of `e2e/cluster`.
const NODE_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 0, 1));
/// The most of a request that is looked at.
const MAX_HEAD: usize = 64 * 1024;

/// An answer that refuses every credential, as a service does.
pub const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"pool\"\r\n\
     WWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n";

/// A listener on an address that pods reach.
pub struct Exposed {
    /// `http://address:port/default`.
    pub url: String,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// The address, where the cluster's pods can reach this machine; says so and answers nothing elsewhere.
pub fn address() -> Option<IpAddr> {
    if std::env::var_os("KUBECONFIG_DAYFLY").is_some() {
        println!("skipped: pods of the cluster in KUBECONFIG_DAYFLY cannot reach this machine");
        return None;
    }
    let named = std::env::var("DAYFLY_NODE_IP").ok();
    Some(
        named
            .and_then(|text| text.parse().ok())
            .unwrap_or(NODE_ADDRESS),
    )
}

/// The URL of a port at which nobody listens.
pub async fn closed_url(address: IpAddr) -> Result<String> {
    let listener = TcpListener::bind((address, 0)).await?;
    Ok(format!("http://{}/default", listener.local_addr()?))
}

impl Exposed {
    /// Listens, and gives this answer to every request.
    pub async fn start(address: IpAddr, answer: &'static str) -> Result<Self> {
        let listener = TcpListener::bind((address, 0))
            .await
            .with_context(|| format!("failed to listen at {address}; is the cluster up?"))?;
        let url = format!("http://{}/default", listener.local_addr()?);
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let counts = Arc::clone(&shared);
                tokio::spawn(async move { serve(stream, answer, &counts).await });
            }
        });
        Ok(Self { url, counts, task })
    }

    /// How many connections came.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Exposed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers requests without a body until the caller leaves.
async fn serve(mut stream: TcpStream, answer: &str, counts: &Counts) {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(length) => head.extend_from_slice(&piece[..length]),
        }
        while let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            counts.requests.fetch_add(1, Ordering::SeqCst);
            head.drain(..end + 4);
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
        if head.len() > MAX_HEAD {
            return;
        }
    }
}
