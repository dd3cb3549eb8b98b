//! The key file, while the service runs.

use crate::service::Service;
use std::time::Duration;

/// How often the service looks whether its key file is another one.
const INTERVAL: Duration = Duration::from_secs(1);

impl Service {
    /// Takes new keys up until the service ends.
    pub async fn keep_keys_fresh(&self) {
        let mut ticks = tokio::time::interval(INTERVAL);
        let mut is_well = true;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.shutdown.cancelled() => return,
            }
            match self.keys.refresh() {
                Ok(taken) => {
                    is_well = true;
                    if taken {
                        tracing::info!("took up a new key file");
                    }
                }
                Err(error) if is_well => {
                    is_well = false;
                    tracing::error!(%error, "kept the keys that were read before");
                }
                Err(_) => {}
            }
        }
    }
}
