//! The numbers that hold at a time: the spec's, or those of the schedule that applies.

use super::schedule::active;
use super::validate::ValidPool;
use jiff::Timestamp;

/// How many agents there may and should be now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// All templates together.
    pub max_agents: usize,
    /// By template, in their order.
    pub templates: Vec<Share>,
    /// The schedule that applies.
    pub schedule: Option<String>,
    /// Whether that sets the maximum.
    pub max_is_scheduled: bool,
}

/// One template's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Idle agents to keep.
    pub min_idle: usize,
    /// The most agents.
    pub max_agents: usize,
}

/// What holds now. A schedule's `minIdle` is the first template's.
pub fn capacity(pool: &ValidPool, now: Timestamp) -> Capacity {
    let schedule = active(&pool.schedules, now);
    let scheduled_max = schedule.and_then(|schedule| schedule.max_agents);
    let max_agents = scheduled_max.unwrap_or(pool.max_agents);
    let first = schedule.and_then(|schedule| schedule.min_idle);
    let share = |(index, template): (usize, &super::validate::ValidTemplate)| {
        let most = template.own_max.unwrap_or(max_agents).min(max_agents);
        let idle = first.filter(|_| index == 0).unwrap_or(template.min_idle);
        Share {
            min_idle: idle.min(most),
            max_agents: most,
        }
    };
    Capacity {
        max_agents,
        templates: pool.templates.iter().enumerate().map(share).collect(),
        schedule: schedule.map(|schedule| schedule.name.clone()),
        max_is_scheduled: scheduled_max.is_some(),
    }
}
