//! The sealed Secret of an identity, in the identities namespace.

use crate::names;
use crate::pool::validate::{ValidPool, ValidTemplate};
use dayfly_wire::ids::{ClientId, PoolId};
use dayfly_wire::secret::SecretText;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

/// What is sealed: the key, and what an agent needs beside it that the service said at registration.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealedIdentity {
    /// Base64 of the PKCS#8 private key.
    pub private_key: SecretText,
    /// Issuer and subject of the agent's assertions.
    pub client_id: ClientId,
    /// Their audience.
    pub authorization_url: String,
    /// The pool.
    pub pool_id: PoolId,
}

/// The Secret; its content is sealed, its labels say whose it is.
pub fn secret(
    pool: &ValidPool,
    template: &ValidTemplate,
    identity: &str,
    sealed: Vec<u8>,
) -> Secret {
    let labels = [
        (names::MANAGED_BY, names::DAYFLY),
        (names::NAMESPACE, &pool.namespace),
        (names::POOL, &pool.name),
        (names::POOL_UID, &pool.uid),
        (names::TEMPLATE, &template.name),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let annotations = [(
        names::IDENTITY_HASH.to_owned(),
        template.identity_hash.clone(),
    )];
    Secret {
        metadata: ObjectMeta {
            name: Some(identity.to_owned()),
            labels: Some(labels.into()),
            annotations: Some(annotations.into()),
            ..ObjectMeta::default()
        },
        type_: Some("dayfly.dev/identity".to_owned()),
        immutable: Some(true),
        data: Some([(names::SEALED_KEY.to_owned(), ByteString(sealed))].into()),
        ..Secret::default()
    }
}
