//! The database as a server that several replicas share.
//!
//! Its URL holds the password: it is read from a file, and neither shown nor written anywhere.

use super::connection::Conn;
use super::statement::{DatabaseError, Row, Statement, Value, query};
use super::{MIGRATIONS, StoreError, WAIT};
use sqlx::any::{AnyArguments, AnyConnectOptions, AnyPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, ConnectOptions, Connection, Executor};
use std::path::Path;

/// Connections for reading, of each replica.
const READERS: u32 = 8;
/// Each statement sees what was committed before it, and the lock is taken before anything is read: there is one writer
/// at a time among all replicas, as in SQLite. No operation sees another one's half, none is repeated.
const BEGIN: [&str; 2] = [
    "BEGIN ISOLATION LEVEL READ COMMITTED",
    "SELECT pg_advisory_xact_lock(110386840822905)",
];
/// The code of an error: another replica had the lock for too long.
const LOCK_TIMEOUT: &str = "55P03";

/// A replica that hangs in the middle of a transaction loses it, and the lock, after a while.
const FIRST: &str = "SET lock_timeout = '30s'; SET statement_timeout = '60s'; \
                     SET idle_in_transaction_session_timeout = '30s'";

/// The code of a text that has a character which PostgreSQL does not keep: NUL.
const BAD_CHARACTER: &str = "22021";
/// Where replicas tell each other whom to wake.
const CHANNEL: &str = "dayfly_pool";

/// What may follow the `?` of a URL.
const PARAMETERS: [&str; 6] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "application_name",
];
const SSL_MODE: &str = "sslmode";
const SSL_MODES: [&str; 4] = ["verify-full", "verify-ca", "require", "disable"];

/// Where a database is, and how to come in.
pub(super) struct DatabaseUrl(AnyConnectOptions);

impl DatabaseUrl {
    /// Reads the URL that is the only content of a file.
    pub(super) fn read(path: &Path) -> Result<Self, StoreError> {
        let text = std::fs::read_to_string(path).map_err(|source| StoreError::Open {
            path: path.to_owned(),
            source: source.into(),
        })?;
        let text = zeroize::Zeroizing::new(text);
        parse(text.trim())
            .map(Self)
            .map_err(|reason| StoreError::Url {
                path: path.to_owned(),
                reason,
            })
    }

    /// Opens one connection.
    pub(super) async fn connect(&self) -> Result<AnyConnection, sqlx::Error> {
        let mut conn = AnyConnection::connect_with(&self.0).await?;
        conn.execute(FIRST).await?;
        Ok(conn)
    }

    /// Opens a pool of connections for reading.
    pub(super) async fn readers(&self) -> Result<sqlx::Pool<Any>, sqlx::Error> {
        AnyPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(WAIT)
            .after_connect(|conn, _| Box::pin(async move { conn.execute(FIRST).await.map(drop) }))
            .connect_with(self.0.clone())
            .await
    }

    /// Brings the schema up to date. Replicas that start at once do it one after the other, without a limit of time.
    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        sqlx::any::install_default_drivers();
        let mut conn = AnyConnection::connect_with(&self.0).await?;
        MIGRATIONS.run(&mut conn).await?;
        Ok(conn.close().await?)
    }

    /// Begins to hear what replicas tell each other, on a connection for nothing else.
    pub(super) async fn listen(&self) -> Result<Listener, StoreError> {
        let options = PgConnectOptions::from_url(&self.0.database_url)?;
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_with(options)
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Listener(listener))
    }
}

/// Hears what replicas tell each other.
pub struct Listener(PgListener);

impl Listener {
    /// The next text; none when the connection was lost and is back, so that something may have been missed.
    pub async fn next(&mut self) -> Result<Option<String>, StoreError> {
        let heard = self.0.try_recv().await?;
        Ok(heard.map(|heard| heard.payload().to_owned()))
    }
}

