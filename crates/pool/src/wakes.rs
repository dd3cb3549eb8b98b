//! Wakes the long polls of this process when there is something for them.

use dayfly_wire::ids::AgentId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// One bell per agent that anybody waits at.
#[derive(Default)]
pub struct Wakes {
    bells: Mutex<HashMap<AgentId, Arc<Notify>>>,
}

/// A place at an agent's bell; the bell goes away with the last one.
pub struct Waiter<'a> {
    wakes: &'a Wakes,
    agent: AgentId,
    bell: Arc<Notify>,
}

impl Wakes {
    /// Takes a place at the agent's bell. Take it before looking for what to wait for.
    pub fn wait_for(&self, agent: AgentId) -> Waiter<'_> {
        let bell = Arc::clone(self.bells().entry(agent).or_default());
        Waiter {
            wakes: self,
            agent,
            bell,
        }
    }

    /// Wakes everybody who waits for this agent.
    pub fn wake(&self, agent: AgentId) {
        if let Some(bell) = self.bells().get(&agent) {
            bell.notify_waiters();
        }
    }

    /// How many wait for this agent.
    pub fn waiting_for(&self, agent: AgentId) -> usize {
        // One place is the map's.
        let bells = self.bells();
        bells
            .get(&agent)
            .map_or(0, |bell| Arc::strong_count(bell) - 1)
    }

    /// How many agents are waited for.
    pub fn waiting(&self) -> usize {
        self.bells().len()
    }

    fn bells(&self) -> MutexGuard<'_, HashMap<AgentId, Arc<Notify>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter<'_> {
    /// The bell; enable its `notified()` before looking, or a wake in between is lost.
    pub fn bell(&self) -> &Notify {
        &self.bell
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut bells = self.wakes.bells();
        // This one and the map's: nobody else waits.
        if Arc::strong_count(&self.bell) <= 2 {
            bells.remove(&self.agent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_waiter_wakes_and_the_last_one_takes_the_bell_along() {
        let wakes = Wakes::default();
        let (first, second) = (wakes.wait_for(AgentId(1)), wakes.wait_for(AgentId(1)));
        let (mut one, mut two) = (
            Box::pin(first.bell().notified()),
            Box::pin(second.bell().notified()),
        );
        one.as_mut().enable();
        two.as_mut().enable();
        wakes.wake(AgentId(1));
        one.await;
        two.await;
        drop(first);
        assert_eq!(wakes.waiting(), 1);
        drop(second);
        assert_eq!(wakes.waiting(), 0);
    }
}
