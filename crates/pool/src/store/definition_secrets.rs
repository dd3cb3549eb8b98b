//! Secret variables of pipelines, sealed.

use super::StoreError;
use super::dialect::{Conn, column, millis, name_key, query};
use dayfly_wire::ids::DefinitionId;
use jiff::Timestamp;

/// A secret variable: its name, and its value as it is sealed.
pub struct SealedVariable {
    /// Its name, spelt as it was set last.
    pub name: String,
    /// Its value.
    pub sealed: String,
}

/// Sets a variable.
pub async fn put(
    conn: &mut Conn,
    definition: DefinitionId,
    variable: &SealedVariable,
    now: Timestamp,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO definition_secrets (definition_id, name_key, name, sealed, changed_at) \
         VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (definition_id, name_key) DO UPDATE SET name = excluded.name, \
         sealed = excluded.sealed, changed_at = excluded.changed_at",
    )
    .bind(definition.0)
    .bind(name_key(&variable.name))
    .bind(&variable.name)
    .bind(&variable.sealed)
    .bind(millis(now))
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes a variable; false when there was none.
pub async fn delete(
    conn: &mut Conn,
    definition: DefinitionId,
    name: &str,
) -> Result<bool, StoreError> {
    let deleted =
        query("DELETE FROM definition_secrets WHERE definition_id = $1 AND name_key = $2")
            .bind(definition.0)
            .bind(name_key(name))
            .execute(conn)
            .await?;
    Ok(deleted > 0)
}

/// A pipeline's variables, by name.
pub async fn all(
    conn: &mut Conn,
    definition: DefinitionId,
) -> Result<Vec<SealedVariable>, StoreError> {
    let rows = query(
        "SELECT name, sealed FROM definition_secrets WHERE definition_id = $1 ORDER BY name_key",
    )
    .bind(definition.0)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(SealedVariable {
                name: column(row, "name")?,
                sealed: column(row, "sealed")?,
            })
        })
        .collect()
}
