//! Keys made before they are needed: one core makes about seven RSA-2048 keys a second, a burst needs a hundred.

use crate::KeyError;
use crate::agent_key::AgentKey;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The largest stock, in keys (about 2 KiB each).
pub const MAX_STOCK: usize = 256;

/// A stock of agent keys, filled in the background on one blocking thread at a time, so that keys never cost more
/// than one core. Cheap to clone; the filling ends when the last clone is dropped.
#[derive(Clone)]
pub struct KeyStock {
    shared: Arc<Shared>,
    _alive: Arc<Alive>,
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    keys: VecDeque<AgentKey>,
    target: usize,
    closed: bool,
}

/// Its drop tells the filling task to end.
struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_waiters();
        self.0.changed.notify_one();
    }
}

impl KeyStock {
    /// Starts to fill up to `target` keys, at most [`MAX_STOCK`]. Must be called within a tokio runtime.
    pub fn start(target: usize) -> Self {
        let state = State {
            keys: VecDeque::new(),
            target: target.min(MAX_STOCK),
            closed: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Notify::new(),
        });
        tokio::spawn(fill(Arc::clone(&shared)));
        Self {
            _alive: Arc::new(Alive(Arc::clone(&shared))),
            shared,
        }
    }

    /// Takes a key from the stock; makes one at once when the stock is empty.
    pub async fn take(&self) -> Result<AgentKey, KeyError> {
        let stocked = self.shared.lock().keys.pop_front();
        self.shared.changed.notify_one();
        match stocked {
            Some(key) => Ok(key),
            None => generate().await,
        }
    }

    /// How many keys are in stock.
    pub fn depth(&self) -> usize {
        self.shared.lock().keys.len()
    }

    /// Changes how many keys there should be.
    pub fn set_target(&self, target: usize) {
        self.shared.lock().target = target.min(MAX_STOCK);
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves a stock that is short, never one that is wrong.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn generate() -> Result<AgentKey, KeyError> {
    tokio::task::spawn_blocking(AgentKey::generate)
        .await
        .map_err(|_| KeyError::Generate)?
}

async fn fill(shared: Arc<Shared>) {
    loop {
        let (closed, short) = {
            let state = shared.lock();
            (state.closed, state.keys.len() < state.target)
        };
        if closed {
            return;
        }
        if !short {
            shared.changed.notified().await;
            continue;
        }
        match generate().await {
            Ok(key) => shared.lock().keys.push_back(key),
            // The backend has no randomness or no memory; whoever needs a key gets the error from `take`.
            Err(_) => shared.changed.notified().await,
        }
    }
}
