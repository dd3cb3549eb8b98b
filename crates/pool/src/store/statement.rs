//! A statement with its values, and the rows that it answers: the same for every database.

use super::StoreError;
use super::connection::Conn;
use sqlx::any::AnyRow;
use sqlx::{Row as _, SqlSafeStr, SqlStr};
use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

/// Why a statement failed.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// What sqlx says: of PostgreSQL, and of migrations.
    #[error(transparent)]
    Sqlx(#[from] sqlx::Error),
    /// What SQLite says.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// Others had the connections for too long.
    #[error("waited too long for others who use the database")]
    TimedOut,
    /// It is not used any more.
    #[error("the database was closed")]
    Closed,
    /// There is no row where there must be one.
    #[error("a row is missing")]
    NoRow,
    /// A column is not there, or holds something else.
    #[error("the column {0} is missing or holds something else")]
    Column(String),
}

impl DatabaseError {
    /// Whether others were at it for too long; the connection is as good as before.
    pub(super) fn is_busy(&self) -> bool {
        match self {
            Self::Sqlx(error) => super::postgres::is_busy(error),
            Self::Sqlite(error) => super::sqlite::is_busy(error),
            Self::TimedOut | Self::Closed | Self::NoRow | Self::Column(_) => false,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

/// What a statement is given. An absent value has a type too: PostgreSQL asks for it.
#[derive(Debug)]
pub enum Value<'q> {
    /// A BIGINT.
    Integer(Option<i64>),
    /// A TEXT.
    Text(Option<Cow<'q, str>>),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(Some(value))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Integer(value)
    }
}

impl<'q> From<&'q str> for Value<'q> {
    fn from(value: &'q str) -> Self {
        Self::Text(Some(value.into()))
    }
}

impl<'q> From<&'q String> for Value<'q> {
    fn from(value: &'q String) -> Self {
        Self::Text(Some(value.into()))
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Self::Text(Some(value.into()))
    }
}

impl<'q> From<Option<&'q str>> for Value<'q> {
    fn from(value: Option<&'q str>) -> Self {
        Self::Text(value.map(Cow::from))
    }
}

impl From<Option<String>> for Value<'_> {
    fn from(value: Option<String>) -> Self {
        Self::Text(value.map(Cow::from))
    }
}

impl<'q> From<&'q Option<String>> for Value<'q> {
    fn from(value: &'q Option<String>) -> Self {
        value.as_deref().into()
    }
}

/// A statement and its values.
pub struct Statement<'q> {
    pub(super) text: SqlStr,
    pub(super) values: Vec<Value<'q>>,
}

/// A statement; `$1` stands for the first value that is bound. A text that was put together says so by
/// [`sqlx::AssertSqlSafe`].
pub fn query<'q>(text: impl SqlSafeStr) -> Statement<'q> {
    Statement {
        text: text.into_sql_str(),
        values: Vec::new(),
    }
}

/// A statement of whose rows only the first column is wanted.
pub fn query_scalar<'q, T>(text: impl SqlSafeStr) -> Scalar<'q, T> {
    Scalar {
        statement: query(text),
        kind: PhantomData,
    }
}

impl<'q> Statement<'q> {
    /// Gives the next value.
    pub fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Runs it; answers how many rows it changed.
    pub async fn execute(self, conn: &mut Conn) -> Result<u64, DatabaseError> {
        conn.execute(self).await
    }

    /// Every row.
    pub async fn fetch_all(self, conn: &mut Conn) -> Result<Vec<Row>, DatabaseError> {
        conn.rows(self).await
    }

    /// The first row, if there is one.
    pub async fn fetch_optional(self, conn: &mut Conn) -> Result<Option<Row>, DatabaseError> {
        conn.first_row(self).await
    }

    /// The first row, which must be there.
    pub async fn fetch_one(self, conn: &mut Conn) -> Result<Row, DatabaseError> {
        self.fetch_optional(conn).await?.ok_or(DatabaseError::NoRow)
    }
}

