//! Who calls: the credential of a request, checked against keys and store.

use crate::rules::access::{
    Caller, JOB, JobClaims, LISTEN, ListenClaims, Scopes, job_counts, listener_counts, pat_counts,
};
use crate::rules::refusal::Refusal;
use crate::service::{Failure, Service};
use crate::store::{agents, pats, requests};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dayfly_wire::secret::SecretText;

/// The longest `Authorization` that is looked at.
const MAX_HEADER: usize = 16 * 1024;

/// A credential as it came.
pub enum Credential {
    /// `Bearer`: any token of this service.
    Bearer(SecretText),
    /// `Basic`: the password; the user does not matter.
    Basic(SecretText),
}

/// Reads an `Authorization` header; none when it is of no kind that counts here.
pub fn parse(header: &str) -> Option<Credential> {
    if header.len() > MAX_HEADER {
        return None;
    }
    let (scheme, value) = header.trim().split_once(' ')?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credential::Bearer(value.into()));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
        let pair = SecretText::new(decoded);
        let (_, password) = pair.expose().split_once(':')?;
        return Some(Credential::Basic(password.into()));
    }
    None
}

impl Service {
    /// The caller that a credential stands for. Every credential that does not count gets the same refusal.
    pub async fn authenticate(&self, credential: &Credential) -> Result<Caller, Failure> {
        let caller = match credential {
            Credential::Bearer(token) => match self.listener(token).await? {
                Some(caller) => Some(caller),
                None => self.job_or_administrator(token).await?,
            },
            // An agent never sends its listen token this way; git sends a job's token so.
            Credential::Basic(password) => self.job_or_administrator(password).await?,
        };
        Ok(caller.ok_or_else(Refusal::unauthorized)?)
    }

    async fn job_or_administrator(&self, token: &SecretText) -> Result<Option<Caller>, Failure> {
        match self.running_job(token).await? {
            Some(caller) => Ok(Some(caller)),
            None => self.administrator(token).await,
        }
    }

    async fn listener(&self, token: &SecretText) -> Result<Option<Caller>, Failure> {
        let verified = self
            .keys
            .tokens
            .verify::<ListenClaims>(LISTEN, token.expose(), self.now());
        let Ok(claims) = verified else {
            return Ok(None);
        };
        let mut conn = self.store.read().await?;
        let agent = agents::by_id(&mut conn, claims.agent).await?;
        Ok(agent
            .filter(|agent| listener_counts(&claims, agent))
            .map(|_| Caller::Listener(claims)))
    }

    async fn running_job(&self, token: &SecretText) -> Result<Option<Caller>, Failure> {
        let verified = self
            .keys
            .tokens
            .verify::<JobClaims>(JOB, token.expose(), self.now());
        let Ok(claims) = verified else {
            return Ok(None);
        };
        let mut conn = self.store.read().await?;
        let request = requests::by_id(&mut conn, claims.request).await?;
        Ok(request
            .filter(|request| job_counts(&claims, request))
            .map(|_| Caller::Job(claims)))
    }

    async fn administrator(&self, token: &SecretText) -> Result<Option<Caller>, Failure> {
        let hash = dayfly_keys::pat::hash(token.expose());
        let mut conn = self.store.read().await?;
        let pat = pats::by_hash(&mut conn, &hash).await?;
        let Some(pat) = pat.filter(|pat| pat_counts(pat, self.now())) else {
            return Ok(None);
        };
        let scopes: Scopes = pat.scopes.parse()?;
        Ok(Some(Caller::Administrator {
            name: pat.name,
            scopes,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_read_in_any_case_and_the_user_does_not_matter() {
        let basic = format!("BASIC {}", STANDARD.encode("anybody:pa:ss"));
        assert!(
            matches!(parse(&basic), Some(Credential::Basic(password)) if password.expose() == "pa:ss")
        );
        assert!(
            matches!(parse("bearer  abc"), Some(Credential::Bearer(token)) if token.expose() == "abc")
        );
        assert!(parse("Negotiate abc").is_none());
        assert!(parse("Basic !!!").is_none());
        assert!(parse("Bearer").is_none());
    }
}
