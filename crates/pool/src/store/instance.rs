//! Which service a database belongs to.

use super::StoreError;
use super::dialect::{Conn, query, query_scalar};
use uuid::Uuid;

/// The service that the database belongs to: the first that asked.
pub async fn claim(conn: &mut Conn, instance: Uuid) -> Result<Uuid, StoreError> {
    query("INSERT INTO service (id, instance) VALUES (1, $1) ON CONFLICT (id) DO NOTHING")
        .bind(instance.to_string())
        .execute(&mut *conn)
        .await?;
    let owner: String = query_scalar("SELECT instance FROM service WHERE id = 1")
        .fetch_one(conn)
        .await?;
    owner
        .parse()
        .map_err(|_| StoreError::Malformed { what: "service id" })
}
