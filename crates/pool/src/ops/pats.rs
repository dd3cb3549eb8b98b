//! Personal access tokens. They are made on the machine itself, beside the running service; no route makes one.

use crate::rules::access::Scopes;
use crate::rules::entities::Pat;
use crate::rules::refusal::Refusal;
use crate::service::Failure;
use crate::store::{Store, pats};
use dayfly_wire::secret::SecretText;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// Makes a token; it is shown this once.
pub async fn create(
    store: &Store,
    name: &str,
    scopes: &Scopes,
    life: Option<SignedDuration>,
    now: Timestamp,
) -> Result<SecretText, Failure> {
    if name.trim().is_empty() {
        return Err(Refusal::invalid("a token needs a name, to be recognised by").into());
    }
    let expires_at = life
        .map(|life| now.checked_add(life))
        .transpose()
        .map_err(|_| Refusal::invalid("the token would live too long"))?;
    let token = dayfly_keys::pat::generate();
    let pat = Pat {
        id: Uuid::new_v4(),
        name: name.trim().to_owned(),
        scopes: scopes.to_string(),
        created_at: now,
        expires_at,
        revoked_at: None,
    };
    let mut unit = store.write().await?;
    pats::insert(&mut unit, &pat, &dayfly_keys::pat::hash(token.expose())).await?;
    unit.commit().await?;
    Ok(token)
}

/// All tokens, without what they are.
pub async fn list(store: &Store) -> Result<Vec<Pat>, Failure> {
    let mut conn = store.read().await?;
    Ok(pats::all(&mut conn).await?)
}

/// Revokes every token that has this name or id; answers how many.
pub async fn revoke(store: &Store, name_or_id: &str, now: Timestamp) -> Result<usize, Failure> {
    let mut unit = store.write().await?;
    let mut revoked = 0;
    for pat in pats::all(&mut unit).await? {
        if (pat.name == name_or_id || pat.id.to_string() == name_or_id)
            && pats::revoke(&mut unit, pat.id, now).await?
        {
            revoked += 1;
        }
    }
    unit.commit().await?;
    Ok(revoked)
}
