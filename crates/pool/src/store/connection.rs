//! One connection to the database, whichever it is.

use super::statement::{DatabaseError, Row, Statement};
use super::{postgres, sqlite};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, Connection};

/// A connection.
pub enum Conn {
    /// To a file. Its statements run where they are called, in some microseconds: to hand each to another thread takes
    /// ten times as long.
    Sqlite(rusqlite::Connection),
    /// To a server.
    Postgres(AnyConnection),
    /// To a server, from a pool that has it back afterwards.
    Pooled(PoolConnection<Any>),
}

impl Conn {
    /// Every row that a statement answers.
    pub(super) async fn rows(
        &mut self,
        statement: Statement<'_>,
    ) -> Result<Vec<Row>, DatabaseError> {
        match self {
            Self::Sqlite(conn) => sqlite::rows(conn, &statement, usize::MAX),
            Self::Postgres(conn) => postgres::rows(conn, statement).await,
            Self::Pooled(conn) => postgres::rows(conn, statement).await,
        }
    }

    /// The first row that a statement answers.
    pub(super) async fn first_row(
        &mut self,
        statement: Statement<'_>,
    ) -> Result<Option<Row>, DatabaseError> {
        match self {
            Self::Sqlite(conn) => Ok(sqlite::rows(conn, &statement, 1)?.pop()),
            Self::Postgres(conn) => postgres::first_row(conn, statement).await,
            Self::Pooled(conn) => postgres::first_row(conn, statement).await,
        }
    }

    /// Runs a statement; answers how many rows it changed.
    pub(super) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, DatabaseError> {
        match self {
            Self::Sqlite(conn) => sqlite::execute(conn, &statement),
            Self::Postgres(conn) => postgres::execute(conn, statement).await,
            Self::Pooled(conn) => postgres::execute(conn, statement).await,
        }
    }

    /// Begins a transaction that may write.
    pub(super) async fn begin(&mut self) -> Result<(), DatabaseError> {
        match self {
            Self::Sqlite(conn) => sqlite::begin(conn).await,
            Self::Postgres(conn) => postgres::begin(conn).await,
            Self::Pooled(conn) => postgres::begin(conn).await,
        }
    }

    /// Closes it.
    pub(super) async fn close(self) -> Result<(), DatabaseError> {
        match self {
            Self::Sqlite(conn) => Ok(conn.close().map_err(|(_, error)| error)?),
            Self::Postgres(conn) => Ok(conn.close().await?),
            Self::Pooled(conn) => Ok(conn.close().await?),
        }
    }
}
