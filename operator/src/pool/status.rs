//! The status of an AgentPool, told from the plan and from what was applied. Pure.

use super::build::{Applied, Resources};
use super::facts::Parallelism;
use super::plan::{Counts, Plan};
use super::validate::ValidPool;
use crate::crd::conditions::{self, Condition, Reason, Verdict};
use crate::crd::status::{
    AgentCounts, AgentPoolStatus, JobCounts, ParallelismStatus, ServiceStatus, TemplateStatus,
    WaitingJob,
};
use jiff::{SignedDuration, Timestamp};

/// The most waiting jobs in the status.
const MAX_WAITING: usize = 20;
/// A status that tells nothing new about conditions is written at most this often.
const WRITE_INTERVAL: SignedDuration = SignedDuration::from_secs(5);
/// A status in which only times have moved is written at most this often.
const HEARTBEAT: SignedDuration = SignedDuration::from_secs(60);

/// How the service answers, as conditions tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceHealth {
    /// Whether the connection may be used: `Err` says why not.
    pub connection: Result<(), (Reason, String)>,
    /// Whether the credential is accepted.
    pub credential: Health,
    /// Whether the pool could be polled.
    pub pool: Health,
    /// When it was asked last.
    pub last_poll: Option<Timestamp>,
    /// When it answered last.
    pub last_success: Option<Timestamp>,
    /// Failures since.
    pub errors: u32,
}

/// Good, bad with a reason, or not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not asked yet.
    Unknown,
    /// Good.
    Good,
    /// Bad.
    Bad(Reason, String),
}

impl Health {
    fn verdict(&self, kind: &'static str, good: Reason) -> Verdict {
        match self {
            Self::Unknown => {
                Verdict::unknown(kind, Reason::NotChecked, "the service was not asked yet")
            }
            Self::Good => Verdict::new(kind, true, good, ""),
            Self::Bad(reason, message) => Verdict::new(kind, false, *reason, message.clone()),
        }
    }
}

/// The status after a round.
pub fn status(
    previous: &AgentPoolStatus,
    generation: Option<i64>,
    pool: &ValidPool,
    plan: &Plan,
    applied: &Resources<Applied>,
    health: &ServiceHealth,
    parallelism: Option<Parallelism>,
    now: Timestamp,
) -> AgentPoolStatus {
    let unmatched = plan
        .waiting
        .iter()
        .filter(|waiting| waiting.template.is_none())
        .count();
    AgentPoolStatus {
        observed_generation: generation,
        pool_id: previous.pool_id,
        jobs: JobCounts {
            queued: number(plan.waiting.len()),
            unmatched: number(unmatched),
            running: number(plan.total.busy),
        },
        agents: agents(&plan.total, plan.orphaned),
        desired: number(plan.desired),
        limited_by: plan
            .limited_by
            .map(|reason| reason.as_str().to_owned())
            .unwrap_or_default(),
        active_schedule: plan.schedule.clone().unwrap_or_default(),
        parallelism: parallelism.map(|all| ParallelismStatus {
            total: number(all.total),
            used: number(all.used),
        }),
        service: ServiceStatus {
            last_poll: health.last_poll.map(seconds),
            last_success: health.last_success.map(seconds),
            consecutive_errors: i32::try_from(health.errors).unwrap_or(i32::MAX),
        },
        templates: templates(pool, plan),
        waiting: waiting(pool, plan),
        conditions: conditions::merge(
            &previous.conditions,
            verdicts(pool, plan, applied, health),
            generation,
            now,
        ),
    }
}

/// The status of a pool that cannot be worked on: what was known stays, the conditions say why.
pub fn stalled(
    previous: &AgentPoolStatus,
    generation: Option<i64>,
    reason: Reason,
    message: &str,
    now: Timestamp,
) -> AgentPoolStatus {
    let verdicts = vec![
        Verdict::new(conditions::READY, false, reason, message),
        Verdict::new(conditions::STALLED, true, reason, message),
        Verdict::new(conditions::RECONCILING, false, Reason::Settled, ""),
    ];
    AgentPoolStatus {
        observed_generation: generation,
        conditions: conditions::merge(&previous.conditions, verdicts, generation, now),
        ..previous.clone()
    }
}

/// Whether a status is worth a write now.
pub fn is_worth_writing(
    previous: &AgentPoolStatus,
    next: &AgentPoolStatus,
    last_write: Option<Timestamp>,
    now: Timestamp,
) -> bool {
    let since = last_write.map_or(SignedDuration::MAX, |at| now.duration_since(at));
    if previous.conditions != next.conditions
        || previous.observed_generation != next.observed_generation
    {
        return true;
    }
    if without_times(previous) != without_times(next) {
        return since >= WRITE_INTERVAL;
    }
    previous != next && since >= HEARTBEAT
}

