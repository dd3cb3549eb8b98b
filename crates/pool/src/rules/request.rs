//! The life of a job request: queued, reserved, running, ended.

use super::entities::{Agent, Request};
use super::refusal::{Kind, Refusal};
use dayfly_wire::agent::AgentReference;
use dayfly_wire::event::TaskResult;
use dayfly_wire::message::JobCancellation;
use dayfly_wire::request::{JobRequest, OwnerReference};
use jiff::{SignedDuration, Timestamp};

/// How long an agent holds a request without renewing its lock.
pub const LOCK: SignedDuration = SignedDuration::from_mins(10);
/// What an agent has, once the service is back, to renew the lock that it could not renew meanwhile.
pub const GRACE: SignedDuration = SignedDuration::from_mins(5);
/// The shortest time that agents take for a cancelled job.
const LEAST_CANCEL: SignedDuration = SignedDuration::from_mins(1);
/// What an agent has beyond the cancellation's time to report the end.
const REPORT: SignedDuration = SignedDuration::from_secs(30);
/// Longest status message that is kept, in characters.
const MAX_STATUS: usize = 2000;

/// The reason of a cancellation that gave none.
const CANCELLED: &str = "The job was cancelled.";

/// What the passing of time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The lock was not renewed: the agent is lost.
    Lapsed,
    /// The job ran longer than it may: ask for its end.
    Overran,
    /// The end was asked for, and did not come in time.
    Overdue,
}

/// What a cancellation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It has not begun: end it, for this reason.
    EndNow(String),
    /// Tell the agent.
    Ask(JobCancellation),
    /// It ended, or the agent was told before.
    AskedBefore,
}

/// Reserves the agent.
pub fn assign(request: &mut Request, agent: &mut Agent, now: Timestamp) {
    request.assigned_at = Some(now);
    request.locked_until = Some(now + LOCK);
    request.agent = Some(agent.id);
    request.agent_name = Some(agent.name.clone());
    agent.jobs_taken += 1;
}

/// Back to the queue, at its old place: its agent left without having taken the message.
pub fn withdraw(request: &mut Request) {
    request.assigned_at = None;
    request.locked_until = None;
    request.agent = None;
    request.agent_name = None;
}

/// Whether a request whose agent's session ended goes back to the queue.
pub fn is_withdrawable(request: &Request) -> bool {
    !request.is_finished()
        && request.assigned_at.is_some()
        && request.acknowledged_at.is_none()
        && request.received_at.is_none()
}

/// The agent took the message.
pub fn acknowledge(request: &mut Request, now: Timestamp) {
    request.acknowledged_at.get_or_insert(now);
}

/// The agent holds on; the first time says that it received the job.
pub fn renew(request: &mut Request, now: Timestamp) -> Result<(), Refusal> {
    if let Some(result) = request.result {
        return Err(Refusal::new(
            Kind::JobNotFound,
            format!("request {} has ended ({result})", request.id),
        ));
    }
    request.received_at.get_or_insert(now);
    request.locked_until = Some(now + LOCK);
    Ok(())
}

/// Ends the request; false when it had ended before, which changes nothing.
pub fn finish(
    request: &mut Request,
    result: TaskResult,
    message: Option<String>,
    now: Timestamp,
) -> bool {
    if request.is_finished() {
        return false;
    }
    request.finished_at = Some(now);
    request.result = Some(result);
    request.locked_until = None;
    if let Some(message) = message {
        request.status_message = Some(message.chars().take(MAX_STATUS).collect());
    }
    true
}

/// Whether the agent may be at work on the request, and must be told when somebody else ends it.
pub fn is_with_agent(request: &Request) -> bool {
    request.acknowledged_at.is_some() || request.received_at.is_some()
}

/// Asks for the end of the request.
pub fn cancel(request: &mut Request, reason: Option<String>, now: Timestamp) -> Cancelled {
    if request.is_finished() || request.cancelled_at.is_some() {
        return Cancelled::AskedBefore;
    }
    let reason = reason.unwrap_or_else(|| CANCELLED.to_owned());
    if !is_with_agent(request) {
        return Cancelled::EndNow(reason);
    }
    request.cancelled_at = Some(now);
    request.status_message = Some(reason.chars().take(MAX_STATUS).collect());
    Cancelled::Ask(cancellation(request))
}

/// The message that asks the agent for the end.
pub fn cancellation(request: &Request) -> JobCancellation {
    let minutes = request.cancel_timeout_minutes;
    JobCancellation {
        job_id: request.job,
        timeout: format!("{:02}:{:02}:00", minutes / 60, minutes % 60),
    }
}

/// The reason that a job which ran too long is cancelled with.
pub fn overran_reason(request: &Request) -> String {
    format!(
        "The job running on agent {} ran longer than the maximum time of {} minutes.",
        request.agent_name.as_deref().unwrap_or("unknown"),
        request.timeout_minutes
    )
}

