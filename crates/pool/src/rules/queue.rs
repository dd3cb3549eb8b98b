//! Which agent gets which job.

use super::entities::{Agent, Request};
use dayfly_wire::agent::Capabilities;
use dayfly_wire::demand::Demand;

/// The most agents that a request names as matching.
pub const MATCHED: usize = 20;

/// Whether an agent could take a job now; the session and what it holds are the store's to know.
pub fn may_take(agent: &Agent) -> bool {
    agent.enabled && !(agent.single_use && agent.jobs_taken > 0)
}

/// Pairs waiting requests with idle agents: requests in their order, each with the first agent that satisfies it.
/// Answers indices into both slices; each agent appears once at most.
pub fn pair(waiting: &[Request], idle: &[Agent]) -> Vec<(usize, usize)> {
    let mut free: Vec<usize> = (0..idle.len())
        .filter(|index| idle.get(*index).is_some_and(may_take))
        .collect();
    let mut pairs = Vec::new();
    for (index, request) in waiting.iter().enumerate() {
        if free.is_empty() {
            break;
        }
        if !request.is_waiting() {
            continue;
        }
        let place = free.iter().position(|agent| {
            idle.get(*agent)
                .is_some_and(|agent| satisfies(&request.demands, &agent.capabilities()))
        });
        if let Some(place) = place {
            pairs.push((index, free.remove(place)));
        }
    }
    pairs
}

/// Whether the capabilities satisfy every demand.
pub fn satisfies(demands: &[String], capabilities: &[&Capabilities]) -> bool {
    dayfly_wire::demand::first_unsatisfied(demands, capabilities).is_none()
}

/// Why no registered agent can ever take the job.
pub fn unmatched_reason(pool: &str, demands: &[String], registered: &[Agent]) -> String {
    if registered.is_empty() {
        return format!(
            "No agent is registered in pool {pool}; register one, or queue the job to another pool."
        );
    }
    let lacking: Vec<&str> = demands
        .iter()
        .filter(|demand| !registered.iter().any(|agent| meets(demand, agent)))
        .map(String::as_str)
        .collect();
    let count = registered.len();
    if lacking.is_empty() {
        format!(
            "No agent found in pool {pool} which satisfies all of the following demands at once: {} ({count} agents registered).",
            demands.join(", ")
        )
    } else {
        format!(
            "No agent found in pool {pool} which satisfies the following demands: {} ({count} agents registered).",
            lacking.join(", ")
        )
    }
}

fn meets(demand: &str, agent: &Agent) -> bool {
    demand
        .parse::<Demand>()
        .is_ok_and(|demand| demand.is_satisfied_by(&agent.capabilities()))
}
