//! Whether a claim's token is one of this cluster: by the cluster's key set first, by a TokenReview then.

use super::decision::ClaimRefusal;
use crate::clock;
use dayfly_keys::cluster_token::{ClusterClaims, ClusterKeys, ClusterTokenError};
use dayfly_wire::identity::AUDIENCE;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use std::sync::Arc;
use tokio::sync::Mutex;

/// How often the key set is read at most: a token with an unknown key must not make the operator busy.
const REFETCH: SignedDuration = SignedDuration::from_secs(10);

/// Checks tokens.
pub struct TokenChecker {
    kube: Client,
    keys: Mutex<Option<(Arc<ClusterKeys>, Timestamp)>>,
}

impl TokenChecker {
    /// Checks against this cluster.
    pub fn new(kube: Client) -> Self {
        Self {
            kube,
            keys: Mutex::new(None),
        }
    }

    /// Signature, time and audience, by the key set alone: nothing is spent on a forged token.
    ///
    /// # Errors
    /// The token is refused, or the key set cannot be read now.
    pub async fn local(&self, token: &str) -> Result<ClusterClaims, ClaimRefusal> {
        let now = clock::now();
        let keys = self.key_set(now, false).await?;
        match keys.verify(token, AUDIENCE, now) {
            Err(ClusterTokenError::UnknownKey) => {
                let keys = self.key_set(now, true).await?;
                keys.verify(token, AUDIENCE, now)
                    .map_err(|error| refused(&error))
            }
            other => other.map_err(|error| refused(&error)),
        }
    }

    /// Whether the API server still stands by the token: its pod and service account are there.
    ///
    /// # Errors
    /// The token is refused, or the API server does not answer.
    pub async fn review(&self, token: &str, claims: &ClusterClaims) -> Result<(), ClaimRefusal> {
        let api: Api<TokenReview> = Api::all(self.kube.clone());
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        let answer = api
            .create(&PostParams::default(), &review)
            .await
            .map_err(|error| {
                tracing::warn!(%error, "failed to have a token reviewed");
                ClaimRefusal::NotReady
            })?;
        let status = answer.status.unwrap_or_default();
        let ours = status
            .audiences
            .iter()
            .flatten()
            .any(|audience| audience == AUDIENCE);
        if status.authenticated != Some(true) || !ours {
            return Err(ClaimRefusal::Token);
        }
        let user = status.user.unwrap_or_default();
        let expected = format!(
            "system:serviceaccount:{}:{}",
            claims.namespace, claims.service_account
        );
        let extra = |key: &str| {
            let values = user.extra.as_ref().and_then(|extra| extra.get(key));
            values
                .and_then(|values| values.first())
                .cloned()
                .unwrap_or_default()
        };
        let same = user.username.as_deref() == Some(expected.as_str())
            && extra("authentication.kubernetes.io/pod-name") == claims.pod_name
            && extra("authentication.kubernetes.io/pod-uid") == claims.pod_uid;
        if same {
            Ok(())
        } else {
            Err(ClaimRefusal::WrongPod)
        }
    }

    async fn key_set(&self, now: Timestamp, fresh: bool) -> Result<Arc<ClusterKeys>, ClaimRefusal> {
        // One reader at a time; the others take what it read.
        let mut kept = self.keys.lock().await;
        if let Some((keys, at)) = &*kept
            && (!fresh || now.duration_since(*at) < REFETCH)
        {
            return Ok(Arc::clone(keys));
        }
        let read = self.read().await.map_err(|error| {
            tracing::warn!(error, "failed to read the cluster's key set");
            ClaimRefusal::NotReady
        })?;
        let keys = Arc::new(read);
        *kept = Some((Arc::clone(&keys), now));
        Ok(keys)
    }

    async fn read(&self) -> Result<ClusterKeys, String> {
        let request = http::Request::get("/openid/v1/jwks")
            .body(Vec::new())
            .map_err(|error| error.to_string())?;
        let text = self
            .kube
            .request_text(request)
            .await
            .map_err(|error| error.to_string())?;
        ClusterKeys::from_jwks(&text).map_err(|error| error.to_string())
    }
}

fn refused(error: &ClusterTokenError) -> ClaimRefusal {
    tracing::debug!(%error, "a token was refused");
    match error {
        ClusterTokenError::NotBound => ClaimRefusal::WrongPod,
        ClusterTokenError::KeySet => ClaimRefusal::NotReady,
        _ => ClaimRefusal::Token,
    }
}
