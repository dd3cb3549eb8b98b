//! Personal access tokens, by hash.

use super::StoreError;
use super::dialect::{
    Conn, Row, column, date, millis, optional_date, optional_millis, parsed, query,
};
use crate::rules::entities::Pat;
use jiff::Timestamp;
use uuid::Uuid;

fn pat(row: &Row) -> Result<Pat, StoreError> {
    Ok(Pat {
        id: parsed(row, "id")?,
        name: column(row, "name")?,
        scopes: column(row, "scopes")?,
        created_at: date(row, "created_at")?,
        expires_at: optional_date(row, "expires_at")?,
        revoked_at: optional_date(row, "revoked_at")?,
    })
}

/// Keeps a new token's hash.
pub async fn insert(conn: &mut Conn, pat: &Pat, hash: &str) -> Result<(), StoreError> {
    query(
        "INSERT INTO pats (id, name, hash, scopes, created_at, expires_at, revoked_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(pat.id.to_string())
    .bind(&pat.name)
    .bind(hash)
    .bind(&pat.scopes)
    .bind(millis(pat.created_at))
    .bind(optional_millis(pat.expires_at))
    .bind(optional_millis(pat.revoked_at))
    .execute(conn)
    .await?;
    Ok(())
}

/// The token with this hash.
pub async fn by_hash(conn: &mut Conn, hash: &str) -> Result<Option<Pat>, StoreError> {
    let row = query("SELECT * FROM pats WHERE hash = $1")
        .bind(hash)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(pat).transpose()
}

/// The token with this id.
pub async fn by_id(conn: &mut Conn, id: Uuid) -> Result<Option<Pat>, StoreError> {
    let row = query("SELECT * FROM pats WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(pat).transpose()
}

/// All tokens, oldest first.
pub async fn all(conn: &mut Conn) -> Result<Vec<Pat>, StoreError> {
    let rows = query("SELECT * FROM pats ORDER BY created_at, id")
        .fetch_all(conn)
        .await?;
    rows.iter().map(pat).collect()
}

/// Revokes a token; false when there is none with this id that counts.
pub async fn revoke(conn: &mut Conn, id: Uuid, now: Timestamp) -> Result<bool, StoreError> {
    let done = query("UPDATE pats SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
        .bind(id.to_string())
        .bind(millis(now))
        .execute(conn)
        .await?;
    Ok(done == 1)
}
