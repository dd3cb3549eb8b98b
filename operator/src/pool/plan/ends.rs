//! What has come to its end, what is kept of it, and what busy agents need.

use super::{Mark, Planner, Retire, signed};
use crate::crd::conditions::Reason;
use crate::crd::lifecycle::InfrastructureLoss;
use crate::crd::pool::OrphanMode;
use crate::pool::facts::{Identity, Presence};
use crate::pool::stage::{End, Ended, Stage};
use jiff::SignedDuration;

/// How long the service's word on a reserved agent waits for the agent's own, so that one patch carries both.
const PATCH_DELAY: SignedDuration = SignedDuration::from_secs(2);

impl Planner<'_> {
    /// What has come to its end is removed; what failed is kept for a while.
    pub(super) fn end(&mut self) {
        let deadline = self.deadline_passed();
        let mut kept: Vec<(Ended, &str)> = Vec::new();
        for (identity, stage) in &self.stages {
            let end = match stage {
                Stage::Over(end) => Some(end.clone()),
                Stage::Kept(ended) => {
                    kept.push((*ended, &identity.name));
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
                Stage::Busy if self.is_overdue(identity) => Some(self.overdue()),
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
                | Stage::Vanishing
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
                && identity.registration != Presence::Absent;
            if let Some(end) = end.filter(|_| !self.in_flight(identity) && !waits) {
                let may_work = matches!(stage, Stage::Draining(_)) || end.is_unclaimed();
                let only_if_idle = may_work && !deadline;
                self.plan.retire.push(Retire {
                    identity: identity.name.clone(),
                    request: identity.request.as_ref().map(|request| request.id),
                    only_if_idle,
                    spare_request: self.pool.on_loss == InfrastructureLoss::None && end.is_loss(),
                    end,
                });
            }
        }
        let (failed, succeeded) = kept.into_iter().partition(|(ended, _)| ended.failed);
        let forgotten = [
            self.beyond(
                failed,
                self.pool.failed_history,
                signed(self.pool.failed_ttl),
            ),
            self.beyond(succeeded, self.pool.succeeded_history, SignedDuration::MAX),
        ];
        self.plan.forget.extend(forgotten.into_iter().flatten());
    }

    /// All but the newest so many, and what is older than `ttl`.
    fn beyond(
        &self,
        mut kept: Vec<(Ended, &str)>,
        history: usize,
        ttl: SignedDuration,
    ) -> Vec<String> {
        kept.sort_unstable_by_key(|(ended, name)| std::cmp::Reverse((ended.since, *name)));
        let forgotten = kept.into_iter().enumerate().filter(|(index, (ended, _))| {
            let old = self.now.duration_since(ended.since) > ttl;
            *index >= history || old || self.observed.deleting.is_some()
        });
        forgotten.map(|(_, (_, name))| name.to_owned()).collect()
    }

    /// Whether a job runs longer than it may.
    fn is_overdue(&self, identity: &Identity) -> bool {
        let accepted = identity.known.as_ref().and_then(|known| known.accepted);
        let patched = identity.pod.as_ref().and_then(|pod| pod.accepted);
        let received = identity
            .request
            .as_ref()
            .and_then(|request| request.received);
        let since = accepted.map(|(_, at)| at).or(patched).or(received);
        self.pool
            .job_timeout
            .zip(since)
            .is_some_and(|(limit, since)| self.now.duration_since(since) > signed(limit))
    }

    fn overdue(&self) -> End {
        let limit = humantime::format_duration(self.pool.job_timeout.unwrap_or_default());
        End {
            reason: Reason::JobTimeout,
            message: format!("the job ran longer than lifecycle.jobTimeout ({limit})"),
            keep: false,
        }
    }

    pub(super) fn deadline_passed(&self) -> bool {
        self.observed.deleting.is_some_and(|since| {
            self.now.duration_since(since) > signed(self.pool.deregister_deadline)
        })
    }

    /// A busy agent is disabled, so that no second job can be assigned, and its pod says that it is busy.
    pub(super) fn mark(&mut self) {
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

    /// Registrations with our mark whose AgentPool is not there any more.
    pub(super) fn sweep(&mut self) {
        if self.pool.orphan_mode == OrphanMode::Off {
            return;
        }
        let Some(snapshot) = &self.observed.snapshot else {
            return;
        };
        let min_age = signed(self.pool.orphan_min_age);
        let interval = signed(self.pool.orphan_interval);
        let due = self
            .observed
            .swept
            .is_none_or(|at| self.now.duration_since(at) >= interval);
        for agent in &snapshot.agents {
            let old = agent
                .created
                .is_none_or(|at| self.now.duration_since(at) > min_age);
            if !old || self.observed.living.contains(&agent.owner) {
                continue;
            }
            self.plan.orphaned += 1;
            if due && self.pool.orphan_mode == OrphanMode::Enforce && self.observed.writable {
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
