//! The database as a file of the data directory, for one process.

use super::StoreError;
use super::dialect::{Conn, Opening};
use sqlx::ConnectOptions;
use sqlx::any::AnyConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The database's file in the data directory.
const FILE: &str = "pool.db";
/// The file whose lock whoever changes the schema holds.
const LOCK: &str = "migration.lock";

/// Connections for reading.
pub(super) const READERS: u32 = 4;
/// Takes the write lock at once: a transaction that reads first and then writes never has to be repeated.
pub(super) const BEGIN: &[&str] = &["BEGIN IMMEDIATE"];
/// The primary code of an error: another process has the lock.
const BUSY: i32 = 5;

/// A writer waits for another process. With a write-ahead log, `synchronous = NORMAL` loses no transaction when the
/// process dies, only when the machine does.
const FIRST: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
                     PRAGMA foreign_keys = ON";

/// Whether a code says that another process had the lock for too long. Its lowest byte is the primary code.
pub(super) fn is_busy(code: &str) -> bool {
    code.parse::<i32>().is_ok_and(|code| code & 0xff == BUSY)
}

/// Makes the database's file if it is not there. It is for this user alone: it holds hashes of tokens, and what jobs
/// wrote.
pub(super) fn opening(directory: &Path) -> Result<Opening, StoreError> {
    let prepared = || {
        let path = directory.join(FILE);
        std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)?;
        let file = SqliteConnectOptions::new().filename(std::path::absolute(&path)?);
        AnyConnectOptions::from_url(&file.to_url_lossy())
    };
    let options = prepared().map_err(|source| failed(directory, source))?;
    Ok(Opening::new(options, FIRST, false))
}

/// Why the database of a directory could not be opened.
pub(super) fn failed(directory: &Path, source: sqlx::Error) -> StoreError {
    StoreError::Open {
        path: directory.join(FILE),
        source,
    }
}

/// Writes the database to an empty file. Writers go on meanwhile.
pub(super) async fn copy(conn: &mut Conn, file: &Path) -> Result<(), StoreError> {
    sqlx::query("VACUUM INTO $1")
        .bind(file.to_string_lossy().into_owned())
        .execute(conn)
        .await?;
    Ok(())
}

/// Waits until no other process changes the schema: a `pat` command may come in the moment in which the server makes
/// the database, and SQLite's migrations have no lock of their own. The lock goes with the file that is answered.
pub(super) async fn lock(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join(LOCK);
    acquire(path.clone())
        .await
        .map_err(|source| StoreError::Open {
            path,
            source: source.into(),
        })
}

async fn acquire(path: PathBuf) -> std::io::Result<File> {
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::options().create(true).append(true).open(path)?;
        file.lock().map(|()| file)
    });
    locked.await.map_err(std::io::Error::other)?
}
