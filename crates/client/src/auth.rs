//! Who the client is, and its token.

use crate::Client;
use crate::error::Error;
use dayfly_keys::agent_key::AgentKey;
use dayfly_keys::certificate_key::CertificateKey;
use dayfly_wire::ids::ClientId;
use dayfly_wire::secret::SecretText;
use dayfly_wire::token::TokenAnswer;
use reqwest::header::HeaderValue;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;
use zeroize::Zeroizing;

/// A token of unknown lifetime is used for this long.
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(300);
/// A token that could not be renewed is used on until this long before its end.
const MARGIN: Duration = Duration::from_secs(60);
/// How long after a renewal that failed the next one is tried.
const RENEW_AGAIN: Duration = Duration::from_secs(30);

/// How a client proves who it is.
pub enum Credential {
    /// Not at all.
    Anonymous,
    /// A personal access token, sent with Basic authentication.
    Pat(SecretText),
    /// A bearer token, used as it is: a job token, for example.
    Bearer(SecretText),
    /// An agent's key, exchanged for a token when one is needed.
    Agent(AgentCredential),
    /// A service principal's proof, exchanged for a token when one is needed.
    Principal(PrincipalCredential),
}

/// An agent's key and where it is exchanged.
pub struct AgentCredential {
    /// The private key.
    pub key: Arc<AgentKey>,
    /// Issuer and subject of the assertion.
    pub client_id: ClientId,
    /// Audience of the assertion.
    pub audience: String,
    /// Where the assertion is posted.
    pub token_url: String,
}

/// A service principal, and what it proves itself with.
pub struct PrincipalCredential {
    /// Where the proof is posted; also the audience of an assertion.
    pub token_url: String,
    /// The principal.
    pub client_id: Uuid,
    /// The proof.
    pub proof: PrincipalProof,
}

/// What a service principal proves itself with.
pub enum PrincipalProof {
    /// A secret.
    Secret(SecretText),
    /// The private key of a certificate.
    Certificate(Box<CertificateKey>),
    /// What another issuer says.
    Federated(FederatedToken),
}

/// Another issuer's token in a file, which whoever gives it out replaces before it ends.
pub struct FederatedToken {
    /// The file; read for every exchange.
    pub file: PathBuf,
    /// Whom the token must be for: one that is for somebody else is not sent.
    pub audience: String,
}

pub(crate) struct Auth {
    credential: Credential,
    token: Mutex<Option<CachedToken>>,
}

struct CachedToken {
    header: HeaderValue,
    refresh_at: Instant,
    ends_at: Instant,
}

impl Auth {
    pub(crate) fn new(credential: Credential) -> Self {
        Self {
            credential,
            token: Mutex::new(None),
        }
    }

    /// Whether a 401 may be cured by another token.
    pub(crate) fn can_refresh(&self) -> bool {
        matches!(
            self.credential,
            Credential::Agent(_) | Credential::Principal(_)
        )
    }

    /// Forgets the token, so that the next call asks for another.
    pub(crate) async fn forget(&self) {
        *self.token.lock().await = None;
    }
}

impl Client {
    /// The `Authorization` header, marked sensitive.
    pub(crate) async fn authorization(&self) -> Result<Option<HeaderValue>, Error> {
        match &self.inner.auth.credential {
            Credential::Anonymous => Ok(None),
            Credential::Pat(pat) => {
                let pair = Zeroizing::new(format!(":{}", pat.expose()));
                sensitive("Basic", &base64_of(&pair)).map(Some)
            }
            Credential::Bearer(token) => sensitive("Bearer", token.expose()).map(Some),
            Credential::Agent(agent) => self.token(self.agent_token(agent)).await.map(Some),
            Credential::Principal(one) => self.token(self.principal_token(one)).await.map(Some),
        }
    }

    /// The token that is kept, or another one.
    async fn token(
        &self,
        exchange: impl Future<Output = Result<TokenAnswer, Error>>,
    ) -> Result<HeaderValue, Error> {
        // Held over the exchange on purpose: callers that come meanwhile wait for this one token.
        let mut cached = self.inner.auth.token.lock().await;
        if let Some(token) = cached
            .as_ref()
            .filter(|token| Instant::now() < token.refresh_at)
        {
            return Ok(token.header.clone());
        }
        let answer = match exchange.await {
            Ok(answer) => answer,
            Err(error) => {
                let now = Instant::now();
                let kept = cached.as_mut();
                let good = kept.filter(|kept| error.is_retryable() && now + MARGIN < kept.ends_at);
                let Some(good) = good else {
                    return Err(error);
                };
                good.refresh_at = now + RENEW_AGAIN;
                return Ok(good.header.clone());
            }
        };
        let lifetime = answer
            .expires_in
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|seconds| *seconds > 0)
            .map_or(UNKNOWN_LIFETIME, Duration::from_secs);
        let header = sensitive("Bearer", answer.access_token.expose())?;
        let now = Instant::now();
        *cached = Some(CachedToken {
            header: header.clone(),
            refresh_at: now + lifetime.mul_f64(0.8),
            ends_at: now + lifetime,
        });
        Ok(header)
    }
}

fn sensitive(scheme: &str, value: &str) -> Result<HeaderValue, Error> {
    let text = Zeroizing::new(format!("{scheme} {value}"));
    // A credential with a line break in it, for example; the value is not repeated.
    let mut header = HeaderValue::from_str(&text).map_err(|_| Error::Unauthorized(None))?;
    header.set_sensitive(true);
    Ok(header)
}

fn base64_of(text: &str) -> Zeroizing<String> {
    use base64::Engine;
    Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(text))
}
