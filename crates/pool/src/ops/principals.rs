//! Service principals. They are made beside the running service, on its database; no route makes one.

use crate::rules::access::Scopes;
use crate::rules::principal::{
    MAX_CREDENTIALS, Principal, PrincipalCredential, Proof, Trust, check_trust,
};
use crate::rules::refusal::{Kind, Refusal};
use crate::service::Failure;
use crate::store::{Store, principals};
use dayfly_wire::secret::SecretText;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// Makes a principal; it can do nothing before it has a credential.
pub async fn create(
    store: &Store,
    name: &str,
    scopes: &Scopes,
    now: Timestamp,
) -> Result<Principal, Failure> {
    let name = name.trim();
    if name.is_empty() || name.len() > 200 {
        return Err(Refusal::invalid("a principal needs a name of 1 to 200 characters").into());
    }
    let mut unit = store.write().await?;
    if principals::by_name(&mut unit, name).await?.is_some() {
        return Err(Refusal::new(
            Kind::Exists,
            format!("there is a principal {name:?} already"),
        )
        .into());
    }
    let principal = Principal {
        id: Uuid::new_v4(),
        name: name.to_owned(),
        scopes: scopes.to_string(),
        created_at: now,
        revoked_at: None,
    };
    principals::insert(&mut unit, &principal).await?;
    unit.commit().await?;
    Ok(principal)
}

/// Gives a principal a secret; it is shown this once.
pub async fn add_secret(
    store: &Store,
    name_or_id: &str,
    life: Option<SignedDuration>,
    now: Timestamp,
) -> Result<SecretText, Failure> {
    let secret = dayfly_keys::pat::generate();
    let proof = Proof::Secret {
        hash: dayfly_keys::pat::hash(secret.expose()),
    };
    add(store, name_or_id, proof, life, now).await?;
    Ok(secret)
}

/// Lets a principal prove itself with the private key of a certificate or a public key (PEM); answers the
/// credential's id.
pub async fn add_key(
    store: &Store,
    name_or_id: &str,
    pem: &[u8],
    life: Option<SignedDuration>,
    now: Timestamp,
) -> Result<Uuid, Failure> {
    let key = dayfly_keys::client_assertion::public_key_from_pem(pem)
        .map_err(|error| Refusal::invalid(error.to_string()))?;
    add(store, name_or_id, Proof::Key(key.to_wire()), life, now).await
}

/// Lets a principal prove itself with what another issuer says; answers the credential's id.
pub async fn add_trust(
    store: &Store,
    name_or_id: &str,
    trust: Trust,
    now: Timestamp,
) -> Result<Uuid, Failure> {
    check_trust(&trust)?;
    add(store, name_or_id, Proof::Federated(trust), None, now).await
}

async fn add(
    store: &Store,
    name_or_id: &str,
    proof: Proof,
    life: Option<SignedDuration>,
    now: Timestamp,
) -> Result<Uuid, Failure> {
    let expires_at = life
        .map(|life| now.checked_add(life))
        .transpose()
        .map_err(|_| Refusal::invalid("the credential would live too long"))?;
    let mut unit = store.write().await?;
    let principal = find(&mut unit, name_or_id).await?;
    let held = principals::credentials(&mut unit, principal.id).await?;
    if held.len() >= MAX_CREDENTIALS {
        return Err(Refusal::invalid(format!(
            "{:?} has {MAX_CREDENTIALS} credentials; remove one first",
            principal.name
        ))
        .into());
    }
    let credential = PrincipalCredential {
        id: Uuid::new_v4(),
        principal: principal.id,
        proof,
        created_at: now,
        expires_at,
    };
    principals::insert_credential(&mut unit, &credential).await?;
    unit.commit().await?;
    Ok(credential.id)
}

/// All principals with their credentials.
pub async fn list(store: &Store) -> Result<Vec<(Principal, Vec<PrincipalCredential>)>, Failure> {
    let mut conn = store.read().await?;
    let mut listed = Vec::new();
    for principal in principals::all(&mut conn).await? {
        let credentials = principals::credentials(&mut conn, principal.id).await?;
        listed.push((principal, credentials));
    }
    Ok(listed)
}

/// Removes a credential, and the tokens that it got with it; false when there is none with this id.
pub async fn remove_credential(store: &Store, id: Uuid) -> Result<bool, Failure> {
    let mut unit = store.write().await?;
    let removed = principals::remove_credential(&mut unit, id).await?;
    unit.commit().await?;
    Ok(removed)
}

/// Revokes a principal, and its tokens with it.
pub async fn revoke(store: &Store, name_or_id: &str, now: Timestamp) -> Result<(), Failure> {
    let mut unit = store.write().await?;
    let principal = find(&mut unit, name_or_id).await?;
    principals::revoke(&mut unit, principal.id, now).await?;
    unit.commit().await?;
    Ok(())
}

async fn find(
    conn: &mut crate::store::dialect::Conn,
    name_or_id: &str,
) -> Result<Principal, Failure> {
    let found = match name_or_id.parse() {
        Ok(id) => principals::by_id(conn, id).await?,
        Err(_) => principals::by_name(conn, name_or_id).await?,
    };
    let found = found.filter(|principal| principal.revoked_at.is_none());
    Ok(found.ok_or_else(|| {
        Refusal::new(
            Kind::NotFound,
            format!("there is no principal {name_or_id:?}"),
        )
    })?)
}
