//! The operator's identity API, from the pod's side. Only the operator's own CA is trusted.

use crate::backoff::{doubling, jitter};
use dayfly_keys::random;
use dayfly_wire::event::TaskResult;
use dayfly_wire::identity::{Accepted, Claim, ClaimedIdentity, Finished, Refusal, Termination};
use dayfly_wire::ids::RequestId;
use dayfly_wire::secret::SecretText;
use futures::StreamExt;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use zeroize::Zeroizing;

/// How long a claim is tried: an operator that starts anew must become the leader first.
const CLAIM_LIMIT: Duration = Duration::from_secs(180);
/// How long the news of listening and of a job is tried.
const NEWS_LIMIT: Duration = Duration::from_secs(120);
/// How long the pod's end waits for its news.
const FINISHED_LIMIT: Duration = Duration::from_secs(5);
/// How long an answer why the job container ended is waited for.
const TERMINATION_LIMIT: Duration = Duration::from_secs(5);
const CALL_LIMIT: Duration = Duration::from_secs(10);
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const MAX_ANSWER: usize = 1 << 20;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    /// The operator said no.
    #[error("the operator refused the claim with status {status}: {message}")]
    Refused {
        /// The status.
        status: u16,
        /// Its reason.
        message: String,
    },
    /// No answer, or only requests to wait.
    #[error("failed to reach the operator in {} s: {problem}", CLAIM_LIMIT.as_secs())]
    Unreachable {
        /// The last problem.
        problem: String,
    },
    /// The pod's own token is not there.
    #[error("failed to read the pod's token from {}", path.display())]
    Token {
        /// Where it should be.
        path: PathBuf,
        /// Why it is not.
        source: std::io::Error,
    },
}

/// How one call ends when it does not succeed.
enum Failure {
    Refused { status: u16, message: String },
    Again(String),
}

/// A client of one operator.
pub(crate) struct Operator {
    http: reqwest::Client,
    base: String,
}

impl Operator {
    /// Makes the client; without a CA it trusts nobody.
    pub(crate) fn new(url: &str, ca: Option<&str>) -> Result<Self, reqwest::Error> {
        let certificates =
            reqwest::Certificate::from_pem_bundle(ca.unwrap_or_default().as_bytes())?;
        let http = reqwest::Client::builder()
            .tls_certs_only(certificates)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(CALL_LIMIT)
            .user_agent(super::user_agent())
            .build()?;
        Ok(Self {
            http,
            base: url.trim_end_matches('/').to_owned(),
        })
    }

    /// Claims the identity; the same nonce on every try, so that a lost answer can be asked for again.
    pub(crate) async fn claim(
        &self,
        identity: &str,
        token_file: &Path,
    ) -> Result<ClaimedIdentity, ClaimError> {
        let claim = Claim {
            identity: identity.to_owned(),
            nonce: random::base32_name(32),
        };
        let deadline = Instant::now() + CLAIM_LIMIT;
        let mut attempt = 0;
        loop {
            let token = read_token(token_file)?;
            let problem = match self
                .call(Method::POST, "/v1/claim", &token, Some(&claim))
                .await
            {
                Ok(body) => match serde_json::from_slice(&body) {
                    Ok(identity) => return Ok(identity),
                    Err(error) => format!("its answer is no identity (column {})", error.column()),
                },
                Err(Failure::Refused { status, message }) => {
                    return Err(ClaimError::Refused { status, message });
                }
                Err(Failure::Again(problem)) => problem,
            };
            if Instant::now() >= deadline {
                return Err(ClaimError::Unreachable { problem });
            }
            tracing::debug!(problem, attempt, "claiming again");
            sleep(doubling(FIRST_WAIT, LONGEST_WAIT, attempt, jitter())).await;
            attempt += 1;
        }
    }

    async fn call<B: Serialize + Sync>(
        &self,
        method: Method,
        path: &str,
        token: &SecretText,
        body: Option<&B>,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(token.expose());
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| again(&error))?;
        let status = response.status();
        let body = bounded(response).await?;
        if status.is_success() {
            return Ok(body);
        }
        let message = serde_json::from_slice::<Refusal>(&body).map_or_else(
            |_| "(no reason given)".to_owned(),
            |refusal| refusal.message,
        );
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return Err(Failure::Again(format!(
                "status {}: {message}",
                status.as_u16()
            )));
        }
        Err(Failure::Refused {
            status: status.as_u16(),
            message,
        })
    }
}

