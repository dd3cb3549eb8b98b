//! What the tasks of the operator share.

use crate::args::RunArgs;
use crate::backoff::Backoffs;
use crate::connection::Connections;
use crate::crd::connection::PoolConnection;
use crate::crd::pool::AgentPool;
use crate::leader::Standing;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::mirror::{Mirror, PoolKey};
use crate::poller::Pollers;
use crate::pool::build::Places;
use crate::pool::facts::{PodFact, SecretFact};
use crate::report::Reports;
use crate::sealing::Sealing;
use crate::wakes::Wakes;
use dayfly_keys::stock::KeyStock;
use kube::core::DeserializeGuard;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// AgentPools as the API server has them, readable or not.
pub type PoolMirror = Mirror<Arc<DeserializeGuard<AgentPool>>>;

/// What the tasks of the operator share.
pub struct Context {
    /// The settings.
    pub args: RunArgs,
    /// Whether this process leads.
    pub standing: watch::Receiver<Standing>,
    /// The API server.
    pub kube: kube::Client,
    /// Where things are, for pods and policies.
    pub places: Places,
    /// AgentPools.
    pub pools: PoolMirror,
    /// PoolConnections.
    pub connection_objects: Mirror<Arc<DeserializeGuard<PoolConnection>>>,
    /// Our pods.
    pub pods: Mirror<PodFact>,
    /// Our sealed Secrets.
    pub secrets: Mirror<SecretFact>,
    /// Clients of services.
    pub connections: Connections,
    /// Pollers of pools.
    pub pollers: Pollers,
    /// What the leader remembers.
    pub memory: Memory,
    /// Templates whose starts fail.
    pub backoffs: Backoffs,
    /// Wakes the loops of AgentPools.
    pub wakes: Wakes,
    /// Sealing keys.
    pub sealing: Sealing,
    /// Agent keys.
    pub stock: KeyStock,
    /// Metrics.
    pub metrics: Metrics,
    /// Events.
    pub reports: Reports,
    /// Bounds the operations on services that run in the background.
    pub operations: Arc<Semaphore>,
    /// Tasks to wait for at the end.
    pub tasks: TaskTracker,
    /// Told when to end.
    pub shutdown: CancellationToken,
}

impl Context {
    /// The key under which an object of the operator's own namespace is mirrored.
    pub fn own_pool_key(&self, name: &str) -> PoolKey {
        PoolKey {
            namespace: self.args.namespace.clone(),
            name: name.to_owned(),
        }
    }

    /// Whether this process leads, and nobody else can yet.
    pub fn leads(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Leads { until } if Instant::now() < until)
    }

    /// Waits until this process leads.
    pub async fn until_leading(&self) {
        let mut standing = self.standing.clone();
        // Whoever tells lives as long as the process.
        while !self.leads() && standing.changed().await.is_ok() {}
    }

    /// Whether this process does what its standing asks of it: a follower is ready to take over.
    pub fn is_ready(&self) -> bool {
        match *self.standing.borrow() {
            Standing::Unknown => false,
            Standing::Follows => true,
            Standing::Leads { .. } => self.knows_all(),
        }
    }

    /// Whether every list was read once: before, what is missing means nothing.
    pub fn knows_all(&self) -> bool {
        self.pools.is_ready()
            && self.connection_objects.is_ready()
            && self.pods.is_ready()
            && self.secrets.is_ready()
    }
}
