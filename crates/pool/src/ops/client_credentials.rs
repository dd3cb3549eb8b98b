//! Service principals ask for tokens: with a secret, with an assertion of their own, or with another issuer's.

use crate::rules::access::{Caller, PRINCIPAL, PrincipalClaims};
use crate::rules::principal::{self, GrantForm, Principal, PrincipalCredential, Proof, Trust};
use crate::rules::token::{self, Replay};
use crate::service::{Failure, Service};
use crate::store::{assertions, principals, roles};
use dayfly_keys::client_assertion::{self, ClientAssertion};
use dayfly_keys::public_key::PublicKey;
use dayfly_wire::secret::SecretText;
use dayfly_wire::token::{TokenAnswer, TokenRefusal};
use jiff::Timestamp;
use uuid::Uuid;

/// What a proof comes to: the credential that it proves and when the token counts from, or a refusal.
type Proven = Result<(PrincipalCredential, Timestamp), TokenRefusal>;

impl Service {
    /// Answers a token request of a service principal.
    pub async fn grant(
        &self,
        tenant: &str,
        form: &GrantForm,
    ) -> Result<Result<TokenAnswer, TokenRefusal>, Failure> {
        let answer = self.judge_grant(tenant, form).await?;
        match &answer {
            Ok(_) => {
                self.metrics.tokens_issued.inc();
            }
            Err(refusal) => {
                self.metrics.tokens_refused.inc();
                let client: String = form.client_id.chars().take(64).collect();
                tracing::info!(%client, error = %refusal.error, reason = %refusal.error_description, "refused a service principal");
            }
        }
        Ok(answer)
    }

