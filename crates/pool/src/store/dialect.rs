//! What every database is spoken to with, and how values of ours become columns.
//!
//! SQLite and PostgreSQL take the same statements; what is different is in [`super::sqlite`] and [`super::postgres`].

use super::StoreError;
pub use super::connection::Conn;
use super::readers::Reader;
use super::statement::{At, Column};
pub use super::statement::{Row, query, query_scalar};
use super::timing::Timed;
use super::writer::Write;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::str::FromStr;

/// A borrowed connection for reading.
pub type ReadConnection = Timed<Reader>;
/// A transaction that may write.
pub type WriteTransaction = Timed<Write>;

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
pub fn column<T: Column>(row: &Row, name: &'static str) -> Result<T, StoreError> {
    Ok(row.get(At::Named(name))?)
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
