//! Copies the database while the service runs.

use crate::output;
use anyhow::Context;
use dayfly_pool_service::store::{Place, Store};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes the database, as it is at one moment, to a file that is not there yet.
pub(crate) async fn run(place: &Place, file: &Path) -> anyhow::Result<()> {
    let Place::Directory(directory) = place else {
        anyhow::bail!(
            "the database is PostgreSQL: back it up with pg_dump, while the service runs"
        );
    };
    anyhow::ensure!(
        directory.is_dir(),
        "{} is no directory; name the service's data directory",
        directory.display()
    );
    anyhow::ensure!(!file.exists(), "{} is there already", file.display());
    // Under another name until it is whole; for this user alone, as the database is.
    let partial = file.with_extension("partial");
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .with_context(|| format!("failed to write {}", partial.display()))?;
    let store = Store::open(place).await?;
    let copied = store.copy_to(&partial).await;
    store.close().await;
    copied?;
    File::open(&partial)?.sync_all()?;
    std::fs::rename(&partial, file)
        .with_context(|| format!("failed to name the copy {}", file.display()))?;
    output::remark(&format!(
        "copied the database to {}; keep a copy of the key file and the repositories too",
        file.display()
    ));
    Ok(())
}
