//! How many agents start, are registered for later, and leave because they are not needed.

use super::{Limit, Planner, Retire, Start, WaitingRequests, limit, signed};
use crate::backoff::{Hold, registration_key};
use crate::crd::conditions::Reason;
use crate::pool::demand::{Claimed, claim};
use crate::pool::facts::{Identity, Request};
use crate::pool::stage::{End, Stage};
use crate::pool::validate::ValidTemplate;
use dayfly_wire::ids::AgentId;
use jiff::Timestamp;
use std::collections::BTreeSet;

/// The most registrations that are begun in one round; more follow as these end.
const MAX_REGISTRATIONS: usize = 32;

impl<'a> Planner<'a> {
    /// Requests that no live agent of ours has, by the template that claims them.
    pub(super) fn waiting(&self) -> WaitingRequests<'a> {
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
                request.received.is_none()
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

    pub(super) fn scale(&mut self, waiting: &WaitingRequests<'_>) {
        if self.observed.deleting.is_some() {
            self.drain_idle(usize::MAX, |_| true);
            return;
        }
        let most = self.capacity.max_agents;
        let mut room = most.saturating_sub(self.plan.total.live());
        let mut licences = self.licences();
        for index in 0..self.pool.templates.len() {
            let template = &self.pool.templates[index];
            let share = self.capacity.templates[index];
            let counts = self.plan.templates[index].clone();
            let runnable = runnable(&waiting.claimed[index], &mut licences);
            self.runnable[index] = runnable;
            let need = runnable + self.pool.surge.beyond(runnable) + share.min_idle;
            let have = counts.starting + counts.idle;
            let own_room = share.max_agents.saturating_sub(counts.live()).min(room);
            let wanted = if self.hold(template).is_some() {
                0
            } else {
                let wanted = need.saturating_sub(have).min(own_room);
                wanted.min(self.starts_left())
            };
            let started = self.start(index, wanted, &waiting.claimed[index], have);
            room -= started;
            self.plan.desired += (need + counts.busy).min(share.max_agents);
            self.replenish(index, started, wanted - started);
            self.plan.surplus[index] = have > need;
            self.drain_surplus(index, have.saturating_sub(need));
        }
        self.plan.desired = self.plan.desired.min(most);
    }

    /// How many more jobs the service would run now.
    fn licences(&self) -> usize {
        let parallelism = self
            .observed
            .snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.parallelism)
            .filter(|_| self.pool.respect_parallelism);
        parallelism.map_or(usize::MAX, |all| all.total.saturating_sub(all.used))
    }

    /// How many more agents may be started within this minute.
    pub(super) fn starts_left(&self) -> usize {
        self.pool.starts_per_minute.map_or(usize::MAX, |most| {
            most.saturating_sub(self.observed.started + self.plan.start.len())
        })
    }

    /// The last failure, while the next attempt waits.
    pub(super) fn waits(&self, key: &str) -> Option<&Hold> {
        self.observed
            .backoff
            .get(key)
            .filter(|hold| hold.until > self.now)
    }

    /// Why a template starts nothing at all.
    pub(super) fn hold(&self, template: &ValidTemplate) -> Option<Limit> {
        if self.pool.paused {
            return Some(limit(Reason::Paused, "spec.paused is set"));
        }
        if let Some(problem) = &template.refused {
            return Some(limit(Reason::InvalidTemplate, problem));
        }
        self.waits(&template.name)
            .map(|hold| limit(hold.reason, &hold.message))
    }

    /// Starts up to `wanted` reserved identities and leaves the last one as the placeholder of the template.
    pub(super) fn start(
        &mut self,
        template: usize,
        wanted: usize,
        waiting: &[&Request],
        have: usize,
    ) -> usize {
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
        // Those that start or idle already are for the requests that wait longest.
        let since = waiting.iter().skip(have).map(|request| request.queued);
        let since = since.chain(std::iter::repeat(None));
        for (identity, since) in ready.into_iter().take(chosen).zip(since) {
            self.plan.start.push(Start {
                identity: identity.name.clone(),
                template,
                since,
            });
        }
        chosen
    }

    /// Registers what the reserve lacks, and retires reserved identities that the template has outgrown.
    pub(super) fn replenish(&mut self, index: usize, started: usize, short: usize) {
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
        let failing = self.waits(&registration_key(&template.name)).is_some();
        if wanted > 0 && template.refused.is_none() && !failing {
            self.plan.register.insert(index, wanted);
        }
        // The outdated ones hold the place until there is another.
        let outdated = outdated.into_iter().filter(|_| !current.is_empty());
        // A few too many are soon used; only a reserve that was made much smaller is worth the writes.
        let wanted = template.reserve + started + short;
        let surplus = current.len().saturating_sub(wanted);
        let surplus = if surplus > template.reserve {
            surplus
        } else {
            0
        };
        let surplus = current.iter().rev().take(surplus).copied();
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
                spare_request: false,
            });
        }
    }

    /// Idle agents beyond the need leave after the idle timeout; outdated and very old ones leave anyway.
    pub(super) fn drain_surplus(&mut self, index: usize, surplus: usize) {
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
        let delay = signed(self.pool.scale_down_delay);
        let since = self.observed.surplus_since.get(&template.name);
        if since.is_none_or(|since| now.duration_since(*since) < delay) {
            return;
        }
        self.drain_idle(surplus, |(identity, since)| {
            of_template(identity) && !outdated(identity) && now.duration_since(since) > timeout
        });
    }

    pub(super) fn drain_idle(
        &mut self,
        most: usize,
        which: impl Fn((&Identity, Timestamp)) -> bool,
    ) {
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
}

/// How many of these requests the service would run. Those that it gave to an agent have their licence already.
fn runnable(requests: &[&Request], licences: &mut usize) -> usize {
    let unassigned = requests
        .iter()
        .filter(|request| request.agent.is_none())
        .count();
    let granted = unassigned.min(*licences);
    *licences -= granted;
    requests.len() - unassigned + granted
}
