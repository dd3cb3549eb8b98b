//! The token service: an agent's signed assertion becomes a listen token.

use crate::rules::access::LISTEN;
use crate::rules::entities::Agent;
use crate::rules::token::{self, Replay};
use crate::service::{Failure, Service};
use crate::store::{agents, assertions};
use dayfly_keys::assertion::{Assertion, claimed_client};
use dayfly_keys::public_key::PublicKey;
use dayfly_wire::token::{CLIENT_CREDENTIALS, JWT_BEARER, TokenAnswer, TokenRefusal};
use jiff::Timestamp;

/// The form of a token request.
#[derive(serde::Deserialize)]
pub struct TokenForm {
    #[serde(default)]
    grant_type: String,
    #[serde(default)]
    client_assertion_type: String,
    #[serde(default)]
    client_assertion: String,
}

impl Service {
    /// Answers a token request.
    pub async fn issue_token(
        &self,
        form: &TokenForm,
    ) -> Result<Result<TokenAnswer, TokenRefusal>, Failure> {
        let answer = self.judge(form).await?;
        match &answer {
            Ok(_) => {
                self.metrics.tokens_issued.inc();
            }
            Err(refusal) => {
                self.metrics.tokens_refused.inc();
                tracing::info!(error = %refusal.error, reason = %refusal.error_description, "refused an assertion");
            }
        }
        Ok(answer)
    }

    async fn judge(&self, form: &TokenForm) -> Result<Result<TokenAnswer, TokenRefusal>, Failure> {
        if form.grant_type != CLIENT_CREDENTIALS || form.client_assertion_type != JWT_BEARER {
            return Ok(Err(token::not_a_grant(
                "only grant_type=client_credentials with a jwt-bearer client_assertion is understood",
            )));
        }
        let Some(client) = claimed_client(&form.client_assertion) else {
            return Ok(Err(token::unknown_client()));
        };
        let agent = {
            let mut conn = self.store.read().await?;
            agents::by_client(&mut conn, client).await?
        };
        let Some(agent) = agent else {
            return Ok(Err(token::unknown_client()));
        };
        let now = self.now();
        let key =
            PublicKey::from_wire(&agent.key).map_err(|error| Failure::Key(error.to_string()))?;
        let audience = self.authorization_url();
        match key.verify_assertion(&form.client_assertion, &audience, now) {
            Ok(assertion) => self.answer(&agent, assertion, now).await,
            Err(error) => Ok(Err(token::bad_assertion(&error, now))),
        }
    }

    async fn answer(
        &self,
        agent: &Agent,
        assertion: Assertion,
        now: Timestamp,
    ) -> Result<Result<TokenAnswer, TokenRefusal>, Failure> {
        let mut unit = self.begin().await?;
        let until = token::remember_until(assertion.expires);
        let (client, jti) = (assertion.client_id.to_string(), assertion.jti.to_string());
        let seen = assertions::remember(unit.conn(), &client, &jti, now, until).await?;
        let issued_at = match token::replay(seen, now) {
            Replay::First => {
                unit.commit().await?;
                now
            }
            Replay::Again(then) => then,
            Replay::Refused => return Ok(Err(token::repeated())),
        };
        // The claims depend on the first answer's time alone, so that a repeated answer is the same answer.
        let claims = token::listen_claims(agent, issued_at);
        let access_token = self
            .keys
            .issue(&LISTEN, &claims)
            .map_err(|error| Failure::Key(error.to_string()))?;
        Ok(Ok(TokenAnswer {
            access_token,
            token_type: "JWT".to_owned(),
            expires_in: Some(claims.exp - claims.iat),
        }))
    }
}
