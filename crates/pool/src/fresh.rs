//! Follows files that somebody else exchanges: keys and certificates.

use std::fmt::Display;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often a file is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Calls `refresh`, which says whether it took up something new, until the service ends. What cannot be read is told
/// once, until it can be read again; what was read before counts meanwhile.
pub(crate) async fn keep_fresh<E: Display>(
    what: &'static str,
    shutdown: &CancellationToken,
    refresh: impl Fn() -> Result<bool, E>,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut is_well = true;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        match refresh() {
            Ok(taken) => {
                is_well = true;
                if taken {
                    tracing::info!(what, "took up what is new");
                }
            }
            Err(error) if is_well => {
                is_well = false;
                tracing::error!(what, %error, "kept what was read before");
            }
            Err(_) => {}
        }
    }
}