    async fn judge_grant(
        &self,
        tenant: &str,
        form: &GrantForm,
    ) -> Result<Result<TokenAnswer, TokenRefusal>, Failure> {
        if !self.is_tenant(tenant) {
            return Ok(Err(principal::unknown_tenant(tenant)));
        }
        let client = match principal::check_grant(form) {
            Ok(client) => client,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let now = self.now();
        let (known, credentials) = {
            let mut conn = self.store.read().await?;
            let known = principals::by_id(&mut conn, client).await?;
            (known, principals::credentials(&mut conn, client).await?)
        };
        let counting = credentials
            .into_iter()
            .filter(|credential| principal::credential_counts(credential, now))
            .collect();
        let proven = match (&form.client_secret, &form.client_assertion) {
            (Some(secret), _) => by_secret(counting, secret, now),
            (None, Some(assertion)) => self.by_assertion(client, counting, assertion, now).await?,
            (None, None) => Err(principal::invalid_client()),
        };
        let (credential, issued_at) = match proven {
            Ok(proven) => proven,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match known.filter(principal::principal_counts) {
            Some(known) => self.principal_token(&known, &credential, issued_at),
            None => Ok(Err(principal::invalid_client())),
        }
    }

    fn principal_token(
        &self,
        principal: &Principal,
        credential: &PrincipalCredential,
        issued_at: Timestamp,
    ) -> Result<Result<TokenAnswer, TokenRefusal>, Failure> {
        let claims = principal::claims(principal, credential, self.keys.instance, issued_at);
        let access_token = self
            .keys
            .issue(&PRINCIPAL, &claims)
            .map_err(|error| Failure::Key(error.to_string()))?;
        Ok(Ok(TokenAnswer {
            access_token,
            token_type: "Bearer".to_owned(),
            expires_in: Some(claims.exp - claims.iat),
        }))
    }

    /// Whoever signed decides how it is checked: the client itself, or an issuer that it is trusted to.
    async fn by_assertion(
        &self,
        client: Uuid,
        credentials: Vec<PrincipalCredential>,
        assertion: &SecretText,
        now: Timestamp,
    ) -> Result<Proven, Failure> {
        let issuer = client_assertion::claimed_issuer(assertion.expose()).unwrap_or_default();
        if issuer.eq_ignore_ascii_case(&client.to_string()) {
            return self.by_key(client, credentials, assertion, now).await;
        }
        for credential in credentials {
            let Proof::Federated(trust) = &credential.proof else {
                continue;
            };
            if trust.issuer != issuer {
                continue;
            }
            match self.is_vouched_for(trust, assertion, now).await {
                Ok(true) => return Ok(Ok((credential, now))),
                Ok(false) => {}
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        Ok(Err(principal::invalid_client()))
    }

    async fn is_vouched_for(
        &self,
        trust: &Trust,
        assertion: &SecretText,
        now: Timestamp,
    ) -> Result<bool, TokenRefusal> {
        match self.issuers.verify(trust, assertion.expose(), now).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(error)) => {
                tracing::info!(issuer = %trust.issuer, %error, "a federated token does not count");
                Ok(false)
            }
            Err(error) => {
                tracing::warn!(issuer = %trust.issuer, %error, "the keys of an issuer cannot be had");
                Err(principal::issuer_unavailable())
            }
        }
    }

    async fn by_key(
        &self,
        client: Uuid,
        credentials: Vec<PrincipalCredential>,
        assertion: &SecretText,
        now: Timestamp,
    ) -> Result<Proven, Failure> {
        let audiences = self.token_endpoints();
        let client_id = client.to_string();
        let mut refusal = principal::invalid_client();
        for credential in credentials {
            let Proof::Key(key) = &credential.proof else {
                continue;
            };
            let key = PublicKey::from_wire(key).map_err(|error| Failure::Key(error.to_string()))?;
            let token = assertion.expose();
            match client_assertion::verify(&[key], token, &client_id, &audiences, now) {
                Ok(checked) => return self.once(client, credential, &checked, now).await,
                Err(client_assertion::AssertionError::Signature) => {}
                Err(error) => refusal = principal::bad_assertion(&error, now),
            }
        }
        Ok(Err(refusal))
    }

    /// An assertion is good for one token, which is given again to a client that asks again in a moment.
    async fn once(
        &self,
        client: Uuid,
        credential: PrincipalCredential,
        assertion: &ClientAssertion,
        now: Timestamp,
    ) -> Result<Proven, Failure> {
        let until = token::remember_until(assertion.expires);
        let (client, jti) = (client.to_string(), &assertion.jti);
        let mut unit = self.begin().await?;
        let seen = assertions::remember(unit.conn(), &client, jti, now, until).await?;
        match token::replay(seen, now) {
            Replay::First => {
                unit.commit().await?;
                Ok(Ok((credential, now)))
            }
            Replay::Again(then) => Ok(Ok((credential, then))),
            Replay::Refused => Ok(Err(token::repeated())),
        }
    }

    /// The caller that a principal's claims stand for, if it is still there.
    pub async fn principal_caller(
        &self,
        claims: &PrincipalClaims,
    ) -> Result<Option<Caller>, Failure> {
        let mut conn = self.store.read().await?;
        let known = principals::by_id(&mut conn, claims.sub).await?;
        let credential = principals::credential_by_id(&mut conn, claims.credential).await?;
        let (Some(known), Some(credential)) = (known, credential) else {
            return Ok(None);
        };
        if !principal::token_counts(claims, &known, &credential, self.now()) {
            return Ok(None);
        }
        Ok(Some(Caller::Administrator {
            scopes: principal::scopes(&known)?,
            roles: roles::of(&mut conn, &known.name).await?,
            name: known.name,
        }))
    }

    fn is_tenant(&self, tenant: &str) -> bool {
        tenant.eq_ignore_ascii_case(&self.keys.instance.to_string())
            || tenant.eq_ignore_ascii_case(self.collection())
    }

    fn collection(&self) -> &str {
        let url = &self.settings.public_url;
        url.rsplit('/').next().unwrap_or_default()
    }

    /// Where principals ask for tokens, in every form of the URL; also the audiences of their assertions.
    fn token_endpoints(&self) -> Vec<String> {
        let url = &self.settings.public_url;
        let origin = url
            .match_indices('/')
            .nth(2)
            .map_or(url.as_str(), |(at, _)| &url[..at]);
        let instance = self.keys.instance.to_string();
        let tenants = [self.collection(), &instance];
        let bases = [origin, url];
        let mut endpoints = vec![format!("{url}/oauth2/v2.0/token")];
        for (base, tenant) in bases
            .iter()
            .flat_map(|base| tenants.map(|tenant| (base, tenant)))
        {
            endpoints.push(format!("{base}/{tenant}/oauth2/v2.0/token"));
        }
        endpoints
    }
}

fn by_secret(credentials: Vec<PrincipalCredential>, secret: &SecretText, now: Timestamp) -> Proven {
    let presented = dayfly_keys::pat::hash(secret.expose());
    let matches = |credential: &PrincipalCredential| match &credential.proof {
        Proof::Secret { hash } => *hash == presented,
        Proof::Key(_) | Proof::Federated(_) => false,
    };
    let found = credentials.into_iter().find(matches);
    found
        .map(|credential| (credential, now))
        .ok_or_else(principal::invalid_client)
}
