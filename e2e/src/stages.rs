//! When a job passed each stage, by the clocks of those who did it.

use crate::Result;
use futures::TryStreamExt;
use jiff::{Timestamp, Unit};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;

/// What is known of a pod: its annotations when last seen, and when it came and went as a watch showed it.
#[derive(Clone, Debug, Default)]
pub struct PodHistory {
    /// The last annotations.
    pub annotations: BTreeMap<String, String>,
    /// When the watch showed it first.
    pub seen: Option<Timestamp>,
    /// When the watch showed it deleted.
    pub deleted: Option<Timestamp>,
}

impl PodHistory {
    /// A stage's time from the operator's annotation `dayfly.dev/<stage>-at`.
    pub fn stage(&self, stage: &str) -> Option<Timestamp> {
        self.annotations
            .get(&format!("dayfly.dev/{stage}-at"))?
            .parse()
            .ok()
    }
}

/// Watches the pods of a namespace in the background and keeps what passes by.
pub struct PodWatch {
    pods: Arc<Mutex<BTreeMap<String, PodHistory>>>,
    task: JoinHandle<()>,
}

impl PodWatch {
    /// Begins to watch.
    pub async fn start(kube: kube::Client, namespace: &str) -> Result<Self> {
        let api: Api<Pod> = Api::namespaced(kube, namespace);
        let pods = Arc::new(Mutex::new(BTreeMap::new()));
        // The first watch must stand before anybody queues a job, or its pod may be missed.
        let first = api.watch(&watch_parameters(), "0").await?;
        let shared = Arc::clone(&pods);
        let task = tokio::spawn(async move {
            let mut stream = Box::pin(first);
            let mut version = "0".to_owned();
            loop {
                while let Ok(Some(event)) = stream.try_next().await {
                    record(&shared, &mut version, &event);
                }
                match api.watch(&watch_parameters(), &version).await {
                    Ok(next) => stream = Box::pin(next),
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                }
            }
        });
        Ok(Self { pods, task })
    }

    /// What is known of every pod so far.
    pub fn histories(&self) -> BTreeMap<String, PodHistory> {
        self.pods
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for PodWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn watch_parameters() -> WatchParams {
    WatchParams::default()
        .labels("dayfly.dev/pool")
        .timeout(280)
}

fn record(
    pods: &Mutex<BTreeMap<String, PodHistory>>,
    version: &mut String,
    event: &WatchEvent<Pod>,
) {
    let (pod, deleted) = match event {
        WatchEvent::Added(pod) | WatchEvent::Modified(pod) => (pod, false),
        WatchEvent::Deleted(pod) => (pod, true),
        WatchEvent::Bookmark(_) | WatchEvent::Error(_) => return,
    };
    let Some(name) = pod.metadata.name.clone() else {
        return;
    };
    if let Some(seen) = &pod.metadata.resource_version {
        version.clone_from(seen);
    }
    let now = Timestamp::now();
    let mut pods = pods.lock().unwrap_or_else(PoisonError::into_inner);
    let history = pods.entry(name).or_default();
    history.seen.get_or_insert(now);
    if let Some(annotations) = &pod.metadata.annotations {
        history.annotations.clone_from(annotations);
    }
    if deleted {
        history.deleted = Some(now);
    }
}

/// Milliseconds from one time to another; negative when the clocks disagree.
pub fn milliseconds(from: Timestamp, to: Timestamp) -> f64 {
    to.since(from)
        .ok()
        .and_then(|span| span.total(Unit::Millisecond).ok())
        .unwrap_or(f64::NAN)
}
