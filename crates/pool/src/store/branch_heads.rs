//! Up to which commit each branch was looked at for triggers.

use super::StoreError;
use super::dialect::{Conn, column, query, query_scalar};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A repository's branches with their commits.
pub async fn all(
    conn: &mut Conn,
    repository: Uuid,
) -> Result<BTreeMap<String, String>, StoreError> {
    let rows = query("SELECT reference, version FROM branch_heads WHERE repository_id = $1")
        .bind(repository.to_string())
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| Ok((column(row, "reference")?, column(row, "version")?)))
        .collect()
}

/// A branch's commit.
pub async fn find(
    conn: &mut Conn,
    repository: Uuid,
    reference: &str,
) -> Result<Option<String>, StoreError> {
    Ok(
        query_scalar(
            "SELECT version FROM branch_heads WHERE repository_id = $1 AND reference = $2",
        )
        .bind(repository.to_string())
        .bind(reference)
        .fetch_optional(conn)
        .await?,
    )
}

/// A branch was looked at up to this commit.
pub async fn put(
    conn: &mut Conn,
    repository: Uuid,
    reference: &str,
    version: &str,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO branch_heads (repository_id, reference, version) VALUES ($1, $2, $3) \
         ON CONFLICT (repository_id, reference) DO UPDATE SET version = excluded.version",
    )
    .bind(repository.to_string())
    .bind(reference)
    .bind(version)
    .execute(conn)
    .await?;
    Ok(())
}

/// A branch is gone.
pub async fn delete(conn: &mut Conn, repository: Uuid, reference: &str) -> Result<(), StoreError> {
    query("DELETE FROM branch_heads WHERE repository_id = $1 AND reference = $2")
        .bind(repository.to_string())
        .bind(reference)
        .execute(conn)
        .await?;
    Ok(())
}