fn read_token(path: &Path) -> Result<SecretText, ClaimError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(SecretText::new(text.trim().to_owned())),
        Err(source) => Err(ClaimError::Token {
            path: path.to_owned(),
            source,
        }),
    }
}

async fn bounded(response: reqwest::Response) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut stream = response.bytes_stream();
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| again(&error))?;
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Failure::Again("its answer is too long".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost cause; what is around it repeats the URL.
fn again(error: &reqwest::Error) -> Failure {
    let mut source: &dyn std::error::Error = error;
    while let Some(next) = source.source() {
        source = next;
    }
    Failure::Again(source.to_string())
}

/// What the operator is told after the claim. News that does not arrive costs the operator a look of its own, not
/// the agent its job.
pub(crate) struct Callbacks {
    operator: Operator,
    token: SecretText,
}

impl Callbacks {
    pub(crate) fn new(operator: Operator, token: SecretText) -> Self {
        Self { operator, token }
    }

    /// The session is open.
    pub(crate) async fn listening(self: Arc<Self>) {
        self.post("/v1/listening", None::<&()>, NEWS_LIMIT).await;
    }

    /// A job was taken; returns when the operator has answered, or cannot.
    pub(crate) async fn accepted(&self, request_id: RequestId) {
        let body = Accepted { request_id };
        self.post("/v1/accepted", Some(&body), NEWS_LIMIT).await;
    }

    /// The agent is about to exit.
    pub(crate) async fn finished(&self, result: Option<TaskResult>) {
        self.post("/v1/finished", Some(&Finished { result }), FINISHED_LIMIT)
            .await;
    }

    /// Why the job container ended; `None` when nobody knows in time.
    pub(crate) async fn termination(&self) -> Option<String> {
        let ask = async {
            loop {
                let answer = self
                    .operator
                    .call(Method::GET, "/v1/termination", &self.token, None::<&()>)
                    .await;
                match answer {
                    // Empty: the kubelet has not noticed yet.
                    Ok(body) if body.is_empty() => {}
                    Ok(body) => return serde_json::from_slice(&body).ok(),
                    Err(Failure::Refused { .. }) => return None,
                    Err(Failure::Again(_)) => {}
                }
                sleep(Duration::from_millis(250)).await;
            }
        };
        let termination: Termination = timeout(TERMINATION_LIMIT, ask).await.ok()??;
        Some(describe(&termination))
    }

    async fn post<B: Serialize + Sync>(&self, path: &str, body: Option<&B>, limit: Duration) {
        let tries = async {
            let mut attempt = 0;
            loop {
                match self
                    .operator
                    .call(Method::POST, path, &self.token, body)
                    .await
                {
                    Ok(_) => return,
                    Err(Failure::Refused { status, message }) => {
                        tracing::warn!(path, status, message, "the operator refused the news");
                        return;
                    }
                    Err(Failure::Again(problem)) => {
                        tracing::debug!(path, problem, "telling the operator again");
                    }
                }
                sleep(doubling(FIRST_WAIT, LONGEST_WAIT, attempt, jitter())).await;
                attempt += 1;
            }
        };
        if timeout(limit, tries).await.is_err() {
            tracing::warn!(path, "failed to tell the operator in time");
        }
    }
}

/// For the job's issue.
fn describe(termination: &Termination) -> String {
    let Termination {
        reason,
        exit_code,
        memory_limit,
    } = termination;
    let limit = memory_limit
        .as_ref()
        .map(|limit| format!(", memory limit {limit}"))
        .unwrap_or_default();
    format!("{reason}, exit code {exit_code}{limit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_out_of_memory_kill_names_the_limit() {
        let termination = Termination {
            reason: "OOMKilled".to_owned(),
            exit_code: 137,
            memory_limit: Some("512Mi".to_owned()),
        };
        assert_eq!(
            describe(&termination),
            "OOMKilled, exit code 137, memory limit 512Mi"
        );
    }
}
