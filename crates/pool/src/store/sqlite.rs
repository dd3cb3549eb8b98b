//! The database as a file of the data directory, for one process that serves and short-lived commands beside it.

use super::statement::{DatabaseError, Row, Statement, Value};
use super::{MIGRATIONS, StoreError};
use rusqlite::types::ToSqlOutput;
use rusqlite::{CachedStatement, Connection, OpenFlags, ToSql};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The database's file in the data directory.
const FILE: &str = "pool.db";
/// The file whose lock whoever changes the schema holds.
const LOCK: &str = "migration.lock";

/// Connections for reading.
pub(super) const READERS: u32 = 4;
/// Takes the write lock at once: a transaction that reads first and then writes never has to be repeated.
const BEGIN: &str = "BEGIN IMMEDIATE";
/// How long a writer waits for another process.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks whether another process has written what it had to write.
const PAUSE: Duration = Duration::from_millis(2);
/// Prepared statements that a connection keeps; there are fewer different ones.
const PREPARED: usize = 256;

/// With a write-ahead log, `synchronous = NORMAL` loses no transaction when the process dies, only when the machine
/// does.
const FIRST: &str =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON";

/// The file of a directory.
#[derive(Clone)]
pub(super) struct DatabaseFile(PathBuf);

impl DatabaseFile {
    /// Makes the database's file if it is not there, and brings its schema up to date. It is for this user alone: it
    /// holds hashes of tokens, and what jobs wrote.
    pub(super) async fn prepare(directory: &Path) -> Result<Self, StoreError> {
        let made = || {
            let path = std::path::absolute(directory.join(FILE))?;
            std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(&path)?;
            Ok(path)
        };
        let migrating = lock(directory).await?;
        let path = made().map_err(|error: std::io::Error| failed(directory, error))?;
        let file = SqliteConnectOptions::new().filename(&path);
        let mut conn = file
            .connect()
            .await
            .map_err(|error| failed(directory, error))?;
        MIGRATIONS.run(&mut conn).await?;
        sqlx::Connection::close(conn).await?;
        drop(migrating);
        Ok(Self(path))
    }

    /// Opens a connection.
    pub(super) fn open(&self) -> Result<Connection, DatabaseError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&self.0, flags)?;
        conn.busy_timeout(PATIENCE)?;
        conn.execute_batch(FIRST)?;
        conn.set_prepared_statement_cache_capacity(PREPARED);
        Ok(conn)
    }

    /// Writes the database to an empty file. Writers go on meanwhile.
    pub(super) async fn copy_to(&self, copy: &Path) -> Result<(), StoreError> {
        let (source, copy) = (self.clone(), copy.to_string_lossy().into_owned());
        let copying = tokio::task::spawn_blocking(move || {
            source.open()?.execute("VACUUM INTO ?1", [copy])?;
            Ok::<_, DatabaseError>(())
        });
        Ok(copying.await.map_err(|_| DatabaseError::Closed)??)
    }
}

/// Why the database of a directory could not be opened.
fn failed(directory: &Path, source: impl Into<sqlx::Error>) -> StoreError {
    StoreError::Open {
        path: directory.join(FILE),
        source: source.into(),
    }
}

