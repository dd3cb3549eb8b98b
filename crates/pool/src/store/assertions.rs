//! Assertions that were answered, by client and `jti`.

use super::StoreError;
use super::dialect::{Conn, Row, date, millis};
use dayfly_wire::ids::ClientId;
use jiff::Timestamp;
use uuid::Uuid;

/// When this assertion was answered first.
pub async fn answered_at(
    conn: &mut Conn,
    client: ClientId,
    jti: Uuid,
) -> Result<Option<Timestamp>, StoreError> {
    let row: Option<Row> =
        sqlx::query("SELECT issued_at FROM assertions WHERE client_id = $1 AND jti = $2")
            .bind(client.to_string())
            .bind(jti.to_string())
            .fetch_optional(conn)
            .await?;
    row.map(|row| date(&row, "issued_at")).transpose()
}

/// Remembers an assertion.
pub async fn remember(
    conn: &mut Conn,
    client: ClientId,
    jti: Uuid,
    issued_at: Timestamp,
    until: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO assertions (client_id, jti, issued_at, expires_at) VALUES ($1, $2, $3, $4)",
    )
    .bind(client.to_string())
    .bind(jti.to_string())
    .bind(millis(issued_at))
    .bind(millis(until))
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets assertions that would be refused for their age anyway.
pub async fn forget_expired(conn: &mut Conn, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM assertions WHERE expires_at < $1")
        .bind(millis(now))
        .execute(conn)
        .await?;
    Ok(())
}
