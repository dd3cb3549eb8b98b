//! What every database is spoken to with, and how values of ours become columns.
//!
//! SQLite and PostgreSQL take the same statements, by sqlx's driver for any database; what is different is in
//! [`super::sqlite`] and [`super::postgres`].

use super::StoreError;
use super::timing::Timed;
use super::writer::Write;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::{Any, AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::{AnyConnection, ColumnIndex, Connection, Decode, Executor, Pool, Row as _, Type};
use std::str::FromStr;
use std::time::Duration;

/// The database.
pub type Db = Any;
/// A connection to it.
pub type Conn = AnyConnection;
/// A row of it.
pub type Row = AnyRow;
/// A borrowed connection for reading.
pub type ReadConnection = Timed<sqlx::pool::PoolConnection<Db>>;
/// A transaction that may write.
pub type WriteTransaction = Timed<Write>;

/// How long somebody waits for a connection, or for the turn to write.
pub(super) const WAIT: Duration = Duration::from_secs(30);

/// How connections are opened.
#[derive(Clone)]
pub(super) struct Opening {
    options: AnyConnectOptions,
    /// The statements that each begins with.
    first: &'static str,
    /// Whether a connection that nobody uses may end, and is asked before it is lent.
    can_be_lost: bool,
}

impl Opening {
    pub(super) fn new(options: AnyConnectOptions, first: &'static str, can_be_lost: bool) -> Self {
        sqlx::any::install_default_drivers();
        Self {
            options,
            first,
            can_be_lost,
        }
    }

    /// Opens one connection.
    pub(super) async fn connect(&self) -> Result<Conn, sqlx::Error> {
        let mut conn = Conn::connect_with(&self.options).await?;
        conn.execute(self.first).await?;
        Ok(conn)
    }

    /// Opens a pool of connections.
    pub(super) async fn pool(&self, connections: u32) -> Result<Pool<Db>, sqlx::Error> {
        let first = self.first;
        AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(WAIT)
            .after_connect(move |connection, _| {
                Box::pin(async move { connection.execute(first).await.map(drop) })
            })
            .test_before_acquire(self.can_be_lost)
            .connect_with(self.options.clone())
            .await
    }
}

/// Whether a statement failed because others were at it for too long; the connection is as good as before.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| super::sqlite::is_busy(&code) || code == super::postgres::LOCK_TIMEOUT)
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

/// A text column that is parsed, and may be absent.
pub fn optional_parsed<T: FromStr>(row: &Row, name: &'static str) -> Result<Option<T>, StoreError> {
    column::<Option<String>>(row, name)?
        .map(|text| {
            text.parse()
                .map_err(|_| StoreError::Malformed { what: name })
        })
        .transpose()
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
