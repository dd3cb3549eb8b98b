//! The keys of other issuers, fetched from where their discovery documents say: bounded, timed, and kept for a while.

use crate::rules::principal::Trust;
use dayfly_keys::cluster_token::{ClusterKeys, ClusterTokenError};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex as Short, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex;

/// How long an issuer may take for each of the two documents.
const CALL: Duration = Duration::from_secs(10);
/// The largest document that is read.
const MAX_DOCUMENT: usize = 1024 * 1024;
/// How long keys are believed in.
const FRESH: SignedDuration = SignedDuration::from_hours(1);
/// How long they are when the issuer cannot be reached.
const STALE: SignedDuration = SignedDuration::from_hours(24);
/// An issuer is asked at most so often, whatever tokens come.
const PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// Issuers that are remembered; each is one that an administrator named.
const ISSUERS: usize = 256;

/// Why an issuer's keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// It did not answer.
    #[error("failed to ask {url}: {source}")]
    Call {
        /// What was asked.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// It answered something else.
    #[error("failed to read {url}: {reason}")]
    Answer {
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The certificates that it is to be believed by are none.
    #[error("failed to read the CA bundle of {0}")]
    CaBundle(String),
    /// It was asked a moment ago, in vain.
    #[error("asked {0} a moment ago, in vain")]
    Paused(String),
}

/// Other issuers and their keys.
#[derive(Default)]
pub struct Issuers {
    known: Short<HashMap<Trust, Arc<Mutex<Known>>>>,
}

#[derive(Default)]
struct Known {
    keys: Option<(Arc<ClusterKeys>, Timestamp)>,
    asked_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Issuers {
    /// Checks a token against what a trust asks for. An issuer whose keys do not include the token's is asked again.
    pub async fn verify(
        &self,
        trust: &Trust,
        token: &str,
        now: Timestamp,
    ) -> Result<Result<(), ClusterTokenError>, IssuerError> {
        let known = self.known(trust);
        // Held over the call, so that an issuer is asked once however many wait for its keys.
        let mut known = known.lock().await;
        let verify = |keys: &ClusterKeys| {
            keys.verify_subject(token, &trust.issuer, &trust.subject, &trust.audience, now)
        };
        let verified = verify(&*known.current(trust, now).await?);
        if verified == Err(ClusterTokenError::UnknownKey) && known.may_ask(now) {
            known.ask(trust, now).await?;
            return Ok(verify(&*known.current(trust, now).await?));
        }
        Ok(verified)
    }

    fn known(&self, trust: &Trust) -> Arc<Mutex<Known>> {
        // What is fetched depends on the issuer alone, and on how it is reached.
        let key = Trust {
            subject: String::new(),
            audience: String::new(),
            ..trust.clone()
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= ISSUERS && !known.contains_key(&key) {
            known.clear();
        }
        Arc::clone(known.entry(key).or_default())
    }
}

impl Known {
    fn may_ask(&self, now: Timestamp) -> bool {
        self.asked_at
            .is_none_or(|then| now.duration_since(then) >= PAUSE)
    }

    /// Keys that are fresh, or as fresh as can be had.
    async fn current(
        &mut self,
        trust: &Trust,
        now: Timestamp,
    ) -> Result<Arc<ClusterKeys>, IssuerError> {
        if let Some(keys) = self.younger_than(FRESH, now) {
            return Ok(keys);
        }
        let asked = if self.may_ask(now) {
            self.ask(trust, now).await
        } else {
            Err(IssuerError::Paused(trust.issuer.clone()))
        };
        match asked {
            Ok(()) => self
                .younger_than(FRESH, now)
                .ok_or_else(|| IssuerError::Paused(trust.issuer.clone())),
            Err(error) => match self.younger_than(STALE, now) {
                Some(keys) => {
                    tracing::warn!(%error, "kept an issuer's keys that were fetched before");
                    Ok(keys)
                }
                None => Err(error),
            },
        }
    }

    fn younger_than(&self, age: SignedDuration, now: Timestamp) -> Option<Arc<ClusterKeys>> {
        let (keys, fetched_at) = self.keys.as_ref()?;
        (now.duration_since(*fetched_at) < age).then(|| Arc::clone(keys))
    }

    async fn ask(&mut self, trust: &Trust, now: Timestamp) -> Result<(), IssuerError> {
        self.asked_at = Some(now);
        let keys = fetch(trust).await?;
        self.keys = Some((Arc::new(keys), now));
        Ok(())
    }
}

async fn fetch(trust: &Trust) -> Result<ClusterKeys, IssuerError> {
    let client = client(trust)?;
    let url = format!(
        "{}/.well-known/openid-configuration",
        trust.issuer.trim_end_matches('/')
    );
    let answer = |reason: &str, url: &str| IssuerError::Answer {
        url: url.to_owned(),
        reason: reason.to_owned(),
    };
    let discovery: Discovery = serde_json::from_str(&read(&client, &url).await?)
        .map_err(|_| answer("it is no discovery document", &url))?;
    if discovery.issuer != trust.issuer {
        return Err(answer("it is about another issuer", &url));
    }
    let keys = read(&client, &discovery.jwks_uri).await?;
    ClusterKeys::from_jwks(&keys).map_err(|_| answer("it is no key set", &discovery.jwks_uri))
}

fn client(trust: &Trust) -> Result<reqwest::Client, IssuerError> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .https_only(!trust.allow_http)
        .timeout(CALL)
        .user_agent(concat!("dayfly-pool/", env!("CARGO_PKG_VERSION")));
    if let Some(pem) = &trust.ca_bundle {
        let certificates = reqwest::Certificate::from_pem_bundle(pem.as_bytes());
        let certificates = certificates.ok().filter(|found| !found.is_empty());
        let certificates =
            certificates.ok_or_else(|| IssuerError::CaBundle(trust.issuer.clone()))?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|source| IssuerError::Call {
        url: trust.issuer.clone(),
        source,
    })
}

async fn read(client: &reqwest::Client, url: &str) -> Result<String, IssuerError> {
    let call = |source| IssuerError::Call {
        url: url.to_owned(),
        source,
    };
    let answer = |reason: String| IssuerError::Answer {
        url: url.to_owned(),
        reason,
    };
    let mut response = client.get(url).send().await.map_err(call)?;
    if !response.status().is_success() {
        return Err(answer(format!("it answered {}", response.status())));
    }
    let mut text = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(call)? {
        if text.len() + piece.len() > MAX_DOCUMENT {
            return Err(answer(format!("it is longer than {MAX_DOCUMENT} bytes")));
        }
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).map_err(|_| answer("it is no text".to_owned()))
}
