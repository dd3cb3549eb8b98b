//! Who calls: the credential of a request, checked against keys and store.

use crate::rules::access::{
    Caller, JOB, JobClaims, LISTEN, ListenClaims, PRINCIPAL, PrincipalClaims, job_counts,
    listener_counts, pat_counts,
};
use crate::rules::refusal::Refusal;
use crate::service::{Failure, Service};
use crate::store::{agents, pats, requests, roles};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dayfly_keys::service_token::{Purpose, TokenError, claimed_typ};
use dayfly_wire::secret::SecretText;
use serde::de::DeserializeOwned;

/// The longest `Authorization` that is looked at.
const MAX_HEADER: usize = 16 * 1024;

/// A credential as it came.
pub enum Credential {
    /// `Bearer`: any token of this service.
    Bearer(SecretText),
    /// `Basic`: the password; the user does not matter.
    Basic(SecretText),
    /// The cookie of the web page.
    Web(SecretText),
}

/// The cookie of the web page.
pub const COOKIE: &str = "dayfly_session";

/// Reads the web page's cookie out of a `Cookie` header.
pub fn parse_cookie(header: &str) -> Option<SecretText> {
    if header.len() > MAX_HEADER {
        return None;
    }
    let mut pairs = header.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim() == COOKIE)?;
    Some(value.trim().into()).filter(|value: &SecretText| !value.expose().is_empty())
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

/// What a credential is.
#[derive(Debug, PartialEq, Eq)]
pub enum Judged {
    /// It stands for somebody.
    Counts(Caller),
    /// It was given by this service, and its time is over.
    Ended,
    /// Nothing of it is known: somebody may be trying.
    Unknown,
}

impl Service {
    /// The caller that a credential stands for. Every credential that does not count gets the same refusal.
    pub async fn authenticate(&self, credential: &Credential) -> Result<Caller, Failure> {
        match self.judge_credential(credential).await? {
            Judged::Counts(caller) => Ok(caller),
            Judged::Ended | Judged::Unknown => Err(Refusal::unauthorized().into()),
        }
    }

    /// What a credential is.
    pub async fn judge_credential(&self, credential: &Credential) -> Result<Judged, Failure> {
        let (token, is_bearer) = match credential {
            Credential::Bearer(token) => (token, true),
            Credential::Basic(password) => (password, false),
            Credential::Web(value) => {
                let signed = self.signed_in(value).await?;
                return Ok(signed.map(|signed| signed.caller).into());
            }
        };
        let typ = claimed_typ(token.expose());
        match typ.as_deref() {
            // An agent never sends its listen token as a password; git sends a job's token so.
            Some(typ) if typ == LISTEN.typ && is_bearer => self.listener(token).await,
            Some(typ) if typ == JOB.typ => self.running_job(token).await,
            Some(typ) if typ == PRINCIPAL.typ => self.service_principal(token).await,
            Some(_) | None => self.administrator(token).await,
        }
    }

    async fn listener(&self, token: &SecretText) -> Result<Judged, Failure> {
        let claims: ListenClaims = match self.verify(&LISTEN, token) {
            Ok(claims) => claims,
            Err(judged) => return Ok(judged),
        };
        let mut conn = self.store.read().await?;
        let agent = agents::by_id(&mut conn, claims.agent).await?;
        let counts = agent.is_some_and(|agent| listener_counts(&claims, &agent));
        Ok(counts.then_some(Caller::Listener(claims)).into())
    }

    async fn running_job(&self, token: &SecretText) -> Result<Judged, Failure> {
        let claims: JobClaims = match self.verify(&JOB, token) {
            Ok(claims) => claims,
            Err(judged) => return Ok(judged),
        };
        let mut conn = self.store.read().await?;
        let request = requests::by_id(&mut conn, claims.request).await?;
        let counts = request.is_some_and(|request| job_counts(&claims, &request));
        Ok(counts.then_some(Caller::Job(claims)).into())
    }

    async fn service_principal(&self, token: &SecretText) -> Result<Judged, Failure> {
        let claims: PrincipalClaims = match self.verify(&PRINCIPAL, token) {
            Ok(claims) => claims,
            Err(judged) => return Ok(judged),
        };
        Ok(self.principal_caller(&claims).await?.into())
    }

    fn verify<C: DeserializeOwned>(
        &self,
        purpose: &Purpose<'_>,
        token: &SecretText,
    ) -> Result<C, Judged> {
        let verified = self.keys.verify(purpose, token.expose(), self.now());
        verified.map_err(|error| match error {
            TokenError::Expired => Judged::Ended,
            _ => Judged::Unknown,
        })
    }

    /// Unknown, expired and revoked tokens take the same way: one hash, one look into the store.
    async fn administrator(&self, token: &SecretText) -> Result<Judged, Failure> {
        let hash = dayfly_keys::pat::hash(token.expose());
        let mut conn = self.store.read().await?;
        let pat = pats::by_hash(&mut conn, &hash).await?;
        let Some(pat) = pat.filter(|pat| pat_counts(pat, self.now())) else {
            return Ok(Judged::Unknown);
        };
        let roles = roles::of(&mut conn, &pat.name).await?;
        Ok(Judged::Counts(Caller::of_token(pat, roles)?))
    }
}

impl From<Option<Caller>> for Judged {
    /// What a good token of the service stands for, if that is still there.
    fn from(caller: Option<Caller>) -> Self {
        caller.map_or(Self::Ended, Self::Counts)
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

    #[test]
    fn the_cookie_is_found_among_others() {
        let found = |header| parse_cookie(header).map(|value| value.expose().to_owned());
        assert_eq!(
            found("a=b; dayfly_session=xyz; c=d").as_deref(),
            Some("xyz")
        );
        assert_eq!(found("xdayfly_session=xyz; dayfly_session="), None);
    }
}
