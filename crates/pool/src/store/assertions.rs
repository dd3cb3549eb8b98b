//! Assertions that were answered, by client and `jti`.

use super::StoreError;
use super::dialect::{Conn, Row, date, millis, query};
use jiff::Timestamp;

/// Remembers an assertion; answers when it was answered first, and nothing when that is now. Of two that come at once,
/// to whichever replica, one is the first.
pub async fn remember(
    conn: &mut Conn,
    client: &str,
    jti: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let inserted = query(
        "INSERT INTO assertions (client_id, jti, issued_at, expires_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (client_id, jti) DO NOTHING",
    )
    .bind(client)
    .bind(jti)
    .bind(millis(now))
    .bind(millis(until))
    .execute(&mut *conn)
    .await?;
    if inserted == 1 {
        return Ok(None);
    }
    let row: Option<Row> =
        query("SELECT issued_at FROM assertions WHERE client_id = $1 AND jti = $2")
            .bind(client)
            .bind(jti)
            .fetch_optional(conn)
            .await?;
    row.map(|row| date(&row, "issued_at")).transpose()
}

/// Forgets assertions that would be refused for their age anyway.
pub async fn forget_expired(conn: &mut Conn, now: Timestamp) -> Result<(), StoreError> {
    query("DELETE FROM assertions WHERE expires_at < $1")
        .bind(millis(now))
        .execute(conn)
        .await?;
    Ok(())
}