/// What people should hear of beside the status: why a pool stopped being ready, and jobs that nobody can take.
/// Pools begin without conditions; what is not known yet is no news.
pub fn news<'a>(previous: &[Condition], next: &'a [Condition]) -> Vec<(&'a str, &'a str)> {
    let worth = |condition: &&Condition| {
        matches!(
            (condition.kind.as_str(), condition.status.as_str()),
            (conditions::READY, "False") | (conditions::UNMATCHED_JOBS, "True")
        ) || condition.kind == conditions::SCALING_LIMITED
            && condition.reason == Reason::Parallelism.as_str()
    };
    let told = |condition: &&Condition| {
        previous.iter().any(|before| {
            (&before.kind, &before.status, &before.reason)
                == (&condition.kind, &condition.status, &condition.reason)
        })
    };
    next.iter()
        .filter(worth)
        .filter(|condition| !told(condition))
        .map(|condition| (event(&condition.reason), condition.message.as_str()))
        .collect()
}

/// The word of the Event, where it is not the condition's.
fn event(reason: &str) -> &str {
    if reason == Reason::Parallelism.as_str() {
        Reason::ParallelismExhausted.as_str()
    } else {
        reason
    }
}

fn without_times(status: &AgentPoolStatus) -> AgentPoolStatus {
    let mut status = status.clone();
    status.service.last_poll = None;
    status.service.last_success = None;
    status
}

fn agents(total: &Counts, orphaned: usize) -> AgentCounts {
    let Counts {
        reserved,
        starting,
        idle,
        busy,
        draining,
        failed,
        retired,
    } = total;
    AgentCounts {
        reserved: number(*reserved),
        starting: number(*starting),
        idle: number(*idle),
        busy: number(*busy),
        draining: number(*draining),
        failed: number(*failed),
        retired: number(*retired),
        orphaned: number(orphaned),
        foreign: 0,
    }
}

fn templates(pool: &ValidPool, plan: &Plan) -> Vec<TemplateStatus> {
    pool.templates
        .iter()
        .zip(plan.templates.iter().zip(&plan.queued))
        .map(|(template, (counts, queued))| TemplateStatus {
            name: template.name.clone(),
            queued: number(*queued),
            reserved: number(counts.reserved),
            starting: number(counts.starting),
            idle: number(counts.idle),
            busy: number(counts.busy),
        })
        .collect()
}

fn waiting(pool: &ValidPool, plan: &Plan) -> Vec<WaitingJob> {
    plan.waiting
        .iter()
        .take(MAX_WAITING)
        .map(|waiting| WaitingJob {
            request: waiting.request.0,
            template: waiting
                .template
                .map(|index| pool.templates[index].name.clone())
                .unwrap_or_default(),
            reason: waiting.reason.as_str().to_owned(),
            message: waiting.message.chars().take(1024).collect(),
            since: waiting.since.map(seconds),
        })
        .collect()
}

fn verdicts(
    pool: &ValidPool,
    plan: &Plan,
    applied: &Resources<Applied>,
    health: &ServiceHealth,
) -> Vec<Verdict> {
    let connection = match &health.connection {
        Ok(()) => Verdict::new(conditions::CONNECTION_READY, true, Reason::Allowed, ""),
        Err((Reason::NotChecked, message)) => Verdict::unknown(
            conditions::CONNECTION_READY,
            Reason::NotChecked,
            message.clone(),
        ),
        Err((reason, message)) => Verdict::new(
            conditions::CONNECTION_READY,
            false,
            *reason,
            message.clone(),
        ),
    };
    let credential = health
        .credential
        .verdict(conditions::CREDENTIALS_VALID, Reason::Accepted);
    let reachable = health
        .pool
        .verdict(conditions::POOL_REACHABLE, Reason::Polled);
    let refused = pool
        .templates
        .iter()
        .find_map(|template| template.refused.clone());
    let refused = refused.or_else(|| applied.refused.first().map(|(_, problem)| problem.clone()));
    let ready = ready(&connection, &credential, &reachable, refused.as_deref());
    let unmatched = plan
        .waiting
        .iter()
        .find(|waiting| waiting.template.is_none());
    let limited = plan.limited_by.and_then(|reason| {
        plan.waiting
            .iter()
            .find(|waiting| waiting.reason == reason)
            .map(|waiting| (reason, waiting.message.clone()))
    });
    let under_way = plan.active || !plan.start.is_empty() || !plan.register.is_empty();
    vec![
        ready,
        connection,
        credential,
        reachable,
        match unmatched {
            Some(waiting) => Verdict::new(
                conditions::UNMATCHED_JOBS,
                true,
                Reason::NoTemplate,
                waiting.message.clone(),
            ),
            None => Verdict::new(conditions::UNMATCHED_JOBS, false, Reason::AllMatched, ""),
        },
        match limited {
            Some((reason, message)) => {
                Verdict::new(conditions::SCALING_LIMITED, true, reason, message)
            }
            None => Verdict::new(conditions::SCALING_LIMITED, false, Reason::WithinLimits, ""),
        },
        Verdict::new(conditions::STALLED, false, Reason::NotStalled, ""),
        if under_way {
            Verdict::new(conditions::RECONCILING, true, Reason::Progressing, "")
        } else {
            Verdict::new(conditions::RECONCILING, false, Reason::Settled, "")
        },
    ]
}

