//! Signing in to the web page and out of it.

use crate::rules::access::{Caller, pat_counts};
use crate::rules::entities::{Pat, WebSession};
use crate::rules::refusal::Refusal;
use crate::rules::web_session;
use crate::service::{Failure, Service};
use crate::store::dialect::Conn;
use crate::store::{pats, roles, web_sessions};
use dayfly_wire::secret::SecretText;

/// Somebody who is signed in.
pub struct SignedIn {
    /// Who.
    pub caller: Caller,
    /// Until when, and with which token.
    pub session: WebSession,
}

impl Service {
    /// Opens a session with an access token; answers what the cookie is to hold.
    pub async fn sign_in(&self, token: &SecretText) -> Result<(SecretText, SignedIn), Failure> {
        let mut unit = self.begin().await?;
        let now = unit.now;
        let hash = dayfly_keys::pat::hash(token.expose());
        let pat = pats::by_hash(unit.conn(), &hash).await?;
        let pat = pat
            .filter(|pat| pat_counts(pat, now))
            .ok_or_else(Refusal::unauthorized)?;
        let session = web_session::open(&pat, now);
        let value = dayfly_keys::web_session::generate();
        let hash = dayfly_keys::web_session::hash(value.expose());
        web_sessions::forget_expired(unit.conn(), now).await?;
        web_sessions::insert(unit.conn(), &hash, &session).await?;
        web_sessions::keep_newest(unit.conn(), pat.id, web_session::SESSIONS).await?;
        let roles = roles::of(unit.conn(), &pat.name).await?;
        unit.commit().await?;
        let caller = Caller::of_token(pat, roles)?;
        Ok((value, SignedIn { caller, session }))
    }

    /// Ends a session; one that nobody knows is over already.
    pub async fn sign_out(&self, value: &SecretText) -> Result<(), Failure> {
        let mut unit = self.begin().await?;
        let hash = dayfly_keys::web_session::hash(value.expose());
        web_sessions::delete(unit.conn(), &hash).await?;
        unit.commit().await?;
        Ok(())
    }

    /// Who is signed in with this cookie: nobody, once the session or its token is over.
    pub async fn signed_in(&self, value: &SecretText) -> Result<Option<SignedIn>, Failure> {
        let hash = dayfly_keys::web_session::hash(value.expose());
        let mut conn = self.store.read().await?;
        let Some(session) = web_sessions::by_hash(&mut conn, &hash).await? else {
            return Ok(None);
        };
        if !web_session::is_live(&session, self.now()) {
            return Ok(None);
        }
        let pat = token_of(&mut conn, &session).await?;
        let Some(pat) = pat.filter(|pat| pat_counts(pat, self.now())) else {
            return Ok(None);
        };
        let roles = roles::of(&mut conn, &pat.name).await?;
        let caller = Caller::of_token(pat, roles)?;
        Ok(Some(SignedIn { caller, session }))
    }
}

async fn token_of(conn: &mut Conn, session: &WebSession) -> Result<Option<Pat>, Failure> {
    Ok(pats::by_id(conn, session.pat).await?)
}
