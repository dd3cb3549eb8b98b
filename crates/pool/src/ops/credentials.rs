//! What is told of the credential that a call brings.

use crate::auth::Credential;
use crate::rules::access::{Caller, PRINCIPAL, PrincipalClaims};
use crate::rules::refusal::{Kind, Refusal};
use crate::service::{Failure, Service};
use crate::store::{pats, principals};
use dayfly_keys::service_token::claimed_typ;
use dayfly_wire::credential::CredentialStanding;
use dayfly_wire::secret::SecretText;
use jiff::Timestamp;

impl Service {
    /// Tells an administrator what it has.
    pub async fn credential_standing(
        &self,
        caller: &Caller,
        credential: Option<&Credential>,
    ) -> Result<CredentialStanding, Failure> {
        let Caller::Administrator { name, scopes, .. } = caller else {
            return Err(Refusal::new(
                Kind::Denied,
                "only the credentials of people and programs are told of",
            )
            .into());
        };
        let expires_at = match credential {
            Some(Credential::Bearer(token) | Credential::Basic(token)) => {
                self.end_of(token).await?
            }
            Some(Credential::Web(_)) | None => None,
        };
        Ok(CredentialStanding {
            name: name.clone(),
            scopes: scopes.to_string(),
            expires_at,
        })
    }

    /// When a token ends, or the credential that it was given for.
    async fn end_of(&self, token: &SecretText) -> Result<Option<Timestamp>, Failure> {
        let mut conn = self.store.read().await?;
        if claimed_typ(token.expose()).as_deref() == Some(PRINCIPAL.typ) {
            let claims = self.keys.verify(&PRINCIPAL, token.expose(), self.now());
            let Ok::<PrincipalClaims, _>(claims) = claims else {
                return Ok(None);
            };
            let credential = principals::credential_by_id(&mut conn, claims.credential).await?;
            return Ok(credential.and_then(|credential| credential.expires_at));
        }
        let hash = dayfly_keys::pat::hash(token.expose());
        Ok(pats::by_hash(&mut conn, &hash)
            .await?
            .and_then(|pat| pat.expires_at))
    }
}
