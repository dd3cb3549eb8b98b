//! The only place where numbers are decided: how many agents start, which go, and why a job waits.

use super::demand::{Claimed, claim};
use super::facts::{Identity, QueueSnapshot, Request};
use super::stage::{End, Stage, stage};
use super::validate::{ValidPool, ValidTemplate};
use crate::crd::conditions::Reason;
use crate::crd::pool::OrphanMode;
use dayfly_wire::ids::{AgentId, RequestId};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most registrations that are begun in one round; more follow as these end.
const MAX_REGISTRATIONS: usize = 32;
/// How long the service's word on a reserved agent waits for the agent's own, so that one patch carries both.
const PATCH_DELAY: SignedDuration = SignedDuration::from_secs(2);

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
    /// Until when a template's starts wait after failures, and what the last failure was.
    pub backoff: BTreeMap<String, (Timestamp, String)>,
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
    let mut planner = Planner {
        pool,
        observed,
        now,
        stages: observed
            .identities
            .iter()
            .map(|identity| (identity, stage(identity, pool.startup_timeout, now)))
            .collect(),
        plan: Plan {
            templates: vec![Counts::default(); pool.templates.len()],
            queued: vec![0; pool.templates.len()],
            ..Plan::default()
        },
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
    plan.nothing_left = observed.identities.is_empty() && observed.registering.is_empty();
    planner.plan
}

