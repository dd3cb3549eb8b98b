//! The only place where numbers are decided: how many agents start, which go, and why a job waits.

mod ends;
mod explain;
mod scale;

use super::capacity::{Capacity, capacity};
use super::facts::{Identity, QueueSnapshot, Request};
use super::stage::{End, Limits, Stage, stage};
use super::validate::ValidPool;
use crate::backoff::Hold;
use crate::crd::conditions::Reason;
use dayfly_wire::ids::{AgentId, RequestId};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the plan is made from.
pub struct Observed {
    /// Our identities.
    pub identities: Vec<Identity>,
    /// The last snapshot.
    pub snapshot: Option<Arc<QueueSnapshot>>,
    /// Whether the service takes writes now.
    pub writable: bool,
    /// Registrations under way, by template.
    pub registering: BTreeMap<String, usize>,
    /// Until when a template's starts wait after failures, and why.
    pub backoff: BTreeMap<String, Hold>,
    /// Agents that were started within the last minute.
    pub started: usize,
    /// Since when templates have more idle agents than they need.
    pub surplus_since: BTreeMap<String, Timestamp>,
    /// When orphans were removed last.
    pub swept: Option<Timestamp>,
    /// Requests that our agents took, and when: an older snapshot may still show them waiting.
    pub taken: BTreeMap<RequestId, Timestamp>,
    /// The uids of all living AgentPools.
    pub living: BTreeSet<String>,
    /// Since when the AgentPool is being deleted.
    pub deleting: Option<Timestamp>,
}

/// An identity to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The identity.
    pub identity: String,
    /// The index of its template.
    pub template: usize,
    /// Since when the request waits that it is started for; none for one that is to idle.
    pub since: Option<Timestamp>,
}

/// An identity to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retire {
    /// The identity.
    pub identity: String,
    /// Why.
    pub end: End,
    /// Its request, if it holds one.
    pub request: Option<RequestId>,
    /// Whether the service must confirm that no request came in meanwhile.
    pub only_if_idle: bool,
    /// Whether its request is left for the service to end.
    pub spare_request: bool,
}

/// A busy agent to disable, and whether to patch its pod too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The identity.
    pub identity: String,
    /// The request.
    pub request: Option<RequestId>,
    /// Whether the registration is still enabled.
    pub disable: bool,
    /// Whether the pod lacks the busy patch.
    pub patch: bool,
}

/// A waiting request and why it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The request.
    pub request: RequestId,
    /// The template that claims it.
    pub template: Option<usize>,
    /// Why it waits.
    pub reason: Reason,
    /// What a person should know.
    pub message: String,
    /// Since when.
    pub since: Option<Timestamp>,
}

/// How many identities of a template are where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Without a pod.
    pub reserved: usize,
    /// With a pod, not listening.
    pub starting: usize,
    /// Listening.
    pub idle: usize,
    /// With a job.
    pub busy: usize,
    /// On the way out, pod and all.
    pub draining: usize,
    /// Failed and kept.
    pub failed: usize,
    /// Waiting to be deleted in the service.
    pub retired: usize,
}

impl Counts {
    /// Those that count against a maximum.
    pub fn live(&self) -> usize {
        self.starting + self.idle + self.busy + self.draining
    }

    fn add(&mut self, other: &Self) {
        let Self {
            reserved,
            starting,
            idle,
            busy,
            draining,
            failed,
            retired,
        } = other;
        self.reserved += reserved;
        self.starting += starting;
        self.idle += idle;
        self.busy += busy;
        self.draining += draining;
        self.failed += failed;
        self.retired += retired;
    }
}

/// What is to be done, and what is to be said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Pods to create.
    pub start: Vec<Start>,
    /// Identities to register, by template.
    pub register: BTreeMap<usize, usize>,
    /// Idle identities to disable; they are removed once a later snapshot shows no request.
    pub drain: Vec<String>,
    /// Identities to remove.
    pub retire: Vec<Retire>,
    /// Busy identities to disable and patch.
    pub mark: Vec<Mark>,
    /// Kept pods to delete.
    pub forget: Vec<String>,
    /// Registrations of AgentPools that are gone, to delete.
    pub orphans: Vec<(AgentId, String)>,
    /// Busy identities whose request is not in the list any more.
    pub leaving: Vec<String>,
    /// Identities whose request is in the list.
    pub reserved_seen: Vec<String>,
    /// Waiting requests, oldest first.
    pub waiting: Vec<Waiting>,
    /// By template, in the templates' order.
    pub templates: Vec<Counts>,
    /// All, with those of templates that are not there any more.
    pub total: Counts,
    /// Waiting requests by template.
    pub queued: Vec<usize>,
    /// How many agents there should be.
    pub desired: usize,
    /// Whether there are more idle agents than needed, in the templates' order.
    pub surplus: Vec<bool>,
    /// The schedule that applies.
    pub schedule: Option<String>,
    /// What keeps jobs waiting.
    pub limited_by: Option<Reason>,
    /// Our marks without a living AgentPool, whether removed or only counted.
    pub orphaned: usize,
    /// Whether anything waits, starts or ends: poll quickly.
    pub active: bool,
    /// Whether nothing is left: the finalizer may go.
    pub nothing_left: bool,
}