/// Tells the other replicas once the transaction is committed.
pub(super) async fn tell(conn: &mut Conn, text: &str) -> Result<(), StoreError> {
    query("SELECT pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(text)
        .execute(conn)
        .await?;
    Ok(())
}

/// Begins a transaction when no other replica writes.
pub(super) async fn begin(conn: &mut AnyConnection) -> Result<(), DatabaseError> {
    for statement in BEGIN {
        conn.execute(statement).await?;
    }
    Ok(())
}

/// Every row that a statement answers.
pub(super) async fn rows(
    conn: &mut AnyConnection,
    statement: Statement<'_>,
) -> Result<Vec<Row>, DatabaseError> {
    let rows = prepare(statement).fetch_all(conn).await?;
    Ok(rows.into_iter().map(Row::Postgres).collect())
}

/// The first row that a statement answers.
pub(super) async fn first_row(
    conn: &mut AnyConnection,
    statement: Statement<'_>,
) -> Result<Option<Row>, DatabaseError> {
    let row = prepare(statement).fetch_optional(conn).await?;
    Ok(row.map(Row::Postgres))
}

/// Runs a statement; answers how many rows it changed.
pub(super) async fn execute(
    conn: &mut AnyConnection,
    statement: Statement<'_>,
) -> Result<u64, DatabaseError> {
    Ok(prepare(statement).execute(conn).await?.rows_affected())
}

fn prepare(statement: Statement<'_>) -> Query<'_, Any, AnyArguments> {
    let query = sqlx::query(statement.text);
    statement
        .values
        .into_iter()
        .fold(query, |query, value| match value {
            Value::Integer(integer) => query.bind(integer),
            Value::Text(text) => query.bind(text.map(|text| text.into_owned())),
        })
}

/// Whether another replica had the lock for too long.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    has_code(error, LOCK_TIMEOUT)
}

/// Whether a text has a character that PostgreSQL does not keep.
pub(super) fn is_about_a_character(error: &sqlx::Error) -> bool {
    has_code(error, BAD_CHARACTER)
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    let error = error.as_database_error().and_then(|error| error.code());
    error.is_some_and(|found| found == code)
}

/// Without a word about it the server must show a certificate for its name.
fn parse(text: &str) -> Result<AnyConnectOptions, &'static str> {
    let Ok(mut options) = text.parse::<AnyConnectOptions>() else {
        return Err("it must be a URL, postgresql://USER:PASSWORD@HOST/DATABASE");
    };
    let url = &mut options.database_url;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err("it must begin with postgresql://");
    }
    if url
        .query_pairs()
        .any(|(name, _)| !PARAMETERS.contains(&name.as_ref()))
    {
        return Err(
            "it has another parameter than sslmode, sslrootcert, sslcert, sslkey, host and application_name",
        );
    }
    let mode = url
        .query_pairs()
        .find(|(name, _)| name == SSL_MODE)
        .map(|(_, mode)| mode.into_owned());
    match mode {
        Some(mode) if SSL_MODES.contains(&mode.as_str()) => {}
        Some(_) => return Err("sslmode must be verify-full, verify-ca, require or disable"),
        None => {
            url.query_pairs_mut().append_pair(SSL_MODE, SSL_MODES[0]);
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_verified_unless_it_says_otherwise() {
        let mode = |text: &str| {
            let options = parse(text).unwrap();
            let url = options.database_url;
            let found = url.query_pairs().find(|(name, _)| name == SSL_MODE);
            found.unwrap().1.into_owned()
        };
        assert_eq!(mode("postgresql://me:secret@db/pool"), "verify-full");
        assert_eq!(
            mode("postgres://db/pool?sslrootcert=/ca.pem"),
            "verify-full"
        );
        assert_eq!(mode("postgres://db/pool?sslmode=disable"), "disable");
    }

    #[test]
    fn a_bad_url_is_refused_without_being_shown() {
        for text in [
            "",
            "hunter2",
            "mysql://me:hunter2@db/pool",
            "postgres://me@db/pool?passwrod=hunter2",
            "postgres://me:hunter2@db/pool?sslmode=prefer",
        ] {
            let Err(reason) = parse(text) else {
                unreachable!("{text} was accepted")
            };
            assert!(!reason.contains("hunter2"));
        }
    }
}
