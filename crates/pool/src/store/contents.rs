//! What stored content is named by.

use super::StoreError;
use super::dialect::{Conn, query_scalar};

/// Whether anything names this content.
pub async fn is_named(conn: &mut Conn, hash: &str) -> Result<bool, StoreError> {
    let found: i64 = query_scalar(
        "SELECT (SELECT COUNT(*) FROM attachments WHERE hash = $1) \
         + (SELECT COUNT(*) FROM tasks WHERE hash = $1) \
         + (SELECT COUNT(*) FROM container_files WHERE hash = $1)",
    )
    .bind(hash)
    .fetch_one(conn)
    .await?;
    Ok(found > 0)
}
