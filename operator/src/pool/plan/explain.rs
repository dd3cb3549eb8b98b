//! Why each waiting job waits.

use super::{Limit, Planner, Waiting, WaitingRequests, limit};
use crate::backoff::registration_key;
use crate::crd::conditions::Reason;

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

    pub(super) fn limit(&self, index: usize) -> Limit {
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
        if let Some(problem) = self.waits(&registration_key(&template.name)) {
            limit(Reason::NoReserve, problem)
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