/// The first thing that is in the way.
fn ready(
    connection: &Verdict,
    credential: &Verdict,
    reachable: &Verdict,
    refused: Option<&str>,
) -> Verdict {
    let verdicts = [connection, credential, reachable];
    // What is known to be wrong says more than what is not known because of it.
    let wrong = verdicts
        .iter()
        .find(|verdict| verdict.status == Some(false));
    let unknown = || verdicts.iter().find(|verdict| verdict.status.is_none());
    if let Some(&verdict) = wrong.or_else(unknown) {
        return Verdict {
            kind: conditions::READY,
            ..verdict.clone()
        };
    }
    match refused {
        Some(problem) => Verdict::new(conditions::READY, false, Reason::InvalidTemplate, problem),
        None => Verdict::new(conditions::READY, true, Reason::PoolWatched, ""),
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn seconds(at: Timestamp) -> String {
    format!("{at:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_status_is_written_for_news_and_rarely_for_times() {
        let previous = AgentPoolStatus::default();
        let mut times = previous.clone();
        times.service.last_poll = Some("2026-11-22T00:00:00Z".to_owned());
        assert!(
            !is_worth_writing(&previous, &times, Some(at(0)), at(30)),
            "only times moved"
        );
        assert!(is_worth_writing(&previous, &times, Some(at(0)), at(61)));
        let mut counts = previous.clone();
        counts.agents.busy = 1;
        assert!(!is_worth_writing(&previous, &counts, Some(at(0)), at(4)));
        assert!(is_worth_writing(&previous, &counts, Some(at(0)), at(5)));
        let stalled = stalled(
            &previous,
            Some(1),
            Reason::PoolAlreadyManaged,
            "by ci/linux",
            at(1),
        );
        assert!(
            is_worth_writing(&previous, &stalled, Some(at(0)), at(1)),
            "a condition changed"
        );
    }

    #[test]
    fn a_pool_that_stops_being_ready_is_news_once() {
        let conditions = |reason, status| {
            let verdict = Verdict::new(conditions::READY, status, reason, "why");
            conditions::merge(&[], vec![verdict], None, at(0))
        };
        let ready = conditions(Reason::PoolWatched, true);
        let rejected = conditions(Reason::CredentialRejected, false);
        assert_eq!(news(&ready, &rejected), [("CredentialRejected", "why")]);
        assert!(news(&rejected, &rejected).is_empty());
        assert!(news(&rejected, &ready).is_empty());
    }

    #[test]
    fn what_is_in_the_way_first_is_why_a_pool_is_not_ready() {
        let fine = Verdict::new(conditions::CONNECTION_READY, true, Reason::Allowed, "");
        let credential = Verdict::new(
            conditions::CREDENTIALS_VALID,
            false,
            Reason::CredentialRejected,
            "no",
        );
        let unknown = Verdict::unknown(conditions::POOL_REACHABLE, Reason::NotChecked, "");
        let verdict = ready(&fine, &credential, &unknown, None);
        assert_eq!(
            (verdict.kind, verdict.reason),
            (conditions::READY, Reason::CredentialRejected)
        );
        let unasked = Verdict::unknown(conditions::CREDENTIALS_VALID, Reason::NotChecked, "");
        let closed = Verdict::new(
            conditions::POOL_REACHABLE,
            false,
            Reason::PoolUnreachable,
            "closed",
        );
        let verdict = ready(&fine, &unasked, &closed, None);
        assert_eq!(
            (verdict.status, verdict.reason),
            (Some(false), Reason::PoolUnreachable)
        );
        let polled = Verdict::new(conditions::POOL_REACHABLE, true, Reason::Polled, "");
        let good = Verdict::new(conditions::CREDENTIALS_VALID, true, Reason::Accepted, "");
        assert_eq!(
            ready(&fine, &good, &polled, Some("bad pod")).reason,
            Reason::InvalidTemplate
        );
        assert_eq!(ready(&fine, &good, &polled, None).status, Some(true));
    }
}
