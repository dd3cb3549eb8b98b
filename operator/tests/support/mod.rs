//! An installation of the operator as a test needs it: a real etcd and API server, the pool service, the operator's own
//! program with the chart's rights, and agents that speak the real protocols. Nothing is mocked but the kubelet.

// Each test program uses its own part of this; what helps a test may fail and speak like the test itself.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stderr)]

pub(crate) mod agent;
pub(crate) mod audit;
pub(crate) mod cluster;
pub(crate) mod front;
pub(crate) mod installation;
pub(crate) mod kubelet;
pub(crate) mod operators;
pub(crate) mod proxy;
pub(crate) mod rights;

use std::time::Duration;
use tokio::time::Instant;

/// The longest that anything may take which takes no time to speak of.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(25);

/// Looks until it is so; fails with what was seen last.
pub(crate) async fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + limit;
    let mut last = "nothing was seen".to_owned();
    loop {
        match tokio::time::timeout_at(deadline, look()).await {
            Ok(Ok(seen)) => return seen,
            Ok(Err(seen)) => last = seen,
            Err(_) => panic!("waited {limit:?} for {what}: {last}"),
        }
        tokio::time::sleep(LOOK).await;
    }
}