struct Planner<'a> {
    pool: &'a ValidPool,
    observed: &'a Observed,
    now: Timestamp,
    stages: Vec<(&'a Identity, Stage)>,
    plan: Plan,
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

impl<'a> Planner<'a> {
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
                Stage::Settling => {}
                Stage::Reserved => one.reserved = 1,
                Stage::Starting => one.starting = 1,
                Stage::Idle(_) => one.idle = 1,
                Stage::Busy => one.busy = 1,
                Stage::Draining(_) | Stage::Leaving => one.draining = 1,
                Stage::Kept(_) => one.failed = 1,
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

    /// What has come to its end is removed; what failed is kept for a while.
    fn end(&mut self) {
        let deadline = self.deadline_passed();
        let mut kept: Vec<(Timestamp, &str)> = Vec::new();
        for (identity, stage) in &self.stages {
            let end = match stage {
                Stage::Over(end) => Some(end.clone()),
                Stage::Kept(since) => {
                    kept.push((*since, &identity.name));
                    None
                }
                Stage::Reserved | Stage::Starting if self.observed.deleting.is_some() => {
                    Some(deleted("the AgentPool was deleted"))
                }
                Stage::Busy | Stage::Leaving | Stage::Idle(_) | Stage::Draining(_) if deadline => {
                    Some(deleted(
                        "the AgentPool was deleted and its deadline has passed",
                    ))
                }
                Stage::Draining(since) if identity.snapshot.is_some_and(|begun| begun > *since) => {
                    Some(End {
                        reason: Reason::ScaledDown,
                        message: "the agent was idle".to_owned(),
                        keep: false,
                    })
                }
                Stage::Leaving
                    if identity
                        .pod
                        .as_ref()
                        .is_some_and(|pod| pod.deletion.is_none()) =>
                {
                    self.plan.leaving.push(identity.name.clone());
                    None
                }
                Stage::Settling
                | Stage::Reserved
                | Stage::Starting
                | Stage::Idle(_)
                | Stage::Draining(_)
                | Stage::Busy
                | Stage::Leaving => None,
            };
            // A registration alone waits for the service; everything else goes at once.
            let waits = identity.pod.is_none()
                && identity.secret.is_none()
                && !self.observed.writable
                && identity.registration.present().is_some();
            if let Some(end) = end.filter(|_| !self.in_flight(identity) && !waits) {
                let only_if_idle = matches!(stage, Stage::Draining(_)) && !deadline;
                self.plan.retire.push(Retire {
                    identity: identity.name.clone(),
                    request: identity.request.as_ref().map(|request| request.id),
                    only_if_idle,
                    end,
                });
            }
        }
        kept.sort_unstable_by(|a, b| b.cmp(a));
        let ttl = signed(self.pool.failed_ttl);
        for (index, (since, name)) in kept.into_iter().enumerate() {
            let old = self.now.duration_since(since) > ttl;
            if index >= self.pool.failed_history || old || self.observed.deleting.is_some() {
                self.plan.forget.push(name.to_owned());
            }
        }
    }

    fn deadline_passed(&self) -> bool {
        self.observed.deleting.is_some_and(|since| {
            self.now.duration_since(since) > signed(self.pool.deregister_deadline)
        })
    }

    /// A busy agent is disabled, so that no second job can be assigned, and its pod says that it is busy.
    fn mark(&mut self) {
        for (identity, stage) in &self.stages {
            if !matches!(stage, Stage::Busy | Stage::Leaving) {
                continue;
            }
            let known = identity.known.as_ref();
            if identity.request.is_some()
                && known.is_some_and(|known| known.reserved_seen.is_none())
            {
                self.plan.reserved_seen.push(identity.name.clone());
            }
            let enabled = identity.registration.present().is_some_and(|r| r.enabled);
            let busy = matches!(stage, Stage::Busy);
            let own_word = known.is_some_and(|known| known.accepted.is_some());
            let waited = known
                .and_then(|known| known.reserved_seen)
                .is_some_and(|since| self.now.duration_since(since) > PATCH_DELAY);
            let unpatched = identity
                .pod
                .as_ref()
                .is_some_and(|pod| !pod.busy && pod.deletion.is_none())
                && known.is_some_and(|known| !known.patched);
            let disable = enabled && self.observed.writable;
            let patch = busy && unpatched && (own_word || waited);
            if (disable || patch) && !self.in_flight(identity) {
                self.plan.mark.push(Mark {
                    identity: identity.name.clone(),
                    request: identity
                        .request
                        .as_ref()
                        .map(|request| request.id)
                        .or_else(|| known.and_then(|known| known.accepted).map(|(id, _)| id)),
                    disable,
                    patch,
                });
            }
        }
    }

    /// Requests that no live agent of ours has, by the template that claims them.
    fn waiting(&self) -> WaitingRequests<'a> {
        let mut waiting = WaitingRequests {
            claimed: vec![Vec::new(); self.pool.templates.len()],
            unmatched: Vec::new(),
        };
        let Some(snapshot) = &self.observed.snapshot else {
            return waiting;
        };
        let live: BTreeSet<AgentId> = self
            .stages
            .iter()
            .filter(|(_, stage)| {
                matches!(
                    stage,
                    Stage::Starting
                        | Stage::Idle(_)
                        | Stage::Draining(_)
                        | Stage::Busy
                        | Stage::Leaving
                        | Stage::Over(_)
                )
            })
            .filter_map(|(identity, _)| identity.registration.present().map(|r| r.id))
            .collect();
        let mut requests: Vec<&Request> = snapshot
            .requests
            .iter()
            .filter(|request| {
                let taken = self
                    .observed
                    .taken
                    .get(&request.id)
                    .is_some_and(|at| *at >= snapshot.begun);
                !request.received
                    && !taken
                    && request.agent.is_none_or(|agent| !live.contains(&agent))
            })
            .collect();
        requests.sort_by_key(|request| (request.queued, request.id));
        for request in requests {
            match claim(&request.demands, &self.pool.templates) {
                Claimed::By(template) => waiting.claimed[template].push(request),
                Claimed::Unmatched(demand) => waiting.unmatched.push((request, demand)),
            }
        }
        waiting
    }

    fn scale(&mut self, waiting: &WaitingRequests<'_>) {
        if self.observed.deleting.is_some() {
            self.drain_idle(usize::MAX, |_| true);
            return;
        }
        let mut room = self.pool.max_agents.saturating_sub(self.plan.total.live());
        for index in 0..self.pool.templates.len() {
            let template = &self.pool.templates[index];
            let counts = self.plan.templates[index].clone();
            let need = waiting.claimed[index].len() + template.min_idle;
            let have = counts.starting + counts.idle;
            let own_room = template.max_agents.saturating_sub(counts.live()).min(room);
            let wanted = if self.hold(template).is_some() {
                0
            } else {
                need.saturating_sub(have).min(own_room)
            };
            let started = self.start(index, wanted);
            room -= started;
            self.plan.desired += (need + counts.busy).min(template.max_agents);
            self.replenish(index, started, wanted - started);
            self.drain_surplus(index, have.saturating_sub(need));
        }
        self.plan.desired = self.plan.desired.min(self.pool.max_agents);
    }

    /// Why a template starts nothing at all.
    fn hold(&self, template: &ValidTemplate) -> Option<Limit> {
        if self.pool.paused {
            return Some(limit(Reason::Paused, "spec.paused is set"));
        }
        if let Some(problem) = &template.refused {
            return Some(limit(Reason::InvalidTemplate, problem));
        }
        self.observed
            .backoff
            .get(&template.name)
            .filter(|(until, _)| *until > self.now)
            .map(|(_, message)| limit(Reason::Backoff, message))
    }

    /// Starts up to `wanted` reserved identities and leaves the last one as the placeholder of the template.
    fn start(&mut self, template: usize, wanted: usize) -> usize {
        let current = &self.pool.templates[template].identity_hash;
        let mut ready: Vec<&Identity> = self
            .stages
            .iter()
            .filter(|(identity, stage)| {
                matches!(stage, Stage::Reserved)
                    && self.template_of(identity) == Some(template)
                    && !self.in_flight(identity)
                    // While nothing can be registered, an outdated identity is better than none.
                    && (identity.identity_hash() == current || !self.observed.writable)
            })
            .map(|(identity, _)| *identity)
            .collect();
        // One that a request is already given to first, then the oldest.
        ready.sort_by_key(|identity| {
            let created = identity.secret.as_ref().and_then(|secret| secret.created);
            (identity.request.is_none(), created, identity.name.clone())
        });
        let startable = ready.len().saturating_sub(1);
        let chosen = wanted.min(startable);
        for identity in ready.into_iter().take(chosen) {
            self.plan.start.push(Start {
                identity: identity.name.clone(),
                template,
            });
        }
        chosen
    }

    /// Registers what the reserve lacks, and retires reserved identities that the template has outgrown.
    fn replenish(&mut self, index: usize, started: usize, short: usize) {
        let template = &self.pool.templates[index];
        let (current, outdated): (Vec<&Identity>, Vec<&Identity>) = self
            .stages
            .iter()
            .filter(|(identity, stage)| {
                matches!(stage, Stage::Reserved) && self.template_of(identity) == Some(index)
            })
            .map(|(identity, _)| *identity)
            .partition(|identity| identity.identity_hash() == template.identity_hash);
        if !self.observed.writable {
            return;
        }
        let under_way = self
            .observed
            .registering
            .get(&template.name)
            .copied()
            .unwrap_or(0);
        let wanted = (template.reserve + started + short).saturating_sub(current.len() + under_way);
        let wanted = wanted.min(MAX_REGISTRATIONS.saturating_sub(under_way));
        if wanted > 0 && template.refused.is_none() {
            self.plan.register.insert(index, wanted);
        }
        // The outdated ones hold the place until there is another.
        let surplus = current
            .len()
            .saturating_sub(template.reserve + started + short);
        let outdated = outdated.into_iter().filter(|_| !current.is_empty());
        // Only a lowered `reserve.size` leaves a surplus worth the writes; a few extra are soon used.
        let surplus = current
            .iter()
            .rev()
            .take(if surplus > template.reserve {
                surplus
            } else {
                0
            })
            .copied();
        for identity in outdated.chain(surplus) {
            if self.in_flight(identity)
                || self
                    .plan
                    .start
                    .iter()
                    .any(|start| start.identity == identity.name)
            {
                continue;
            }
            self.plan.retire.push(Retire {
                identity: identity.name.clone(),
                end: End {
                    reason: Reason::ScaledDown,
                    message: "the reserved identity is outdated".to_owned(),
                    keep: false,
                },
                request: None,
                only_if_idle: true,
            });
        }
    }

    /// Idle agents beyond the need leave after the idle timeout; outdated and very old ones leave anyway.
    fn drain_surplus(&mut self, index: usize, surplus: usize) {
        let template = self.pool.templates[index].clone();
        let (timeout, max_age) = (
            signed(self.pool.idle_timeout),
            signed(self.pool.max_idle_age),
        );
        let now = self.now;
        let of_template = |identity: &Identity| identity.template() == template.name;
        let outdated = |identity: &Identity| {
            let pod = identity.pod.as_ref();
            template.refused.is_none() && pod.is_some_and(|pod| pod.hash != template.pod_hash)
                || pod
                    .and_then(|pod| pod.created)
                    .is_some_and(|at| now.duration_since(at) > max_age)
        };
        self.drain_idle(usize::MAX, |(identity, _)| {
            of_template(identity) && outdated(identity)
        });
        self.drain_idle(surplus, |(identity, since)| {
            of_template(identity) && !outdated(identity) && now.duration_since(since) > timeout
        });
    }

    fn drain_idle(&mut self, most: usize, which: impl Fn((&Identity, Timestamp)) -> bool) {
        if !self.observed.writable {
            return;
        }
        let mut idle: Vec<(Timestamp, &str)> = self
            .stages
            .iter()
            .filter_map(|(identity, stage)| match stage {
                Stage::Idle(since) if !self.in_flight(identity) && which((identity, *since)) => {
                    Some((*since, identity.name.as_str()))
                }
                _ => None,
            })
            .collect();
        idle.sort_unstable();
        let names = idle.into_iter().take(most).map(|(_, name)| name.to_owned());
        self.plan.drain.extend(names);
    }

    fn explain(&mut self, waiting: &WaitingRequests<'_>) {
        for (request, demand) in &waiting.unmatched {
            self.plan.waiting.push(Waiting {
                request: request.id,
                template: None,
                reason: Reason::NoTemplate,
                message: format!("no template offers what the job demands: {demand}"),
                since: request.queued,
            });
        }
        for (index, requests) in waiting.claimed.iter().enumerate() {
            self.plan.queued[index] = requests.len();
            let started = self
                .plan
                .start
                .iter()
                .filter(|start| start.template == index)
                .count();
            let coming =
                self.plan.templates[index].starting + self.plan.templates[index].idle + started;
            let limit = self.limit(index);
            if requests.len() > coming {
                self.plan.limited_by = self.plan.limited_by.or(Some(limit.reason));
            }
            for (place, request) in requests.iter().enumerate() {
                let limit = if place < coming {
                    Limit {
                        reason: Reason::AgentStarting,
                        message: String::new(),
                    }
                } else {
                    limit.clone()
                };
                self.plan.waiting.push(Waiting {
                    request: request.id,
                    template: Some(index),
                    reason: limit.reason,
                    message: limit.message,
                    since: request.queued,
                });
            }
        }
        self.plan
            .waiting
            .sort_by_key(|waiting| (waiting.since, waiting.request));
    }

    fn limit(&self, index: usize) -> Limit {
        let template = &self.pool.templates[index];
        let started = |index| {
            self.plan
                .start
                .iter()
                .filter(|start| start.template == index)
                .count()
        };
        let own = self.plan.templates[index].live() + started(index);
        if self.observed.deleting.is_some() {
            return limit(Reason::Terminating, "the AgentPool is being deleted");
        }
        if let Some(hold) = self.hold(template) {
            return hold;
        }
        if own >= template.max_agents {
            return limit(
                Reason::MaxAgents,
                &format!("template {} has all of its {} agents", template.name, own),
            );
        }
        if self.plan.total.live() + self.plan.start.len() >= self.pool.max_agents {
            return limit(
                Reason::MaxAgents,
                &format!("scaling.maxAgents is {}", self.pool.max_agents),
            );
        }
        if self.observed.writable {
            limit(Reason::NoReserve, "an identity is being registered")
        } else {
            limit(
                Reason::CredentialRejected,
                "no identity can be registered while the service refuses the credential",
            )
        }
    }

    /// Registrations with our mark whose AgentPool is not there any more.
    fn sweep(&mut self) {
        if self.pool.orphan_mode == OrphanMode::Off {
            return;
        }
        let Some(snapshot) = &self.observed.snapshot else {
            return;
        };
        let min_age = signed(self.pool.orphan_min_age);
        for agent in &snapshot.agents {
            let old = agent
                .created
                .is_none_or(|at| self.now.duration_since(at) > min_age);
            if !old || self.observed.living.contains(&agent.owner) {
                continue;
            }
            self.plan.orphaned += 1;
            if self.pool.orphan_mode == OrphanMode::Enforce && self.observed.writable {
                self.plan.orphans.push((agent.id, agent.name.clone()));
            }
        }
    }
}

fn deleted(message: &str) -> End {
    End {
        reason: Reason::Terminating,
        message: message.to_owned(),
        keep: false,
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