/// The reason that a lapsed request ends with.
pub fn lapsed_reason(request: &Request) -> String {
    format!(
        "We stopped hearing from agent {}. Verify the agent machine is running and has a healthy network connection.",
        request.agent_name.as_deref().unwrap_or("unknown")
    )
}

/// The highest and the lowest priority that a job may be queued with.
pub const PRIORITIES: std::ops::RangeInclusive<i64> = -10..=10;

/// How many jobs run, and how many may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Jobs that have an agent.
    pub running: i64,
    /// How many there may be; none for no limit.
    pub limit: Option<i64>,
}

impl Load {
    /// How many further jobs may be given to agents.
    pub fn room(self) -> usize {
        let room = self.limit.map_or(i64::MAX, |limit| limit - self.running);
        usize::try_from(room.max(0)).unwrap_or(usize::MAX)
    }
}

/// Why a request waits; none for one that does not, and one that has a message of its own keeps it.
pub fn waiting_reason(request: &Request, load: Load) -> Option<String> {
    if !request.is_waiting() || request.status_message.is_some() {
        return None;
    }
    Some(match load.limit {
        Some(limit) if load.room() == 0 => format!(
            "Waiting for another job to end: {} of {limit} parallel jobs run.",
            load.running
        ),
        Some(_) | None => {
            "Waiting for an agent: all that satisfy the demands are busy, disabled or offline."
                .to_owned()
        }
    })
}

/// The priority with which a request is the next of those that wait, whose highest priority is `highest`.
pub fn bumped(request: &Request, highest: i64) -> i64 {
    request.priority.max(highest.saturating_add(1))
}

/// What is due at `now`, when the service serves since `since`: its own absence takes no job from an agent.
pub fn due(request: &Request, since: Timestamp, now: Timestamp) -> Option<Due> {
    let allowed = |minutes: i64| SignedDuration::from_mins(minutes);
    if request.is_finished() {
        return None;
    }
    if request
        .locked_until
        .is_some_and(|until| until.max(since + GRACE) <= now)
    {
        return Some(Due::Lapsed);
    }
    if let Some(asked) = request.cancelled_at {
        let time = allowed(request.cancel_timeout_minutes).max(LEAST_CANCEL) + REPORT;
        return (asked + time <= now).then_some(Due::Overdue);
    }
    let received = request.received_at?;
    let overran = request.timeout_minutes > 0 && received + allowed(request.timeout_minutes) <= now;
    overran.then_some(Due::Overran)
}

