//! Service principals and their credentials.

use super::StoreError;
use super::dialect::{
    Conn, Row, column, date, millis, optional_date, optional_millis, parsed, query,
};
use crate::rules::principal::{Principal, PrincipalCredential};
use jiff::Timestamp;
use uuid::Uuid;

fn principal(row: &Row) -> Result<Principal, StoreError> {
    Ok(Principal {
        id: parsed(row, "id")?,
        name: column(row, "name")?,
        scopes: column(row, "scopes")?,
        created_at: date(row, "created_at")?,
        revoked_at: optional_date(row, "revoked_at")?,
    })
}

fn credential(row: &Row) -> Result<PrincipalCredential, StoreError> {
    let document: String = column(row, "document")?;
    Ok(PrincipalCredential {
        id: parsed(row, "id")?,
        principal: parsed(row, "principal_id")?,
        proof: serde_json::from_str(&document).map_err(|_| StoreError::Malformed {
            what: "credential of a service principal",
        })?,
        created_at: date(row, "created_at")?,
        expires_at: optional_date(row, "expires_at")?,
    })
}

/// Keeps a new principal.
pub async fn insert(conn: &mut Conn, principal: &Principal) -> Result<(), StoreError> {
    query(
        "INSERT INTO principals (id, name, name_key, scopes, created_at, revoked_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(principal.id.to_string())
    .bind(&principal.name)
    .bind(principal.name.to_lowercase())
    .bind(&principal.scopes)
    .bind(millis(principal.created_at))
    .bind(optional_millis(principal.revoked_at))
    .execute(conn)
    .await?;
    Ok(())
}

/// All principals, oldest first.
pub async fn all(conn: &mut Conn) -> Result<Vec<Principal>, StoreError> {
    let rows = query("SELECT * FROM principals ORDER BY created_at, id")
        .fetch_all(conn)
        .await?;
    rows.iter().map(principal).collect()
}

/// The principal with this id.
pub async fn by_id(conn: &mut Conn, id: Uuid) -> Result<Option<Principal>, StoreError> {
    let row = query("SELECT * FROM principals WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(principal).transpose()
}

/// The principal of this name that was not revoked.
pub async fn by_name(conn: &mut Conn, name: &str) -> Result<Option<Principal>, StoreError> {
    let row = query("SELECT * FROM principals WHERE name_key = $1 AND revoked_at IS NULL")
        .bind(name.to_lowercase())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(principal).transpose()
}

/// Revokes a principal.
pub async fn revoke(conn: &mut Conn, id: Uuid, now: Timestamp) -> Result<(), StoreError> {
    query("UPDATE principals SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
        .bind(id.to_string())
        .bind(millis(now))
        .execute(conn)
        .await?;
    Ok(())
}

/// Keeps a new credential.
pub async fn insert_credential(
    conn: &mut Conn,
    credential: &PrincipalCredential,
) -> Result<(), StoreError> {
    let document = serde_json::to_string(&credential.proof).map_err(|_| StoreError::Malformed {
        what: "credential of a service principal",
    })?;
    query(
        "INSERT INTO principal_credentials (id, principal_id, document, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(credential.id.to_string())
    .bind(credential.principal.to_string())
    .bind(document)
    .bind(millis(credential.created_at))
    .bind(optional_millis(credential.expires_at))
    .execute(conn)
    .await?;
    Ok(())
}

/// A principal's credentials, oldest first.
pub async fn credentials(
    conn: &mut Conn,
    principal: Uuid,
) -> Result<Vec<PrincipalCredential>, StoreError> {
    let rows = query(
        "SELECT * FROM principal_credentials WHERE principal_id = $1 ORDER BY created_at, id",
    )
    .bind(principal.to_string())
    .fetch_all(conn)
    .await?;
    rows.iter().map(credential).collect()
}

/// The credential with this id.
pub async fn credential_by_id(
    conn: &mut Conn,
    id: Uuid,
) -> Result<Option<PrincipalCredential>, StoreError> {
    let row = query("SELECT * FROM principal_credentials WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(credential).transpose()
}

/// Removes a credential; false when there is none with this id.
pub async fn remove_credential(conn: &mut Conn, id: Uuid) -> Result<bool, StoreError> {
    let done = query("DELETE FROM principal_credentials WHERE id = $1")
        .bind(id.to_string())
        .execute(conn)
        .await?;
    Ok(done == 1)
}
