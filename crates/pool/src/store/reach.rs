//! How far the tokens of a pipeline's jobs reach.

use super::StoreError;
use super::dialect::{Conn, Row, column, query, truth};
use crate::rules::reach::Reach;
use dayfly_wire::ids::DefinitionId;

/// The setting of a pipeline.
pub async fn of(conn: &mut Conn, definition: DefinitionId) -> Result<Reach, StoreError> {
    let row: Row =
        query("SELECT token_scope, token_pushes, token_scripts FROM definitions WHERE id = $1")
            .bind(definition.0)
            .fetch_one(conn)
            .await?;
    let scope: String = column(&row, "token_scope")?;
    Ok(Reach {
        scope: scope.parse().map_err(|_| StoreError::Malformed {
            what: "scope of a pipeline's tokens",
        })?,
        pushes: truth(&row, "token_pushes")?,
        scripts: truth(&row, "token_scripts")?,
    })
}

/// Changes the setting of a pipeline.
pub async fn set(
    conn: &mut Conn,
    definition: DefinitionId,
    reach: Reach,
) -> Result<(), StoreError> {
    query(
        "UPDATE definitions SET token_scope = $2, token_pushes = $3, token_scripts = $4 \
         WHERE id = $1",
    )
    .bind(definition.0)
    .bind(reach.scope.as_str())
    .bind(i64::from(reach.pushes))
    .bind(i64::from(reach.scripts))
    .execute(conn)
    .await?;
    Ok(())
}
