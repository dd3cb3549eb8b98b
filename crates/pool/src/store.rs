//! How entities are kept: SQL and nothing else. What may happen to them is decided in [`crate::rules`].
//!
//! Every function takes a connection, so that the caller decides which of them share a transaction.

pub mod agents;
pub mod artifacts;
pub mod assertions;
pub mod attachments;
pub mod branch_heads;
mod connection;
pub mod contents;
pub mod counters;
pub mod definition_secrets;
pub mod definitions;
pub mod dialect;
pub mod feeds;
pub mod instance;
pub mod logs;
pub mod messages;
pub mod overview;
pub mod pats;
pub mod plans;
pub mod pools;
mod postgres;
pub mod principals;
pub mod projects;
pub mod reach;
mod readers;
pub mod records;
pub mod requests;
pub mod retention;
pub mod roles;
pub mod runs;
pub mod schedules;
pub mod sessions;
mod sqlite;
pub mod statement;
pub mod tasks;
pub mod timelines;
pub mod timing;
pub mod web_sessions;
mod writer;

use crate::rules::news::News;
use connection::Conn;
use dialect::{ReadConnection, WriteTransaction, query_scalar};
use postgres::DatabaseUrl;
pub use postgres::Listener;
use readers::Readers;
use sqlite::DatabaseFile;
use sqlx::migrate::Migrator;
use statement::DatabaseError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use timing::{DatabaseTimes, READ, WRITE};
use uuid::Uuid;
use writer::Writer;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

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
    /// The file does not hold the URL of a database. What it holds is not said: it may be a password.
    #[error("failed to understand the database URL in {path}: {reason}")]
    Url {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// The schema could not be brought up to date.
    #[error("failed to migrate the database: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A server's database is copied by its own programs.
    #[error("failed to copy the database: PostgreSQL is copied by pg_dump")]
    NotAFile,
    /// A statement failed.
    #[error("failed to use the database: {0}")]
    Database(#[from] DatabaseError),
    /// A stored document is not what was written.
    #[error("failed to read a stored {what}")]
    Malformed {
        /// What.
        what: &'static str,
    },
}

impl StoreError {
    /// Whether a text has a character that the database cannot keep.
    pub fn is_about_a_character(&self) -> bool {
        match self {
            Self::Database(DatabaseError::Sqlx(error)) => postgres::is_about_a_character(error),
            Self::Database(_)
            | Self::NotAFile
            | Self::Open { .. }
            | Self::Url { .. }
            | Self::Migrate(_)
            | Self::Malformed { .. } => false,
        }
    }
}

/// Where the database is.
#[derive(Clone, Debug)]
pub enum Place {
    /// SQLite: a file of this directory.
    Directory(PathBuf),
    /// PostgreSQL: at the URL that this file holds.
    UrlFile(PathBuf),
}

/// How long somebody waits for a connection, or for the turn to write.
const WAIT: Duration = Duration::from_secs(30);

/// What connections are opened to.
enum Source {
    File(DatabaseFile),
    Server(DatabaseUrl),
}

impl Source {
    async fn connect(&self) -> Result<Conn, DatabaseError> {
        Ok(match self {
            Self::File(file) => Conn::Sqlite(file.open()?),
            Self::Server(url) => Conn::Postgres(url.connect().await?),
        })
    }
}

/// The database: many readers, one writer.
pub struct Store {
    source: Arc<Source>,
    readers: Readers,
    writer: Writer,
    /// How long it takes.
    pub times: DatabaseTimes,
}

impl Store {
    /// Opens the database, making what is missing, and brings its schema up to date.
    pub async fn open(place: &Place) -> Result<Self, StoreError> {
        let (source, readers) = match place {
            Place::Directory(directory) => {
                let file = DatabaseFile::prepare(directory).await?;
                let readers = Readers::of_file(&file)?;
                (Source::File(file), readers)
            }
            Place::UrlFile(file) => {
                let url = DatabaseUrl::read(file)?;
                url.migrate().await?;
                let readers = Readers::of_server(url.readers().await?);
                (Source::Server(url), readers)
            }
        };
        let source = Arc::new(source);
        Ok(Self {
            writer: Writer::new(Arc::clone(&source)),
            source,
            readers,
            times: DatabaseTimes::default(),
        })
    }

    /// A connection for reading.
    pub async fn read(&self) -> Result<ReadConnection, StoreError> {
        let waiting = self.times.wait(READ);
        let connection = self.readers.acquire().await?;
        drop(waiting);
        Ok(self.times.timed(READ, connection))
    }

    /// A transaction that may write; it is rolled back unless it is committed.
    pub async fn write(&self) -> Result<WriteTransaction, StoreError> {
        let waiting = self.times.wait(WRITE);
        let transaction = self.writer.begin().await?;
        drop(waiting);
        Ok(self.times.timed(WRITE, transaction))
    }

    /// Tells the other replicas, if there can be any, once the transaction is committed.
    pub async fn tell(&self, conn: &mut Conn, news: &News, sender: Uuid) -> Result<(), StoreError> {
        if matches!(*self.source, Source::Server(_)) {
            for text in news.to_texts(sender) {
                postgres::tell(conn, &text).await?;
            }
        }
        Ok(())
    }

    /// Begins to hear what replicas tell each other; none where there can be no others.
    pub async fn listen(&self) -> Result<Option<Listener>, StoreError> {
        match &*self.source {
            Source::Server(url) => Ok(Some(url.listen().await?)),
            Source::File(_) => Ok(None),
        }
    }

    /// Writes the database, as it is at one moment, to an empty file; only SQLite can.
    pub async fn copy_to(&self, copy: &Path) -> Result<(), StoreError> {
        match &*self.source {
            Source::File(file) => file.copy_to(copy).await,
            Source::Server(_) => Err(StoreError::NotAFile),
        }
    }

    /// Whether the database answers.
    pub async fn is_ready(&self) -> bool {
        async fn ask(store: &Store) -> Result<i64, StoreError> {
            let mut connection = store.read().await?;
            Ok(query_scalar("SELECT COUNT(*) FROM counters")
                .fetch_one(&mut connection)
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
