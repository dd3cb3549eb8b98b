//! Sessions: one live per agent, kept alive by asking for messages.

use super::access::ListenClaims;
use super::entities::{Agent, Session};
use super::refusal::{Kind, Refusal};
use jiff::{SignedDuration, Timestamp};

/// How long a session lives without a question for messages.
pub const LIFE: SignedDuration = SignedDuration::from_mins(5);

/// How often a session's last question is written down; parked agents ask about once a minute.
const SEEN_GRAIN: SignedDuration = SignedDuration::from_secs(10);

/// Whether the session counts.
pub fn is_live(last_seen_at: Timestamp, now: Timestamp) -> bool {
    now < last_seen_at + LIFE
}

/// Whether the agent may open a session beside the one it has.
pub fn check_open(
    agent: &Agent,
    existing: Option<&Session>,
    now: Timestamp,
) -> Result<(), Refusal> {
    match existing {
        Some(session) if is_live(session.last_seen_at, now) => Err(Refusal::new(
            Kind::SessionConflict,
            format!(
                "The task agent {} already has an active session for owner {}.",
                agent.name, session.owner_name
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

/// The caller's own session.
pub fn check_own(session: &Session, claims: &ListenClaims) -> Result<(), Refusal> {
    if session.agent == claims.agent {
        Ok(())
    } else {
        Err(Refusal::new(
            Kind::Denied,
            "the session belongs to another agent",
        ))
    }
}

/// The caller's own session, alive.
pub fn check_use(
    session: Option<Session>,
    claims: &ListenClaims,
    now: Timestamp,
) -> Result<Session, Refusal> {
    if let Some(session) = &session {
        check_own(session, claims)?;
    }
    match session {
        Some(session) if is_live(session.last_seen_at, now) => Ok(session),
        Some(_) | None => Err(Refusal::new(
            Kind::SessionExpired,
            "the session is over; open another",
        )),
    }
}

/// Whether the last question is worth writing down again.
pub fn seen_is_stale(session: &Session, now: Timestamp) -> bool {
    now.duration_since(session.last_seen_at) >= SEEN_GRAIN
}
