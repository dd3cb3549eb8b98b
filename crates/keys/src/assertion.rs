//! The JWT with which an agent asks for its token (RFC 7523), apart from the key that signs it.

use crate::encoding::{from_base64_url, to_base64_url};
use dayfly_wire::ids::ClientId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How long an assertion is valid, in seconds.
pub const LIFETIME_SECONDS: i64 = 300;
/// How far two clocks may be apart, in seconds.
pub const CLOCK_TOLERANCE_SECONDS: i64 = 300;
/// The longest time that a service accepts between `nbf` and `exp`, in seconds.
const MAX_LIFETIME_SECONDS: i64 = 3600;

/// What a checked assertion says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// Who signed.
    pub client_id: ClientId,
    /// Unique per assertion.
    pub jti: Uuid,
    /// When it ends.
    pub expires: Timestamp,
}

/// Why an assertion was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssertionError {
    /// Not a JWT, not RS256, or not signed by this key.
    #[error("the assertion is not signed by the registered key")]
    Signature,
    /// Meant for somebody else.
    #[error("the assertion is meant for another audience")]
    Audience,
    /// Issuer and subject are not one and the same client.
    #[error("the assertion's issuer and subject differ")]
    Subject,
    /// It ended.
    #[error("the assertion expired on {at}")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// It has not begun.
    #[error("the assertion is not valid until {from}")]
    NotYetValid {
        /// When it begins.
        from: Timestamp,
    },
    /// It would live too long, or its dates are no dates.
    #[error("the assertion's lifetime is out of bounds")]
    Lifetime,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Claims {
    sub: ClientId,
    iss: ClientId,
    aud: String,
    jti: Uuid,
    nbf: i64,
    exp: i64,
}

impl Claims {
    pub(crate) fn check(self, audience: &str, now: Timestamp) -> Result<Assertion, AssertionError> {
        let date = |seconds| Timestamp::from_second(seconds).map_err(|_| AssertionError::Lifetime);
        let (from, until) = (date(self.nbf)?, date(self.exp)?);
        if !self.aud.eq_ignore_ascii_case(audience) {
            return Err(AssertionError::Audience);
        }
        if self.iss != self.sub {
            return Err(AssertionError::Subject);
        }
        if !(0..=MAX_LIFETIME_SECONDS).contains(&self.exp.saturating_sub(self.nbf)) {
            return Err(AssertionError::Lifetime);
        }
        if now.as_second() > self.exp.saturating_add(CLOCK_TOLERANCE_SECONDS) {
            return Err(AssertionError::Expired { at: until });
        }
        if now.as_second() < self.nbf.saturating_sub(CLOCK_TOLERANCE_SECONDS) {
            return Err(AssertionError::NotYetValid { from });
        }
        Ok(Assertion {
            client_id: self.sub,
            jti: self.jti,
            expires: until,
        })
    }
}

/// Who an assertion says it is from, unchecked: good for looking up the key to check it with, and nothing else.
pub fn claimed_client(token: &str) -> Option<ClientId> {
    let payload = from_base64_url(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Claims>(&payload)
        .ok()
        .map(|claims| claims.sub)
}

pub(crate) fn signing_input(
    client_id: ClientId,
    audience: &str,
    jti: Uuid,
    now: Timestamp,
) -> String {
    let issued = now.as_second();
    let claims = serde_json::json!({
        "sub": client_id,
        "iss": client_id,
        "aud": audience,
        "jti": jti,
        "nbf": issued,
        "exp": issued + LIFETIME_SECONDS,
    });
    let header = to_base64_url(br#"{"typ":"JWT","alg":"RS256"}"#);
    format!("{header}.{}", to_base64_url(claims.to_string().as_bytes()))
}

pub(crate) fn join(signed: &str, signature: &[u8]) -> String {
    format!("{signed}.{}", to_base64_url(signature))
}
