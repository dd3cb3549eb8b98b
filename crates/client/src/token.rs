//! Asking for a token: an agent with its key, a service principal with whatever it has.

use crate::auth::{AgentCredential, FederatedToken, PrincipalCredential, PrincipalProof};
use crate::error::Error;
use crate::{Client, send};
use dayfly_keys::client_assertion::claimed_audiences;
use dayfly_wire::secret::SecretText;
use dayfly_wire::token::{CLIENT_CREDENTIALS, JWT_BEARER, TokenAnswer, TokenRefusal};
use reqwest::StatusCode;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The largest answer of a token endpoint, in bytes.
const MAX_TOKEN_ANSWER: usize = 64 * 1024;
/// How long a token endpoint may take.
const TOKEN_LIMIT: Duration = Duration::from_secs(30);
/// The largest federated token, in bytes.
const MAX_FEDERATED: u64 = 16 * 1024;
/// What is asked for: the resource is Azure DevOps, by the id that it has in every tenant.
const SCOPE: &str = "499b84ac-1321-427f-aa17-267ca6975798/.default";
/// The form's field for an assertion.
const ASSERTION: &str = "client_assertion";
/// What is kept of a refusal's text, in characters.
const MAX_REASON: usize = 400;

/// How a token endpoint answered.
enum Answered {
    Token(TokenAnswer),
    Refused(StatusCode, TokenRefusal),
    Failed(Error),
}

impl Client {
    pub(crate) async fn agent_token(&self, agent: &AgentCredential) -> Result<TokenAnswer, Error> {
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
            (ASSERTION, assertion.expose()),
        ];
        match self.ask(&agent.token_url, &form).await? {
            Answered::Token(answer) => Ok(answer),
            Answered::Refused(StatusCode::BAD_REQUEST, refusal) => Err(Error::TokenRefused(
                format!("{}: {}", refusal.error, refusal.error_description),
            )),
            Answered::Refused(status, _) => Err(send::failure(status, None, &[])),
            Answered::Failed(error) => Err(error),
        }
    }

    pub(crate) async fn principal_token(
        &self,
        principal: &PrincipalCredential,
    ) -> Result<TokenAnswer, Error> {
        let client = principal.client_id.to_string();
        let (name, proof) = match &principal.proof {
            PrincipalProof::Secret(secret) => ("client_secret", secret.duplicate()),
            PrincipalProof::Certificate(key) => {
                let (url, now) = (&principal.token_url, self.inner.clock.now());
                let signed = key.sign_assertion(principal.client_id, url, Uuid::new_v4(), now);
                (ASSERTION, signed.map_err(|_| Error::Sign)?)
            }
            PrincipalProof::Federated(token) => (ASSERTION, read(token).await?),
        };
        let mut form = vec![
            ("grant_type", CLIENT_CREDENTIALS),
            ("scope", SCOPE),
            ("client_id", &client),
            (name, proof.expose()),
        ];
        if name == ASSERTION {
            form.push(("client_assertion_type", JWT_BEARER));
        }
        match self.ask(&principal.token_url, &form).await? {
            Answered::Token(answer) => Ok(answer),
            Answered::Refused(status, refusal) if status.is_client_error() => {
                Err(Error::CredentialRefused(reason(&refusal, &proof)))
            }
            Answered::Refused(status, _) => Err(send::failure(status, None, &[])),
            // Whatever answers a proof like this is not the endpoint of this principal.
            Answered::Failed(
                error @ (Error::Unauthorized(_)
                | Error::Forbidden(_)
                | Error::NotFound(_)
                | Error::Conflict(_)
                | Error::Refused { .. }),
            ) => Err(Error::CredentialRefused(error.to_string())),
            Answered::Failed(error) => Err(error),
        }
    }

    async fn ask(&self, url: &str, form: &[(&str, &str)]) -> Result<Answered, Error> {
        let request = self
            .inner
            .http
            .post(url)
            .header(reqwest::header::ACCEPT, "application/json")
            .timeout(TOKEN_LIMIT.min(self.inner.longest_call))
            .form(form);
        let response = request
            .send()
            .await
            .map_err(|error| send::transport(&error))?;
        self.learn_clock(&response);
        let status = response.status();
        let after = send::retry_after(response.headers());
        let body = send::bounded(response, MAX_TOKEN_ANSWER).await?;
        if status.is_success() {
            let answer = serde_json::from_slice(&body).map_err(|error| Error::Decode {
                call: "token",
                problem: send::problem(&error),
            });
            return answer.map(Answered::Token);
        }
        if matches!(status.as_u16(), 408 | 429 | 503) {
            return Ok(Answered::Failed(send::failure(status, after, &body)));
        }
        match serde_json::from_slice::<TokenRefusal>(&body) {
            Ok(refusal) if status.is_client_error() => Ok(Answered::Refused(status, refusal)),
            _ => Ok(Answered::Failed(send::failure(status, after, &body))),
        }
    }
}

/// The token, if it is for whom it must be for.
async fn read(token: &FederatedToken) -> Result<SecretText, Error> {
    let FederatedToken { file, audience } = token;
    let fail = |problem: String| Error::CredentialUnavailable(problem);
    let opened = tokio::fs::File::open(file).await;
    let opened = opened.map_err(|error| {
        fail(format!(
            "failed to read the federated token {}: {error}",
            file.display()
        ))
    })?;
    let mut text = Zeroizing::new(String::new());
    let read = opened.take(MAX_FEDERATED).read_to_string(&mut text).await;
    read.map_err(|_| fail(format!("{} holds no token", file.display())))?;
    let text = text.trim();
    if !claimed_audiences(text).iter().any(|each| each == audience) {
        return Err(fail(format!(
            "the federated token in {} is not for {audience}; it was not sent",
            file.display()
        )));
    }
    Ok(SecretText::new(text.to_owned()))
}

/// Why, for a person: without the ids and times that differ with every try, and without what was sent.
fn reason(refusal: &TokenRefusal, proof: &SecretText) -> String {
    let TokenRefusal {
        error,
        error_description,
    } = refusal;
    let said = error_description.split("Trace ID:").next().unwrap_or("");
    let said = format!("{error}: {}", said.trim()).replace(proof.expose(), "(hidden)");
    said.chars().take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_the_same_at_every_try_and_never_repeats_the_proof() {
        let refusal = |text: &str| TokenRefusal {
            error: "invalid_client".to_owned(),
            error_description: text.to_owned(),
        };
        let said = "AADSTS7000215: Invalid client secret.\r\nTrace ID: 1\r\nTimestamp: 2";
        let proof = SecretText::from("canary");
        assert_eq!(
            reason(&refusal(said), &proof),
            "invalid_client: AADSTS7000215: Invalid client secret."
        );
        let echo = reason(&refusal("no client has the secret canary"), &proof);
        assert!(!echo.contains("canary"), "{echo}");
        assert!(reason(&refusal(&"x".repeat(5000)), &proof).len() <= MAX_REASON);
    }
}
