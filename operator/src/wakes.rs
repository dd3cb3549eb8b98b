//! Wakes the loop of an AgentPool; any number of wakes before it looks are one.

use crate::mirror::PoolKey;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// One bell per AgentPool.
#[derive(Default)]
pub struct Wakes {
    bells: Mutex<HashMap<PoolKey, Arc<Notify>>>,
}

impl Wakes {
    /// The bell of an AgentPool.
    pub fn bell(&self, pool: &PoolKey) -> Arc<Notify> {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(bells.entry(pool.clone()).or_default())
    }

    /// Wakes it, now or when it listens next.
    pub fn wake(&self, pool: &PoolKey) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(pool) {
            bell.notify_one();
        }
    }

    /// Wakes all.
    pub fn wake_all(&self) {
        for bell in self
            .bells
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
        {
            bell.notify_one();
        }
    }

    /// The AgentPool is gone.
    pub fn forget(&self, pool: &PoolKey) {
        self.bells
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(pool);
    }
}
