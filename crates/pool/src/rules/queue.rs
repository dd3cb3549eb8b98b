//! Which agent gets which job.

use super::entities::{Agent, Request};
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
                .is_some_and(|agent| satisfies(&request.demands, agent))
        });
        if let Some(place) = place {
            pairs.push((index, free.remove(place)));
        }
    }
    pairs
}

/// The demand that an agent may satisfy by its own word: it alone knows which version it has become.
const VERSION: &str = "Agent.Version";

/// Whether the agent satisfies every demand.
///
/// What an administrator registered decides; what the agent reported of itself can only take away from it. Else
/// whoever has an agent's key could claim anything and be given anybody's jobs.
pub fn satisfies(demands: &[String], agent: &Agent) -> bool {
    demands.iter().all(|demand| meets(demand, agent))
}

fn meets(demand: &str, agent: &Agent) -> bool {
    let Ok(demand) = demand.parse::<Demand>() else {
        return false;
    };
    let user = &agent.user_capabilities;
    let reported = demand.is_satisfied_by(&[agent.shown_capabilities(), user]);
    let registered = demand.is_satisfied_by(&[&agent.system_capabilities, user]);
    reported && (registered || demand.name.eq_ignore_ascii_case(VERSION))
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

#[cfg(test)]
mod tests {
    use super::super::samples::{agent, request};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_are_served_in_their_order_by_the_first_agent_that_can() {
        let waiting = [
            request(1, &["gpu"]),
            request(2, &["docker"]),
            request(3, &[]),
        ];
        let idle = [agent(10, &[]), agent(11, &[("Docker", "")])];
        assert_eq!(pair(&waiting, &idle), [(1, 1), (2, 0)]);
    }

    #[test]
    fn a_used_up_or_disabled_agent_takes_nothing() {
        let mut used = agent(10, &[]);
        used.single_use = true;
        used.jobs_taken = 1;
        let mut disabled = agent(11, &[]);
        disabled.enabled = false;
        assert!(pair(&[request(1, &[])], &[used, disabled]).is_empty());
    }

    #[test]
    fn what_an_agent_reports_narrows_what_it_was_registered_with() {
        let mut agent = agent(1, &[("docker", ""), ("Agent.OS", "Linux")]);
        let offers = |agent: &Agent, demand: &str| satisfies(&[demand.to_owned()], agent);
        assert!(offers(&agent, "docker"));
        agent.reported_capabilities = Some(
            [
                ("gpu", ""),
                ("Agent.OS", "Windows_NT"),
                ("Agent.Version", "4.1.0"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        );
        assert!(!offers(&agent, "docker"), "it is gone");
        assert!(!offers(&agent, "gpu"), "nobody registered it");
        assert!(!offers(&agent, "Agent.OS -equals Windows_NT"));
        assert!(offers(&agent, "agent.version -gtVersion 4.0.0"));
        agent
            .user_capabilities
            .insert("gpu".to_owned(), String::new());
        assert!(offers(&agent, "gpu"), "an administrator says so");
    }

    #[test]
    fn the_reason_names_the_demands_that_nobody_meets() {
        let demands = ["java".to_owned(), "docker".to_owned()];
        let empty = unmatched_reason("linux", &demands, &[]);
        assert!(empty.contains("No agent is registered in pool linux"));
        let one = [agent(1, &[("docker", "")])];
        let reason = unmatched_reason("linux", &demands, &one);
        assert!(reason.contains("demands: java (1 agents"), "{reason}");
        let split = [agent(1, &[("docker", "")]), agent(2, &[("java", "")])];
        let reason = unmatched_reason("linux", &demands, &split);
        assert!(
            reason.contains("all of the following demands at once"),
            "{reason}"
        );
    }

    proptest! {
        /// Nobody gets two, nobody gets what it cannot do, and nobody who could take something stands idle.
        #[test]
        fn pairs_are_fair_and_complete(
            wants in prop::collection::vec(0_usize..4, 0..12),
            offers in prop::collection::vec(0_usize..4, 0..12),
        ) {
            const NAMES: [&str; 4] = ["a", "b", "c", "d"];
            let waiting: Vec<_> = (1..).zip(&wants).map(|(id, want)| request(id, &[NAMES[*want]])).collect();
            let idle: Vec<_> = (1..).zip(&offers).map(|(id, offer)| agent(id, &[(NAMES[*offer], "")])).collect();
            let pairs = pair(&waiting, &idle);
            for (request, agent) in &pairs {
                prop_assert_eq!(wants[*request], offers[*agent]);
            }
            for kind in 0..4 {
                let wanted = wants.iter().filter(|want| **want == kind).count();
                let offered = offers.iter().filter(|offer| **offer == kind).count();
                let served = pairs.iter().filter(|(request, _)| wants[*request] == kind).count();
                prop_assert_eq!(served, wanted.min(offered));
            }
            let mut agents: Vec<_> = pairs.iter().map(|(_, agent)| agent).collect();
            agents.sort();
            agents.dedup();
            prop_assert_eq!(agents.len(), pairs.len());
        }
    }
}
