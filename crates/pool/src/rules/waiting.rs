//! Why a queued job waits, for a person.

use super::entities::Agent;
use super::queue::{may_take, satisfies, unmatched_reason};

/// A registered agent and how it stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The agent.
    pub agent: Agent,
    /// Whether it has a live session.
    pub online: bool,
    /// Whether it holds a job.
    pub busy: bool,
}

/// Why a job with these demands waits. `ahead` is the number of jobs of the pool that wait before it.
pub fn reason(pool: &str, demands: &[String], agents: &[Standing], ahead: usize) -> String {
    let able: Vec<&Standing> = agents
        .iter()
        .filter(|standing| satisfies(demands, &standing.agent))
        .collect();
    if able.is_empty() {
        let registered: Vec<Agent> = agents.iter().map(|each| each.agent.clone()).collect();
        return unmatched_reason(pool, demands, &registered);
    }
    let usable = able.iter().filter(|each| may_take(&each.agent));
    let online = usable.clone().filter(|each| each.online).count();
    let free = usable.clone().filter(|each| each.online && !each.busy);
    match (usable.count(), online, free.count()) {
        (0, _, _) => format!(
            "{} disabled, or used up; enable one.",
            all(able.len(), "is", "are")
        ),
        (_, 0, _) => format!("{} offline.", all(able.len(), "is", "are")),
        (_, online, 0) if ahead == 0 => format!("{}; it is next.", busy(online)),
        (_, online, 0) => format!("{}; {} before it.", busy(online), jobs(ahead)),
        (_, _, _) => "An agent is about to take it.".to_owned(),
    }
}

fn all(count: usize, one: &str, many: &str) -> String {
    match count {
        1 => format!("The only agent that can take it {one}"),
        _ => format!("All {count} agents that can take it {many}"),
    }
}

fn busy(count: usize) -> String {
    match count {
        1 => "The only online agent that can take it is busy".to_owned(),
        _ => format!("All {count} online agents that can take it are busy"),
    }
}

fn jobs(count: usize) -> String {
    match count {
        1 => "one job waits".to_owned(),
        _ => format!("{count} jobs wait"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::agent;
    use super::*;

    fn standing(id: i64, online: bool, busy: bool) -> Standing {
        Standing {
            agent: agent(id, &[("docker", "")]),
            online,
            busy,
        }
    }

    fn why(agents: &[Standing], ahead: usize) -> String {
        reason("linux", &["docker".to_owned()], agents, ahead)
    }

    #[test]
    fn the_reason_says_what_is_missing() {
        assert!(why(&[], 0).contains("No agent is registered in pool linux"));
        let offline = [standing(1, false, false)];
        assert_eq!(
            why(&offline, 0),
            "The only agent that can take it is offline."
        );
        let busy = [standing(1, true, true), standing(2, true, true)];
        assert_eq!(
            why(&busy, 0),
            "All 2 online agents that can take it are busy; it is next."
        );
        assert_eq!(
            why(&busy, 1),
            "All 2 online agents that can take it are busy; one job waits before it."
        );
        let mut disabled = [standing(1, true, false)];
        disabled[0].agent.enabled = false;
        assert!(why(&disabled, 0).starts_with("The only agent that can take it is disabled"));
        let java = reason("linux", &["java".to_owned()], &busy, 0);
        assert!(java.contains("demands: java"), "{java}");
    }
}
