//! The service's keys.

use crate::output;
use anyhow::Context;
use dayfly_pool_service::clock::{Clock, SystemClock};
use dayfly_pool_service::keyfile;
use std::path::Path;

/// Adds new keys to a data directory's key file.
pub(crate) async fn rotate(data_dir: &Path) -> anyhow::Result<()> {
    let directory = data_dir.to_owned();
    let rotating = move || keyfile::rotate(&directory, SystemClock.now());
    let older = tokio::task::spawn_blocking(rotating)
        .await
        .context("failed to rotate the keys")??;
    output::remark(&format!(
        "added a key of each kind; {older} older ones verify until their tokens have ended"
    ));
    Ok(())
}