/// Waits until no other process changes the schema: a `pat` command may come in the moment in which the server makes
/// the database, and SQLite's migrations have no lock of their own. The lock goes with the file that is answered.
async fn lock(directory: &Path) -> Result<File, StoreError> {
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

/// Begins a transaction. While another process has the lock it looks again and again, as SQLite would, but lets others
/// use the thread meanwhile.
pub(super) async fn begin(conn: &mut Connection) -> Result<(), DatabaseError> {
    let until = Instant::now() + PATIENCE;
    conn.busy_timeout(Duration::ZERO)?;
    loop {
        let begun = conn.prepare_cached(BEGIN)?.raw_execute();
        match begun {
            Err(error) if is_busy(&error) && Instant::now() < until => {
                tokio::time::sleep(PAUSE).await;
            }
            begun => return Ok(begun.map(drop)?),
        }
    }
}

/// Whether another process had the lock for too long.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}

/// At most so many rows that a statement answers. One that changes something has changed all of it with its first row.
pub(super) fn rows(
    conn: &Connection,
    statement: &Statement<'_>,
    most: usize,
) -> Result<Vec<Row>, DatabaseError> {
    let mut prepared = prepare(conn, statement)?;
    let names: Arc<[String]> = prepared
        .column_names()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let mut answered = prepared.raw_query();
    let mut rows = Vec::new();
    while let Some(row) = answered.next()? {
        let values = (0..names.len()).map(|index| row.get(index));
        rows.push(Row::Sqlite {
            values: values.collect::<Result<_, _>>()?,
            names: Arc::clone(&names),
        });
        if rows.len() == most {
            break;
        }
    }
    Ok(rows)
}

/// Runs a statement; answers how many rows it changed.
pub(super) fn execute(conn: &Connection, statement: &Statement<'_>) -> Result<u64, DatabaseError> {
    let changed = prepare(conn, statement)?.raw_execute()?;
    Ok(changed.try_into().unwrap_or(u64::MAX))
}

fn prepare<'c>(
    conn: &'c Connection,
    statement: &Statement<'_>,
) -> Result<CachedStatement<'c>, DatabaseError> {
    let mut prepared = conn.prepare_cached(statement.text.as_str())?;
    for index in 1..=prepared.parameter_count() {
        let number = prepared.parameter_name(index).and_then(number);
        let value = number.and_then(|number| statement.values.get(number - 1));
        let value = value.ok_or(rusqlite::Error::InvalidParameterName(index.to_string()))?;
        prepared.raw_bind_parameter(index, value)?;
    }
    Ok(prepared)
}

/// To SQLite `$2` is a name, which it counts where it comes first; to us it is the second value.
fn number(name: &str) -> Option<usize> {
    let number = name.strip_prefix('$')?.parse().ok()?;
    (number > 0).then_some(number)
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Integer(Some(integer)) => Ok(ToSqlOutput::from(*integer)),
            Self::Text(Some(text)) => Ok(ToSqlOutput::from(text.as_ref())),
            Self::Integer(None) | Self::Text(None) => Ok(ToSqlOutput::from(rusqlite::types::Null)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection::Conn;
    use super::super::dialect::column;
    use super::super::statement::{query, query_scalar};
    use super::*;

    #[tokio::test]
    async fn values_are_bound_by_their_numbers_wherever_they_stand() {
        let memory = Connection::open_in_memory().unwrap();
        memory
            .execute_batch("CREATE TABLE t (a BIGINT, b TEXT, c BIGINT)")
            .unwrap();
        let mut conn = Conn::Sqlite(memory);
        let insert = "INSERT INTO t (c, b, a) VALUES ($3, $2, $1)";
        for a in [7_i64, 8] {
            let values = query(insert).bind(a).bind("two").bind(None::<i64>);
            assert_eq!(values.execute(&mut conn).await.unwrap(), 1);
        }
        let row = query("SELECT * FROM t WHERE b = $2 AND a = $1 AND $2 = b")
            .bind(8_i64)
            .bind("two");
        let row = row.fetch_one(&mut conn).await.unwrap();
        assert_eq!(column::<i64>(&row, "a").unwrap(), 8);
        assert_eq!(column::<Option<i64>>(&row, "c").unwrap(), None);
        assert!(column::<i64>(&row, "c").is_err() && column::<i64>(&row, "d").is_err());
        let update = "UPDATE t SET c = $1 RETURNING a";
        let first: i64 = query_scalar(update)
            .bind(5_i64)
            .fetch_one(&mut conn)
            .await
            .unwrap();
        assert_eq!(first, 7);
        let all: Vec<i64> = query_scalar("SELECT c FROM t")
            .fetch_all(&mut conn)
            .await
            .unwrap();
        assert_eq!(all, [5, 5], "what is not fetched is changed too");
        let missing = query("SELECT $2").bind(1_i64).fetch_all(&mut conn).await;
        assert!(missing.is_err());
    }
}
