//! Who the client is, and its token.

use crate::Client;
use crate::error::Error;
use dayfly_keys::agent_key::AgentKey;
use dayfly_wire::ids::ClientId;
use dayfly_wire::secret::SecretText;
use dayfly_wire::token::{CLIENT_CREDENTIALS, JWT_BEARER, TokenAnswer, TokenRefusal};
use reqwest::header::HeaderValue;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The largest answer of a token endpoint, in bytes.
const MAX_TOKEN_ANSWER: usize = 64 * 1024;
/// A token of unknown lifetime is used for this long.
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(300);

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

pub(crate) struct Auth {
    credential: Credential,
    token: Mutex<Option<CachedToken>>,
}

struct CachedToken {
    header: HeaderValue,
    refresh_at: Instant,
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
        matches!(self.credential, Credential::Agent(_))
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
            Credential::Agent(agent) => self.agent_token(agent).await.map(Some),
        }
    }

    async fn agent_token(&self, agent: &AgentCredential) -> Result<HeaderValue, Error> {
        // Held over the exchange on purpose: callers that come meanwhile wait for this one token.
        let mut cached = self.inner.auth.token.lock().await;
        if let Some(token) = cached
            .as_ref()
            .filter(|token| Instant::now() < token.refresh_at)
        {
            return Ok(token.header.clone());
        }
        let answer = self.exchange(agent).await?;
        let lifetime = answer
            .expires_in
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|seconds| *seconds > 0)
            .map_or(UNKNOWN_LIFETIME, Duration::from_secs);
        let header = sensitive("Bearer", answer.access_token.expose())?;
        *cached = Some(CachedToken {
            header: header.clone(),
            refresh_at: Instant::now() + lifetime.mul_f64(0.8),
        });
        Ok(header)
    }

    async fn exchange(&self, agent: &AgentCredential) -> Result<TokenAnswer, Error> {
        let assertion = agent
            .key
            .sign_assertion(
                agent.client_id,
                &agent.audience,
                Uuid::new_v4(),
                self.inner.clock.now(),
            )
            .map_err(|_| Error::Sign)?;
        let form = [
            ("grant_type", CLIENT_CREDENTIALS),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", assertion.expose()),
        ];
        let request = self
            .inner
            .http
            .post(&agent.token_url)
            .header(reqwest::header::ACCEPT, "application/json")
            .timeout(Duration::from_secs(30))
            .form(&form);
        let response = request
            .send()
            .await
            .map_err(|error| crate::send::transport(&error))?;
        self.learn_clock(&response);
        let status = response.status();
        let body = crate::send::bounded(response, MAX_TOKEN_ANSWER).await?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| Error::Decode {
                call: "token",
                problem: crate::send::problem(&error),
            });
        }
        if status.as_u16() == 400
            && let Ok(refusal) = serde_json::from_slice::<TokenRefusal>(&body)
        {
            let text = format!("{}: {}", refusal.error, refusal.error_description);
            return Err(Error::TokenRefused(text));
        }
        Err(crate::send::failure(status, None, &body))
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
