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

#[cfg(test)]
mod tests {
    use super::super::samples::{POOL, agent, at};
    use super::*;
    use dayfly_wire::ids::{AgentId, ClientId, SessionId};
    use uuid::Uuid;

    fn session() -> Session {
        Session {
            id: SessionId(Uuid::from_u128(9)),
            agent: AgentId(7),
            owner_name: "host".to_owned(),
            sealed_key: String::new(),
            leaving: false,
            created_at: at(0),
            last_seen_at: at(0),
        }
    }

    fn claims(agent: i64) -> ListenClaims {
        ListenClaims {
            sub: ClientId(Uuid::from_u128(1)),
            agent: AgentId(agent),
            pool: POOL,
            key: 1,
            iat: 0,
            exp: 0,
        }
    }

    #[test]
    fn a_live_session_is_in_the_way_of_another() {
        let refusal = check_open(&agent(7, &[]), Some(&session()), at(4)).unwrap_err();
        assert_eq!(refusal.kind, Kind::SessionConflict);
        assert_eq!(
            refusal.message,
            "The task agent agent-7 already has an active session for owner host."
        );
        assert!(check_open(&agent(7, &[]), Some(&session()), at(5)).is_ok());
        assert!(check_open(&agent(7, &[]), None, at(0)).is_ok());
    }

    #[test]
    fn a_session_serves_its_own_agent_while_it_lives() {
        let kind = |session, agent, minute| {
            check_use(session, &claims(agent), at(minute)).map_err(|refusal| refusal.kind)
        };
        assert!(kind(Some(session()), 7, 4).is_ok());
        assert_eq!(kind(Some(session()), 7, 5), Err(Kind::SessionExpired));
        assert_eq!(kind(None, 7, 0), Err(Kind::SessionExpired));
        assert_eq!(kind(Some(session()), 8, 0), Err(Kind::Denied));
    }
}
