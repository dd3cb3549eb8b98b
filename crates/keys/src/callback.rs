//! The token with which a claimed agent calls the operator back: bound to one identity in one pod.
//!
//! It survives a restart of the operator, because its keys derive from the sealing keys.

use crate::encoding::{from_base64_url, to_base64_url};
use aws_lc_rs::hmac;
use dayfly_wire::secret::SecretText;
use zeroize::Zeroizing;

/// What a checked callback token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// The identity's name.
    pub identity: String,
    /// The uid of the pod that claimed it.
    pub pod_uid: String,
}

/// Issues with the newest key, verifies with all.
pub struct CallbackKeys {
    keys: Vec<hmac::Key>,
}

impl CallbackKeys {
    pub(crate) fn new(keys: &[Zeroizing<[u8; 32]>]) -> Self {
        let keys = keys
            .iter()
            .map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()));
        Self {
            keys: keys.collect(),
        }
    }

    /// The token of an identity in a pod; `None` only without a key.
    pub fn issue(&self, identity: &str, pod_uid: &str) -> Option<SecretText> {
        let mac = hmac::sign(self.keys.last()?, &message(identity, pod_uid));
        let text = format!("{identity}:{pod_uid}:{}", to_base64_url(mac.as_ref()));
        Some(SecretText::new(text))
    }

    /// Whose token this is; `None` when it is nobody's. Compares in constant time.
    pub fn verify(&self, token: &str) -> Option<Callback> {
        let mut parts = token.splitn(3, ':');
        let (identity, pod_uid) = (parts.next()?, parts.next()?);
        let mac = from_base64_url(parts.next()?).ok()?;
        let message = message(identity, pod_uid);
        self.keys
            .iter()
            .any(|key| hmac::verify(key, &message, &mac).is_ok())
            .then(|| Callback {
                identity: identity.to_owned(),
                pod_uid: pod_uid.to_owned(),
            })
    }
}

fn message(identity: &str, pod_uid: &str) -> Vec<u8> {
    serde_json::json!([identity, pod_uid])
        .to_string()
        .into_bytes()
}
