//! The local check of a Kubernetes service-account token, before a TokenReview is spent on it.

use crate::public_key::signature_only;
use jiff::Timestamp;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 8 * 1024;

/// What a checked token says about the pod that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterClaims {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod_name: String,
    /// The pod's uid.
    pub pod_uid: String,
    /// The pod's service account.
    pub service_account: String,
    /// When the token ends.
    pub expires: Timestamp,
}

/// Why a token was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterTokenError {
    /// Not a token, or signed by nobody that this cluster knows.
    #[error("not a service-account token of this cluster")]
    Signature,
    /// Signed by a key that is not in the set: the set may be old.
    #[error("signed by a key that is not in the cluster's key set")]
    UnknownKey,
    /// Meant for somebody else.
    #[error("the token is meant for another audience")]
    Audience,
    /// Its time is over, or has not come.
    #[error("the token's time is over")]
    Expired,
    /// About somebody else, or from another issuer.
    #[error("the token is from another issuer, or about another subject")]
    Subject,
    /// Not bound to a pod.
    #[error("the token is not bound to a pod")]
    NotBound,
    /// The key set cannot be read.
    #[error("the cluster's key set cannot be read")]
    KeySet,
}

/// The cluster's public keys (`/openid/v1/jwks`).
pub struct ClusterKeys {
    keys: JwkSet,
}

#[derive(Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: Option<String>,
    pub(crate) sub: Option<String>,
    aud: OneOrMany,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<Kubernetes>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Kubernetes {
    namespace: String,
    pod: Option<Object>,
    serviceaccount: Object,
}

#[derive(Deserialize)]
struct Object {
    name: String,
    uid: String,
}

impl ClusterKeys {
    /// Reads a JSON Web Key Set.
    pub fn from_jwks(json: &str) -> Result<Self, ClusterTokenError> {
        serde_json::from_str(json)
            .map(|keys| Self { keys })
            .map_err(|_| ClusterTokenError::KeySet)
    }

    /// Checks signature, audience and time, and reads which pod the token is bound to.
    pub fn verify(
        &self,
        token: &str,
        audience: &str,
        now: Timestamp,
    ) -> Result<ClusterClaims, ClusterTokenError> {
        let claims = self.statement(token, audience, now)?;
        let kubernetes = claims.kubernetes.ok_or(ClusterTokenError::NotBound)?;
        let pod = kubernetes.pod.ok_or(ClusterTokenError::NotBound)?;
        Ok(ClusterClaims {
            namespace: kubernetes.namespace,
            pod_name: pod.name,
            pod_uid: pod.uid,
            service_account: kubernetes.serviceaccount.name,
            expires: Timestamp::from_second(claims.exp).map_err(|_| ClusterTokenError::Expired)?,
        })
    }

    /// What a token says, when it is signed by one of the keys, meant for `audience`, and valid now.
    pub(crate) fn statement(
        &self,
        token: &str,
        audience: &str,
        now: Timestamp,
    ) -> Result<Claims, ClusterTokenError> {
        let claims = self.claims(token)?;
        let is_meant = match &claims.aud {
            OneOrMany::One(one) => one == audience,
            OneOrMany::Many(many) => many.iter().any(|one| one == audience),
        };
        if !is_meant {
            return Err(ClusterTokenError::Audience);
        }
        if now.as_second() >= claims.exp || claims.nbf.is_some_and(|nbf| now.as_second() < nbf - 60)
        {
            return Err(ClusterTokenError::Expired);
        }
        Ok(claims)
    }

    fn claims(&self, token: &str) -> Result<Claims, ClusterTokenError> {
        if token.len() > MAX_TOKEN {
            return Err(ClusterTokenError::Signature);
        }
        let header =
            jsonwebtoken::decode_header(token).map_err(|_| ClusterTokenError::Signature)?;
        if !matches!(
            header.alg,
            Algorithm::RS256 | Algorithm::ES256 | Algorithm::ES384
        ) {
            return Err(ClusterTokenError::Signature);
        }
        let key = self.key(header.kid.as_deref())?;
        let key = DecodingKey::from_jwk(key).map_err(|_| ClusterTokenError::KeySet)?;
        jsonwebtoken::decode(token, &key, &signature_only(header.alg))
            .map(|decoded| decoded.claims)
            .map_err(|_| ClusterTokenError::Signature)
    }

    fn key(&self, kid: Option<&str>) -> Result<&Jwk, ClusterTokenError> {
        let kid = kid.ok_or(ClusterTokenError::Signature)?;
        self.keys.find(kid).ok_or(ClusterTokenError::UnknownKey)
    }
}
