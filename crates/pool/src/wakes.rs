//! Wakes those of this process who wait for something: long polls for an agent's messages, and followers of a job.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// One bell for each id that anybody waits at.
pub struct Wakes<Id: Copy + Eq + Hash> {
    bells: Mutex<HashMap<Id, Arc<Notify>>>,
}

/// A place at a bell; the bell goes away with the last one.
pub struct Waiter<'a, Id: Copy + Eq + Hash> {
    wakes: &'a Wakes<Id>,
    id: Id,
    bell: Arc<Notify>,
}

impl<Id: Copy + Eq + Hash> Default for Wakes<Id> {
    fn default() -> Self {
        Self {
            bells: Mutex::default(),
        }
    }
}

impl<Id: Copy + Eq + Hash> Wakes<Id> {
    /// Takes a place at a bell. Take it before looking for what to wait for.
    pub fn wait_for(&self, id: Id) -> Waiter<'_, Id> {
        let bell = Arc::clone(self.bells().entry(id).or_default());
        Waiter {
            wakes: self,
            id,
            bell,
        }
    }

    /// Wakes everybody at this bell.
    pub fn wake(&self, id: Id) {
        if let Some(bell) = self.bells().get(&id) {
            bell.notify_waiters();
        }
    }

    /// How many wait at this bell.
    pub fn waiting_for(&self, id: Id) -> usize {
        // One place is the map's.
        let bells = self.bells();
        bells.get(&id).map_or(0, |bell| Arc::strong_count(bell) - 1)
    }

    /// Wakes everybody.
    pub fn wake_all(&self) {
        for bell in self.bells().values() {
            bell.notify_waiters();
        }
    }

    /// How many are waited for.
    pub fn waiting(&self) -> usize {
        self.bells().len()
    }

    fn bells(&self) -> MutexGuard<'_, HashMap<Id, Arc<Notify>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Id: Copy + Eq + Hash> Waiter<'_, Id> {
    /// The bell; enable its `notified()` before looking, or a wake in between is lost.
    pub fn bell(&self) -> &Notify {
        &self.bell
    }
}

impl<Id: Copy + Eq + Hash> Drop for Waiter<'_, Id> {
    fn drop(&mut self) {
        let mut bells = self.wakes.bells();
        // This one and the map's: nobody else waits.
        if Arc::strong_count(&self.bell) <= 2 {
            bells.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_waiter_wakes_and_the_last_one_takes_the_bell_along() {
        let wakes = Wakes::default();
        let (first, second) = (wakes.wait_for(1), wakes.wait_for(1));
        let (mut one, mut two) = (
            Box::pin(first.bell().notified()),
            Box::pin(second.bell().notified()),
        );
        one.as_mut().enable();
        two.as_mut().enable();
        wakes.wake(1);
        one.await;
        two.await;
        drop(first);
        assert_eq!(wakes.waiting(), 1);
        drop(second);
        assert_eq!(wakes.waiting(), 0);
    }
}
