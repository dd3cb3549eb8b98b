//! Why each waiting job waits.

use super::{Limit, Planner, Waiting, WaitingRequests, limit};
use crate::backoff::registration_key;
use crate::crd::conditions::Reason;
use crate::pool::facts::Blocked;
use crate::pool::stage::Stage;

impl Planner<'_> {
    pub(super) fn explain(&mut self, waiting: &WaitingRequests<'_>) {
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
            let limits = self.limits(index, requests.len());
            for (request, limit) in requests.iter().zip(limits) {
                if limit.reason != Reason::AgentStarting {
                    self.plan.limited_by = self.plan.limited_by.or(Some(limit.reason));
                }
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

    /// One for each of a template's waiting requests: an agent starts for the first, the others meet a limit.
    fn limits(&self, index: usize, requests: usize) -> Vec<Limit> {
        let counts = &self.plan.templates[index];
        let stuck = self.stuck(index);
        let coming = counts.starting + counts.idle + self.started(index);
        let well = coming.saturating_sub(stuck.len());
        let starting = limit(Reason::AgentStarting, "");
        let mut limits: Vec<Limit> = std::iter::repeat_n(starting, well).chain(stuck).collect();
        let runnable = self.runnable[index];
        limits.truncate(runnable.min(requests));
        let short = runnable.saturating_sub(limits.len());
        if short > 0 {
            limits.extend(std::iter::repeat_n(self.limit(index), short));
        }
        limits.resize(requests, self.no_licence());
        limits
    }

    /// Agents of a template that start and cannot, with the cluster's words.
    fn stuck(&self, index: usize) -> Vec<Limit> {
        let starting = self.stages.iter().filter(|(identity, stage)| {
            *stage == Stage::Starting && self.template_of(identity) == Some(index)
        });
        starting
            .filter_map(|(identity, _)| identity.pod.as_ref()?.blocked.as_ref())
            .map(|blocked| match blocked {
                Blocked::Unschedulable(words) => limit(Reason::Unschedulable, words),
                Blocked::ImagePull(words) => limit(Reason::ImagePullFailed, words),
            })
            .collect()
    }

    fn started(&self, index: usize) -> usize {
        let own = self.plan.start.iter();
        own.filter(|start| start.template == index).count()
    }

    fn no_licence(&self) -> Limit {
        let parallelism = self.observed.snapshot.as_ref().and_then(|s| s.parallelism);
        let (total, used) = parallelism.map_or((0, 0), |all| (all.total, all.used));
        limit(
            Reason::Parallelism,
            &format!("the service runs {used} of at most {total} jobs at once"),
        )
    }

    fn limit(&self, index: usize) -> Limit {
        let template = &self.pool.templates[index];
        let own = self.plan.templates[index].live() + self.started(index);
        if self.observed.deleting.is_some() {
            return limit(Reason::Terminating, "the AgentPool is being deleted");
        }
        if let Some(hold) = self.hold(template) {
            return hold;
        }
        if let Some(most) = template.own_max.filter(|most| own >= *most) {
            return limit(
                Reason::MaxAgents,
                &format!("template {} has all of its {most} agents", template.name),
            );
        }
        if self.plan.total.live() + self.plan.start.len() >= self.capacity.max_agents {
            return self.full();
        }
        if self.starts_left() == 0 {
            let most = self.pool.starts_per_minute.unwrap_or_default();
            let message = format!("scaling.maxStartsPerMinute is {most}");
            return limit(Reason::RateLimit, &message);
        }
        self.no_identity(&template.name)
    }

    fn full(&self) -> Limit {
        let most = self.capacity.max_agents;
        match &self.capacity.schedule {
            Some(name) if self.capacity.max_is_scheduled => limit(
                Reason::Schedule,
                &format!("schedule {name} has maxAgents {most}"),
            ),
            _ => limit(Reason::MaxAgents, &format!("scaling.maxAgents is {most}")),
        }
    }

    fn no_identity(&self, template: &str) -> Limit {
        if let Some(hold) = self.waits(&registration_key(template)) {
            limit(Reason::RegistrationFailed, &hold.message)
        } else if self.observed.writable {
            limit(Reason::NoReserve, "an identity is being registered")
        } else {
            limit(
                Reason::CredentialRejected,
                "no identity can be registered while the service refuses the credential",
            )
        }
    }
}
