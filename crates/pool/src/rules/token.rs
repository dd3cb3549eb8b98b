//! The token service: what an assertion gets, and what tokens say.

use super::access::{JobClaims, ListenClaims};
use super::entities::{Agent, Request};
use super::reach::Reach;
use dayfly_keys::assertion::{AssertionError, CLOCK_TOLERANCE_SECONDS};
use dayfly_wire::date;
use dayfly_wire::ids::AgentId;
use dayfly_wire::token::TokenRefusal;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// How long a listen token lives; agents ask again.
pub const LISTEN_LIFE: SignedDuration = SignedDuration::from_mins(50);
/// How long the same assertion gets the same answer, for a client whose answer was lost.
const REPEAT: SignedDuration = SignedDuration::from_secs(30);
/// What a job token lives beyond the job's own times.
const JOB_SLACK: SignedDuration = SignedDuration::from_mins(5);
/// The life of a job token where the job has no limit.
const JOB_UNLIMITED: SignedDuration = SignedDuration::from_hours(48);

/// How long a key that was superseded still verifies: the longest token is that of a job that may run for a week and
/// take another to end.
const KEY_OVERLAP: SignedDuration = SignedDuration::from_hours(15 * 24);

/// Whether tokens that were signed with a key may still count.
pub fn key_still_verifies(superseded_at: Option<Timestamp>, now: Timestamp) -> bool {
    superseded_at.is_none_or(|then| now.duration_since(then) < KEY_OVERLAP)
}

/// Whether an assertion was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Not seen: a token as of now.
    First,
    /// Seen a moment ago: the token of then.
    Again(Timestamp),
    /// Seen longer ago.
    Refused,
}

/// Judges an assertion by when its `jti` was answered first.
pub fn replay(answered_at: Option<Timestamp>, now: Timestamp) -> Replay {
    match answered_at {
        None => Replay::First,
        Some(then) if now.duration_since(then) <= REPEAT => Replay::Again(then),
        Some(_) => Replay::Refused,
    }
}

/// Until when an assertion's `jti` must be remembered.
pub fn remember_until(expires: Timestamp) -> Timestamp {
    expires + SignedDuration::from_secs(CLOCK_TOLERANCE_SECONDS + 1)
}

/// The claims of a listen token given at `issued_at`.
pub fn listen_claims(agent: &Agent, issued_at: Timestamp) -> ListenClaims {
    ListenClaims {
        sub: agent.client_id,
        agent: agent.id,
        pool: agent.pool,
        key: agent.key_version,
        iat: issued_at.as_second(),
        exp: (issued_at + LISTEN_LIFE).as_second(),
    }
}

/// The claims of the job token that is delivered to `agent`, for a job whose own repository is `own`.
pub fn job_claims(
    request: &Request,
    agent: AgentId,
    reach: Reach,
    own: Option<Uuid>,
    now: Timestamp,
) -> JobClaims {
    let life = if request.timeout_minutes > 0 {
        SignedDuration::from_mins(request.timeout_minutes)
            + SignedDuration::from_mins(request.cancel_timeout_minutes)
            + JOB_SLACK
    } else {
        JOB_UNLIMITED
    };
    JobClaims {
        plan: request.plan.id,
        job: request.job,
        request: request.id,
        project: request.plan.project,
        scope: reach.scope,
        push: own.filter(|_| reach.pushes),
        agent,
        iat: now.as_second(),
        exp: (now + life).as_second(),
    }
}

/// What a client that nobody knows, or whose key is another by now, is told.
pub fn unknown_client() -> TokenRefusal {
    refusal("invalid_client", "The client is not valid.")
}

/// What a repeated assertion is told.
pub fn repeated() -> TokenRefusal {
    refusal(
        "invalid_client",
        "The assertion was used before; sign another.",
    )
}

/// What a request that is no client-credentials grant is told.
pub fn not_a_grant(what: &str) -> TokenRefusal {
    refusal("invalid_request", what)
}

/// What a bad assertion is told; a clock problem names the server's time, so that the client can correct itself.
pub fn bad_assertion(error: &AssertionError, now: Timestamp) -> TokenRefusal {
    let text = match error {
        AssertionError::Expired { at } => format!(
            "The bearer token expired on {}. Current server time is {}.",
            date::format(*at),
            date::format(now)
        ),
        AssertionError::NotYetValid { from } => format!(
            "The bearer token is not valid until {}. Current server time is {}.",
            date::format(*from),
            date::format(now)
        ),
        AssertionError::Signature => return unknown_client(),
        other => other.to_string(),
    };
    refusal("invalid_client", &text)
}

fn refusal(error: &str, text: &str) -> TokenRefusal {
    TokenRefusal {
        error: error.to_owned(),
        error_description: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::reach::TokenScope;
    use super::super::samples::{at, request};
    use super::*;

    #[test]
    fn an_assertion_is_answered_again_for_a_moment() {
        let first = at(0);
        assert_eq!(replay(None, first), Replay::First);
        let after = |seconds| replay(Some(first), first + SignedDuration::from_secs(seconds));
        assert_eq!(after(30), Replay::Again(first));
        assert_eq!(after(31), Replay::Refused);
    }

    #[test]
    fn a_superseded_key_verifies_as_long_as_the_longest_token_lives() {
        let mut longest = request(1, &[]);
        longest.timeout_minutes = super::super::queueing::MAX_MINUTES;
        longest.cancel_timeout_minutes = super::super::queueing::MAX_MINUTES;
        let ends = job_claims(&longest, AgentId(7), Reach::default(), None, at(0)).exp;
        let ends = Timestamp::from_second(ends).unwrap();
        assert!(key_still_verifies(Some(at(0)), ends));
        assert!(!key_still_verifies(Some(at(0)), at(15 * 24 * 60)));
        assert!(key_still_verifies(None, at(15 * 24 * 60)));
    }

    #[test]
    fn a_clock_problem_names_the_servers_time() {
        let refusal = bad_assertion(&AssertionError::Expired { at: at(1) }, at(20));
        assert_eq!(refusal.error, "invalid_client");
        assert!(
            refusal
                .error_description
                .contains("Current server time is 1970-01-01T00:20:00.000Z")
        );
    }

    #[test]
    fn a_job_token_outlives_the_jobs_times_by_a_little() {
        let claims = |request: &Request| {
            let repository = Some(Uuid::from_u128(1));
            job_claims(request, AgentId(7), Reach::default(), repository, at(0))
        };
        let usual = claims(&request(1, &[]));
        assert_eq!(usual.exp, at(60 + 5 + 5).as_second());
        assert_eq!((usual.scope, usual.push), (TokenScope::Project, None));
        let mut unlimited = request(1, &[]);
        unlimited.timeout_minutes = 0;
        assert_eq!(claims(&unlimited).exp, at(48 * 60).as_second());
    }
}
