//! How entities are kept: SQL and nothing else. What may happen to them is decided in [`crate::rules`].
//!
//! Every function takes a connection, so that the caller decides which of them share a transaction.

pub mod agents;
pub mod artifacts;
pub mod assertions;
pub mod attachments;
pub mod branch_heads;
pub mod contents;
pub mod counters;
pub mod definition_secrets;
pub mod definitions;
pub mod dialect;
pub mod logs;
pub mod messages;
pub mod overview;
pub mod pats;
pub mod plans;
pub mod pools;
pub mod principals;
pub mod projects;
pub mod reach;
pub mod records;
pub mod requests;
pub mod retention;
pub mod roles;
pub mod runs;
pub mod schedules;
pub mod sessions;
pub mod tasks;
pub mod timelines;
pub mod web_sessions;

use dialect::{Conn, Db, ReadConnection, WriteTransaction};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Why the store could not serve.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be opened.
    #[error(
        "failed to open the database {path}: {source}; check that the directory exists and is writable"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("failed to migrate the database: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A statement failed.
    #[error("failed to use the database: {0}")]
    Database(#[from] sqlx::Error),
    /// A stored document is not what was written.
    #[error("failed to read a stored {what}")]
    Malformed {
        /// What.
        what: &'static str,
    },
}

/// The file whose lock whoever changes the schema holds.
const LOCK: &str = "migration.lock";

/// Waits until no other process changes the schema: a `pat` command may come in the moment in which the server makes
/// the database, and SQLite's migrations have no lock of their own. The lock goes with the file that is answered.
async fn lock(directory: &Path) -> std::io::Result<File> {
    let path = directory.join(LOCK);
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::options().create(true).append(true).open(path)?;
        file.lock().map(|()| file)
    });
    locked.await.map_err(std::io::Error::other)?
}

/// The database: many readers, one writer.
pub struct Store {
    readers: sqlx::Pool<Db>,
    // One connection: writers queue here in order instead of colliding in the database.
    writer: sqlx::Pool<Db>,
}

impl Store {
    /// Opens the database of a data directory, making it when it is not there, and brings its schema up to date.
    pub async fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(dialect::FILE);
        let open = |connections| {
            let path = path.clone();
            async move {
                dialect::open(&path, connections)
                    .await
                    .map_err(|source| StoreError::Open { path, source })
            }
        };
        let migrating = lock(directory).await.map_err(|source| StoreError::Open {
            path: directory.join(LOCK),
            source: source.into(),
        })?;
        let writer = open(1).await?;
        sqlx::migrate!("./migrations").run(&writer).await?;
        drop(migrating);
        Ok(Self {
            readers: open(dialect::READERS).await?,
            writer,
        })
    }

    /// A connection for reading.
    pub async fn read(&self) -> Result<ReadConnection, StoreError> {
        Ok(self.readers.acquire().await?)
    }

    /// A transaction that may write; it is rolled back unless it is committed.
    pub async fn write(&self) -> Result<WriteTransaction, StoreError> {
        Ok(self.writer.begin_with(dialect::BEGIN_WRITE).await?)
    }

    /// Whether the database answers.
    pub async fn is_ready(&self) -> bool {
        async fn ask(store: &Store) -> Result<i64, StoreError> {
            let mut connection = store.read().await?;
            let conn: &mut Conn = &mut connection;
            Ok(sqlx::query_scalar("SELECT COUNT(*) FROM counters")
                .fetch_one(conn)
                .await?)
        }
        ask(self).await.is_ok()
    }

    /// Closes every connection, so that the file can be copied.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
