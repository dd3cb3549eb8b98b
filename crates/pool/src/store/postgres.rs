//! The database as a server that several replicas share.
//!
//! Its URL holds the password: it is read from a file, and neither shown nor written anywhere.

use super::StoreError;
use super::dialect::{Conn, Opening};
use sqlx::any::AnyConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};
use std::path::Path;

/// Connections for reading, of each replica.
pub(super) const READERS: u32 = 8;
/// Each statement sees what was committed before it, and the lock is taken before anything is read: there is one writer
/// at a time among all replicas, as in SQLite. No operation sees another one's half, none is repeated.
pub(super) const BEGIN: &[&str] = &[
    "BEGIN ISOLATION LEVEL READ COMMITTED",
    "SELECT pg_advisory_xact_lock(110386840822905)",
];
/// The code of an error: another replica had the lock for too long.
pub(super) const LOCK_TIMEOUT: &str = "55P03";

/// A replica that hangs in the middle of a transaction loses it, and the lock, after a while.
const FIRST: &str = "SET lock_timeout = '30s'; SET statement_timeout = '60s'; \
                     SET idle_in_transaction_session_timeout = '30s'";

/// The code of a text that has a character which PostgreSQL does not keep: NUL.
pub(super) const BAD_CHARACTER: &str = "22021";
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

    /// How connections to it are opened.
    pub(super) fn opening(&self) -> Opening {
        Opening::new(self.0.clone(), FIRST, true)
    }

    /// Brings the schema up to date. Replicas that start at once do it one after the other, without a limit of time.
    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        sqlx::any::install_default_drivers();
        let mut conn = Conn::connect_with(&self.0).await?;
        super::MIGRATIONS.run(&mut conn).await?;
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
    sqlx::query("SELECT pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(text)
        .execute(conn)
        .await?;
    Ok(())
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
