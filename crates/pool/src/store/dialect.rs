//! What every database is spoken to with, and how values of ours become columns.
//!
//! SQLite and PostgreSQL take the same statements, by sqlx's driver for any database; what is different is in
//! [`super::sqlite`] and [`super::postgres`].

use super::StoreError;
use super::timing::Timed;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::{Any, AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::{AnyConnection, ColumnIndex, Decode, Executor, Pool, Row as _, Type};
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
pub type WriteTransaction = Timed<sqlx::Transaction<'static, Db>>;

/// How long somebody waits for a connection.
const WAIT: Duration = Duration::from_secs(30);

/// Connections that each begin with the statements `first`.
pub(super) async fn connect(
    options: AnyConnectOptions,
    connections: u32,
    first: &'static str,
) -> Result<Pool<Db>, sqlx::Error> {
    sqlx::any::install_default_drivers();
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(WAIT)
        .after_connect(move |connection, _| {
            Box::pin(async move { connection.execute(first).await.map(drop) })
        })
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
