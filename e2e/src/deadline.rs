//! Waiting, with a deadline that says what was waited for.

use crate::Result;
use anyhow::bail;
use std::time::{Duration, Instant};

/// How often a condition is looked at. Short against every deadline, long against the machine's other work.
const STEP: Duration = Duration::from_millis(50);

/// Looks until `probe` answers with something. `what` completes "timed out after N s waiting for ...".
pub async fn until<T, F, Fut>(what: &str, limit: Duration, mut probe: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>>>,
{
    let started = Instant::now();
    loop {
        let last_error = match probe().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if started.elapsed() > limit {
            let seconds = limit.as_secs();
            match last_error {
                Some(error) => bail!("timed out after {seconds} s waiting for {what}: {error:#}"),
                None => bail!("timed out after {seconds} s waiting for {what}"),
            }
        }
        tokio::time::sleep(STEP).await;
    }
}