/// A statement of whose rows only the first column is wanted.
pub struct Scalar<'q, T> {
    statement: Statement<'q>,
    kind: PhantomData<fn() -> T>,
}

impl<'q, T: Column> Scalar<'q, T> {
    /// Gives the next value.
    pub fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        self.statement = self.statement.bind(value);
        self
    }

    /// The column of every row.
    pub async fn fetch_all(self, conn: &mut Conn) -> Result<Vec<T>, DatabaseError> {
        let rows = self.statement.fetch_all(conn).await?;
        rows.iter().map(|row| row.get(At::First)).collect()
    }

    /// The column of the first row, if there is one.
    pub async fn fetch_optional(self, conn: &mut Conn) -> Result<Option<T>, DatabaseError> {
        let row = self.statement.fetch_optional(conn).await?;
        row.map(|row| row.get(At::First)).transpose()
    }

    /// The column of the first row, which must be there.
    pub async fn fetch_one(self, conn: &mut Conn) -> Result<T, DatabaseError> {
        self.fetch_optional(conn).await?.ok_or(DatabaseError::NoRow)
    }
}

/// A row that a statement answered.
pub enum Row {
    /// From SQLite.
    Sqlite {
        /// The columns' names.
        names: Arc<[String]>,
        /// Their values.
        values: Vec<rusqlite::types::Value>,
    },
    /// From PostgreSQL.
    Postgres(AnyRow),
}

/// Which column of a row.
#[derive(Clone, Copy)]
pub enum At<'a> {
    /// The first.
    First,
    /// The one of this name.
    Named(&'a str),
}

impl At<'_> {
    fn wrong(self) -> DatabaseError {
        DatabaseError::Column(match self {
            Self::First => "1".to_owned(),
            Self::Named(name) => name.to_owned(),
        })
    }
}

impl Row {
    /// A column as a value of ours.
    pub(super) fn get<T: Column>(&self, at: At<'_>) -> Result<T, DatabaseError> {
        match self {
            Self::Sqlite { names, values } => {
                let index = match at {
                    At::First => Some(0),
                    At::Named(name) => names.iter().position(|candidate| candidate == name),
                };
                let value = index.and_then(|index| values.get(index));
                value.and_then(T::of_sqlite).ok_or_else(|| at.wrong())
            }
            Self::Postgres(row) => Ok(T::of_postgres(row, at)?),
        }
    }
}

/// What a column can be read as.
pub trait Column: Sized {
    /// From a value of SQLite; none when it is another one.
    fn of_sqlite(value: &rusqlite::types::Value) -> Option<Self>;
    /// From a row of PostgreSQL.
    fn of_postgres(row: &AnyRow, at: At<'_>) -> Result<Self, sqlx::Error>;
}

fn any<'r, T>(row: &'r AnyRow, at: At<'_>) -> Result<T, sqlx::Error>
where
    T: sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>,
{
    match at {
        At::First => row.try_get(0),
        At::Named(name) => row.try_get(name),
    }
}

impl Column for i64 {
    fn of_sqlite(value: &rusqlite::types::Value) -> Option<Self> {
        match value {
            rusqlite::types::Value::Integer(integer) => Some(*integer),
            _ => None,
        }
    }

    fn of_postgres(row: &AnyRow, at: At<'_>) -> Result<Self, sqlx::Error> {
        any(row, at)
    }
}

impl Column for String {
    fn of_sqlite(value: &rusqlite::types::Value) -> Option<Self> {
        match value {
            rusqlite::types::Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    fn of_postgres(row: &AnyRow, at: At<'_>) -> Result<Self, sqlx::Error> {
        any(row, at)
    }
}

impl<T> Column for Option<T>
where
    T: Column + for<'r> sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>,
{
    fn of_sqlite(value: &rusqlite::types::Value) -> Option<Self> {
        match value {
            rusqlite::types::Value::Null => Some(None),
            value => T::of_sqlite(value).map(Some),
        }
    }

    fn of_postgres(row: &AnyRow, at: At<'_>) -> Result<Self, sqlx::Error> {
        any(row, at)
    }
}
