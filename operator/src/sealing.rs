//! The sealing keys: Secret `dayfly-sealing`, made at first start, read again from time to time.

use crate::names;
use dayfly_keys::callback::CallbackKeys;
use dayfly_keys::random;
use dayfly_keys::sealing::{SealError, SealingKey, SealingKeys};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Data keys of sealing keys: this, a number with which they sort, and the key's id.
const PREFIX: &str = "key-";
/// The data key of the installation's id, the first part of owner marks.
const CLUSTER: &str = "cluster-id";

/// Why the sealing keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// The API server refused.
    #[error("failed to read or write Secret dayfly-sealing: {0}")]
    Kube(#[from] kube::Error),
    /// The Secret's content is not what was written.
    #[error(
        "failed to read Secret dayfly-sealing: {0}; restore it from a backup, or delete it to start afresh (all agents are replaced)"
    )]
    Content(&'static str),
    /// The keys cannot be used.
    #[error("failed to use the sealing keys: {0}")]
    Seal(#[from] SealError),
}

/// The keys that are in use, replaced as a whole when the Secret changes.
pub struct Sealing {
    current: RwLock<Arc<Keys>>,
    /// The installation's id.
    pub cluster: String,
}

/// One state of the Secret.
pub struct Keys {
    /// Seal and open.
    pub sealing: SealingKeys,
    /// Issue and verify.
    pub callback: CallbackKeys,
}

impl Sealing {
    /// Reads the Secret; makes it when there is none.
    ///
    /// # Errors
    /// It cannot be read or made.
    pub async fn load(client: &Client, namespace: &str) -> Result<Self, SealingError> {
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let secret = match api.get_opt(names::SEALING_SECRET).await? {
            Some(secret) => secret,
            None => create(&api).await?,
        };
        let cluster = secret
            .data
            .as_ref()
            .and_then(|data| data.get(CLUSTER))
            .and_then(|bytes| String::from_utf8(bytes.0.clone()).ok())
            .ok_or(SealingError::Content("it holds no cluster-id"))?;
        Ok(Self {
            current: RwLock::new(Arc::new(keys(&secret)?)),
            cluster,
        })
    }

    /// The keys now.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the Secret again: a key may have been added.
    ///
    /// # Errors
    /// It cannot be read; the keys stay what they were.
    pub async fn reload(&self, client: &Client, namespace: &str) -> Result<(), SealingError> {
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let fresh = keys(&api.get(names::SEALING_SECRET).await?)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(())
    }
}

/// Adds a key. Returns its id and how many there are.
///
/// # Errors
/// The Secret cannot be read or written.
pub async fn rotate(client: &Client, namespace: &str) -> Result<(String, usize), SealingError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut secret = api.get(names::SEALING_SECRET).await?;
    let data = secret.data.get_or_insert_default();
    let last = data
        .keys()
        .filter_map(|name| sequence(name))
        .max()
        .unwrap_or(0);
    let key = SealingKey::generate();
    let id = key.id().to_owned();
    insert(data, last + 1, &key);
    let count = data.keys().filter(|name| sequence(name).is_some()).count();
    // The resource version in the object makes a concurrent rotation a conflict.
    api.replace(names::SEALING_SECRET, &PostParams::default(), &secret)
        .await?;
    Ok((id, count))
}

async fn create(api: &Api<Secret>) -> Result<Secret, SealingError> {
    let mut data = BTreeMap::new();
    insert(&mut data, 1, &SealingKey::generate());
    data.insert(
        CLUSTER.to_owned(),
        ByteString(random::base32_name(16).into_bytes()),
    );
    let labels = [(names::MANAGED_BY.to_owned(), names::DAYFLY.to_owned())];
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(names::SEALING_SECRET.to_owned()),
            labels: Some(labels.into()),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..Secret::default()
    };
    match api.create(&PostParams::default(), &secret).await {
        Ok(secret) => {
            tracing::info!(secret = names::SEALING_SECRET, "made the first sealing key");
            Ok(secret)
        }
        // Another process was faster.
        Err(kube::Error::Api(status)) if status.code == 409 => {
            Ok(api.get(names::SEALING_SECRET).await?)
        }
        Err(error) => Err(error.into()),
    }
}

fn insert(data: &mut BTreeMap<String, ByteString>, number: u32, key: &SealingKey) {
    let name = format!("{PREFIX}{number:06}-{}", key.id());
    data.insert(name, ByteString(key.to_bytes().to_vec()));
}

fn sequence(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// Oldest first: the data keys sort by their number.
fn keys(secret: &Secret) -> Result<Keys, SealingError> {
    let mut keys = Vec::new();
    for (name, bytes) in secret.data.iter().flatten() {
        let Some(id) = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('-'))
            .map(|(_, id)| id)
        else {
            continue;
        };
        keys.push(SealingKey::from_bytes(id, &bytes.0)?);
    }
    if keys.is_empty() {
        return Err(SealingError::Content("it holds no key"));
    }
    let sealing = SealingKeys::new(keys)?;
    Ok(Keys {
        callback: sealing.callback_keys()?,
        sealing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dayfly_keys::sealing::SealHeader;
    use dayfly_wire::ids::AgentId;

    #[test]
    fn the_newest_key_seals_and_the_old_ones_open() {
        let header = SealHeader {
            agent_id: AgentId(7),
            namespace: "ci".to_owned(),
            name: "linux-a".to_owned(),
            pool_uid: "u-1".to_owned(),
        };
        let mut data = BTreeMap::new();
        insert(&mut data, 1, &SealingKey::generate());
        let secret = |data: &BTreeMap<String, ByteString>| Secret {
            data: Some(data.clone()),
            ..Secret::default()
        };
        let old = keys(&secret(&data))
            .unwrap()
            .sealing
            .seal(&header, b"key")
            .unwrap();
        let added = SealingKey::generate();
        insert(&mut data, 2, &added);
        let both = keys(&secret(&data)).unwrap();
        assert_eq!(both.sealing.open(&old).unwrap().0, header);
        let new = String::from_utf8(both.sealing.seal(&header, b"key").unwrap()).unwrap();
        assert!(new.contains(added.id()));
    }

    #[test]
    fn a_secret_without_a_key_is_named() {
        let error = keys(&Secret::default()).err().unwrap().to_string();
        assert!(
            error.contains("dayfly-sealing") && error.contains("no key"),
            "{error}"
        );
    }
}