/// The request as a document; unset members are absent.
pub fn document(request: &Request, reserved: Option<AgentReference>) -> JobRequest {
    let reserved = reserved.or_else(|| {
        request.agent.map(|id| AgentReference {
            id,
            name: request.agent_name.clone().unwrap_or_default(),
            ..AgentReference::default()
        })
    });
    JobRequest {
        request_id: request.id,
        queue_time: Some(request.queued_at),
        assign_time: request.assigned_at,
        receive_time: request.received_at,
        finish_time: request.finished_at,
        result: request.result,
        locked_until: request.locked_until,
        scope_id: Some(request.plan.project),
        plan_type: Some("Build".to_owned()),
        plan_id: Some(request.plan.id),
        job_id: Some(request.job),
        job_name: Some(request.name.clone()),
        demands: request.demands.clone(),
        reserved_agent: reserved,
        matched_agents: request.matched.clone(),
        definition: Some(OwnerReference {
            id: request.plan.definition.0,
            name: request.plan.definition_name.clone(),
        }),
        owner: Some(OwnerReference {
            id: request.plan.build.0,
            name: request.plan.build_number.clone(),
        }),
        data: [("ParallelismTag", "Private"), ("IsScheduledKey", "False")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        pool_id: request.pool,
        priority: (request.priority != 0).then_some(request.priority),
        orchestration_id: Some(format!("{}.{}.__default", request.plan.id, request.job)),
        status_message: request.status_message.clone(),
    }
}

/// The request as a document that says why it waits.
pub fn explained(request: &Request, load: Load) -> JobRequest {
    let mut explained = document(request, None);
    if let Some(reason) = waiting_reason(request, load) {
        explained.status_message = Some(reason);
    }
    explained
}

#[cfg(test)]
mod tests {
    use super::super::samples::{agent, at, request};
    use super::*;

    fn running() -> Request {
        let mut held = request(1, &[]);
        assign(&mut held, &mut agent(7, &[]), at(0));
        acknowledge(&mut held, at(0));
        renew(&mut held, at(1)).unwrap();
        held
    }

    #[test]
    fn the_first_renewal_says_that_the_job_was_received() {
        let mut held = running();
        assert_eq!(held.received_at, Some(at(1)));
        assert_eq!(held.locked_until, Some(at(11)));
        renew(&mut held, at(5)).unwrap();
        assert_eq!(held.received_at, Some(at(1)));
        assert_eq!(held.locked_until, Some(at(15)));
    }

    #[test]
    fn an_end_is_an_end() {
        let mut held = running();
        assert!(finish(&mut held, TaskResult::Failed, None, at(2)));
        assert!(!finish(&mut held, TaskResult::Succeeded, None, at(3)));
        assert_eq!(held.result, Some(TaskResult::Failed));
        assert_eq!(renew(&mut held, at(3)).unwrap_err().kind, Kind::JobNotFound);
        assert_eq!(cancel(&mut held, None, at(3)), Cancelled::AskedBefore);
        assert_eq!(due(&held, at(0), at(10_000)), None);
    }

    #[test]
    fn what_is_due_depends_on_what_happened() {
        assert_eq!(
            due(&request(1, &[]), at(0), at(10_000)),
            None,
            "a queued job waits"
        );
        let mut held = running();
        assert_eq!(due(&held, at(0), at(10)), None);
        assert_eq!(due(&held, at(0), at(11)), Some(Due::Lapsed));
        renew(&mut held, at(60)).unwrap();
        assert_eq!(due(&held, at(0), at(60)), None);
        assert_eq!(due(&held, at(0), at(61)), Some(Due::Overran));
        assert!(matches!(cancel(&mut held, None, at(61)), Cancelled::Ask(_)));
        renew(&mut held, at(66)).unwrap();
        assert_eq!(
            due(&held, at(0), at(66)),
            None,
            "the agent has a moment to report"
        );
        assert_eq!(due(&held, at(0), at(67)), Some(Due::Overdue));
    }

    #[test]
    fn a_lock_does_not_lapse_because_the_service_itself_was_away() {
        let mut held = running();
        held.timeout_minutes = 0;
        let back = at(60);
        assert_eq!(due(&held, back, at(60)), None);
        assert_eq!(due(&held, back, at(64)), None);
        assert_eq!(due(&held, back, at(65)), Some(Due::Lapsed), "nobody came");
        let mut renewed = running();
        renewed.timeout_minutes = 0;
        renew(&mut renewed, at(62)).unwrap();
        assert_eq!(due(&renewed, back, at(71)), None);
        assert_eq!(due(&renewed, back, at(72)), Some(Due::Lapsed));
    }

    #[test]
    fn a_job_without_a_limit_runs_on() {
        let mut held = running();
        held.timeout_minutes = 0;
        renew(&mut held, at(100_000)).unwrap();
        assert_eq!(due(&held, at(0), at(100_001)), None);
    }

    #[test]
    fn a_job_that_was_not_taken_ends_at_once_or_goes_back() {
        let mut reserved = request(1, &[]);
        assign(&mut reserved, &mut agent(7, &[]), at(0));
        assert!(matches!(
            cancel(&mut reserved, None, at(1)),
            Cancelled::EndNow(_)
        ));
        assert!(is_withdrawable(&reserved));
        withdraw(&mut reserved);
        assert!(reserved.is_waiting() && reserved.agent.is_none());
        assert!(!is_withdrawable(&running()));
    }

    #[test]
    fn a_request_that_waits_says_what_for() {
        let waiting = request(1, &[]);
        let reason = |running, limit| waiting_reason(&waiting, Load { running, limit }).unwrap();
        assert!(reason(5, None).contains("for an agent"));
        assert!(reason(1, Some(2)).contains("for an agent"));
        assert!(reason(2, Some(2)).contains("2 of 2 parallel jobs"));
        let load = Load {
            running: 3,
            limit: Some(2),
        };
        assert_eq!(load.room(), 0, "the limit may have been lowered");
        assert_eq!(waiting_reason(&running(), load), None);
    }

    #[test]
    fn a_cancellation_says_how_long_the_job_has() {
        let mut held = running();
        held.cancel_timeout_minutes = 75;
        assert_eq!(cancellation(&held).timeout, "01:15:00");
    }

    #[test]
    fn the_document_holds_what_is_set_and_nothing_else() {
        let waiting = serde_json::to_value(document(&request(1, &["docker"]), None)).unwrap();
        for absent in [
            "assignTime",
            "receiveTime",
            "finishTime",
            "result",
            "reservedAgent",
        ] {
            assert!(waiting.get(absent).is_none(), "{absent}");
        }
        let held = serde_json::to_value(document(&running(), None)).unwrap();
        assert_eq!(held["reservedAgent"]["name"], "agent-7");
        assert_eq!(held["receiveTime"], "1970-01-01T00:01:00.000Z");
    }
}