/// Plans. Pure: what it does not know it is not told.
pub fn plan(pool: &ValidPool, observed: &Observed, now: Timestamp) -> Plan {
    let limits = Limits {
        startup_timeout: pool.startup_timeout,
        image_pull_grace: pool.image_pull_grace,
        keep_succeeded: pool.succeeded_history > 0,
    };
    let capacity = capacity(pool, now);
    let mut planner = Planner {
        pool,
        observed,
        now,
        stages: observed
            .identities
            .iter()
            .map(|identity| (identity, stage(identity, limits, now)))
            .collect(),
        plan: Plan {
            templates: vec![Counts::default(); pool.templates.len()],
            queued: vec![0; pool.templates.len()],
            surplus: vec![false; pool.templates.len()],
            schedule: capacity.schedule.clone(),
            ..Plan::default()
        },
        capacity,
        runnable: vec![0; pool.templates.len()],
    };
    planner.count();
    planner.end();
    planner.mark();
    let waiting = planner.waiting();
    planner.scale(&waiting);
    planner.explain(&waiting);
    planner.sweep();
    let plan = &mut planner.plan;
    plan.active = !plan.waiting.is_empty()
        || plan.total.starting > 0
        || plan.total.draining > 0
        || !plan.retire.is_empty();
    plan.nothing_left = observed.registering.is_empty()
        && planner
            .stages
            .iter()
            .all(|(_, stage)| *stage == Stage::Vanishing);
    planner.plan
}

struct Planner<'a> {
    pool: &'a ValidPool,
    observed: &'a Observed,
    now: Timestamp,
    stages: Vec<(&'a Identity, Stage)>,
    plan: Plan,
    capacity: Capacity,
    /// Waiting requests that the service's parallel jobs leave room for, by template.
    runnable: Vec<usize>,
}

/// Waiting requests by template index, and those that nobody claims.
struct WaitingRequests<'a> {
    claimed: Vec<Vec<&'a Request>>,
    unmatched: Vec<(&'a Request, String)>,
}

/// Why a template starts no more agents than it does.
#[derive(Clone, Debug)]
struct Limit {
    reason: Reason,
    message: String,
}

impl Planner<'_> {
    /// Whether an operation on it is under way, or waits after a failure.
    fn in_flight(&self, identity: &Identity) -> bool {
        let known = identity.known.as_ref();
        known.is_some_and(|known| {
            known.in_flight || known.held_until.is_some_and(|until| until > self.now)
        })
    }

    fn template_of(&self, identity: &Identity) -> Option<usize> {
        self.pool
            .templates
            .iter()
            .position(|t| t.name == identity.template())
    }

    fn count(&mut self) {
        for index in 0..self.stages.len() {
            let (identity, stage) = &self.stages[index];
            let mut one = Counts::default();
            match stage {
                Stage::Settling | Stage::Vanishing => {}
                Stage::Reserved => one.reserved = 1,
                Stage::Starting => one.starting = 1,
                Stage::Idle(_) => one.idle = 1,
                Stage::Busy => one.busy = 1,
                Stage::Draining(_) | Stage::Leaving => one.draining = 1,
                Stage::Kept(ended) => one.failed = usize::from(ended.failed),
                // Without a pod only the registration is left, which waits for the service.
                Stage::Over(_) if identity.pod.is_none() => one.retired = 1,
                Stage::Over(_) => one.draining = 1,
            }
            if let Some(template) = self.template_of(identity) {
                self.plan.templates[template].add(&one);
            }
            self.plan.total.add(&one);
        }
    }
}

fn limit(reason: Reason, message: &str) -> Limit {
    Limit {
        reason,
        message: message.to_owned(),
    }
}

fn signed(duration: std::time::Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests;
