//! Sessions of the web page, by the hash of their cookie.

use super::StoreError;
use super::dialect::{Conn, Row, date, millis, parsed, query};
use crate::rules::entities::WebSession;
use jiff::Timestamp;
use uuid::Uuid;

fn session(row: &Row) -> Result<WebSession, StoreError> {
    Ok(WebSession {
        pat: parsed(row, "pat_id")?,
        created_at: date(row, "created_at")?,
        expires_at: date(row, "expires_at")?,
    })
}

/// Keeps a new session under the hash of its cookie.
pub async fn insert(conn: &mut Conn, hash: &str, session: &WebSession) -> Result<(), StoreError> {
    query(
        "INSERT INTO web_sessions (hash, pat_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
    )
    .bind(hash)
    .bind(session.pat.to_string())
    .bind(millis(session.created_at))
    .bind(millis(session.expires_at))
    .execute(conn)
    .await?;
    Ok(())
}

/// The session whose cookie has this hash.
pub async fn by_hash(conn: &mut Conn, hash: &str) -> Result<Option<WebSession>, StoreError> {
    let row = query("SELECT * FROM web_sessions WHERE hash = $1")
        .bind(hash)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(session).transpose()
}

/// Ends a session.
pub async fn delete(conn: &mut Conn, hash: &str) -> Result<(), StoreError> {
    query("DELETE FROM web_sessions WHERE hash = $1")
        .bind(hash)
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets sessions whose time is over.
pub async fn forget_expired(conn: &mut Conn, now: Timestamp) -> Result<(), StoreError> {
    query("DELETE FROM web_sessions WHERE expires_at <= $1")
        .bind(millis(now))
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends a token's oldest sessions, so that at most `most` are left.
pub async fn keep_newest(conn: &mut Conn, pat: Uuid, most: i64) -> Result<(), StoreError> {
    query(
        "DELETE FROM web_sessions WHERE pat_id = $1 AND hash NOT IN (SELECT hash FROM web_sessions \
         WHERE pat_id = $1 ORDER BY created_at DESC, hash LIMIT $2)",
    )
    .bind(pat.to_string())
    .bind(most)
    .execute(conn)
    .await?;
    Ok(())
}
