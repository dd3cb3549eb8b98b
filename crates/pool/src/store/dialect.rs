//! Everything that depends on which database it is, and how values of ours become columns.

use super::StoreError;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{ColumnIndex, Decode, Pool, Row as _, Type};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

/// The database.
pub type Db = Sqlite;
/// A connection to it.
pub type Conn = SqliteConnection;
/// A row of it.
pub type Row = SqliteRow;
/// A borrowed connection for reading.
pub type ReadConnection = sqlx::pool::PoolConnection<Db>;
/// A transaction that may write.
pub type WriteTransaction = sqlx::Transaction<'static, Db>;

/// The database's file in the data directory.
pub const FILE: &str = "pool.db";
/// Connections for reading.
pub const READERS: u32 = 4;
/// Takes the write lock at once: a transaction that reads first and then writes never has to be repeated.
pub const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";

/// How long a writer waits for another process.
const BUSY: Duration = Duration::from_secs(10);

/// Opens the database. Its files are for this user alone: they hold hashes of tokens, and what jobs wrote.
pub async fn open(path: &Path, connections: u32) -> Result<Pool<Db>, sqlx::Error> {
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // With a write-ahead log this loses no transaction when the process dies, only when the machine does.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY)
        .foreign_keys(true);
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(30))
        .connect_with(options)
        .await
}

/// A date as a column.
pub fn millis(date: Timestamp) -> i64 {
    date.as_millisecond()
}

/// A date that may be absent, as a column.
pub fn optional_millis(date: Option<Timestamp>) -> Option<i64> {
    date.map(millis)
}

/// How a name is compared.
pub fn name_key(name: &str) -> String {
    name.to_lowercase()
}

/// A document as a column.
pub fn json<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Malformed { what })
}

/// A column of a simple type.
pub fn column<'r, T>(row: &'r Row, name: &'static str) -> Result<T, StoreError>
where
    T: Decode<'r, Db> + Type<Db>,
    &'static str: ColumnIndex<Row>,
{
    Ok(row.try_get(name)?)
}

/// A truth column.
pub fn truth(row: &Row, name: &'static str) -> Result<bool, StoreError> {
    Ok(column::<i64>(row, name)? != 0)
}

/// A date column.
pub fn date(row: &Row, name: &'static str) -> Result<Timestamp, StoreError> {
    optional_date(row, name)?.ok_or(StoreError::Malformed { what: name })
}

/// A date column that may be absent.
pub fn optional_date(row: &Row, name: &'static str) -> Result<Option<Timestamp>, StoreError> {
    column::<Option<i64>>(row, name)?
        .map(|millis| {
            Timestamp::from_millisecond(millis).map_err(|_| StoreError::Malformed { what: name })
        })
        .transpose()
}

/// A text column that is parsed.
pub fn parsed<T: FromStr>(row: &Row, name: &'static str) -> Result<T, StoreError> {
    column::<String>(row, name)?
        .parse()
        .map_err(|_| StoreError::Malformed { what: name })
}

/// A document column that may be absent.
pub fn optional_document<T: DeserializeOwned>(
    row: &Row,
    name: &'static str,
) -> Result<Option<T>, StoreError> {
    let text: Option<String> = column(row, name)?;
    text.map(|text| serde_json::from_str(&text).map_err(|_| StoreError::Malformed { what: name }))
        .transpose()
}

/// A document column.
pub fn document<T: DeserializeOwned>(row: &Row, name: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(&column::<String>(row, name)?)
        .map_err(|_| StoreError::Malformed { what: name })
}
