//! Plays the kubelet for the operator's pods: they are bound and run, end with their agent, and go when they are told.
//! Each runs a [stand-in agent](super::agent).

use super::agent::{Exit, StandIn};
use dayfly_operator::clock;
use dayfly_wire::ids::RequestId;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How agents behave.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    /// How long a job takes.
    pub(crate) job: Duration,
    /// Whether agents die in the middle of a job.
    pub(crate) die: bool,
}

/// What the agents did.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Which agents ran a request.
    pub(crate) runs: Mutex<BTreeMap<RequestId, Vec<String>>>,
    /// Pods that were seen.
    pub(crate) pods: Mutex<Vec<String>>,
}

impl Ledger {
    /// An agent begins to run a request.
    pub(crate) fn ran(&self, request: RequestId, agent: &str) {
        let mut runs = self.runs.lock().unwrap();
        runs.entry(request).or_default().push(agent.to_owned());
    }
}

/// Whether a pod is to go, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Going {
    /// It stays.
    No,
    /// Its end was asked for; then it is killed.
    Until(Timestamp),
    /// It is no more.
    Gone,
}

/// The kubelet.
pub(crate) struct Kubelet {
    /// What the agents did.
    pub(crate) ledger: Arc<Ledger>,
    manner: Arc<Mutex<Manner>>,
    watching: JoinHandle<()>,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Kubelet {
    /// Begins to run the pods of a namespace.
    pub(crate) fn start(kube: Client, namespace: &str) -> Self {
        let ledger = Arc::<Ledger>::default();
        let manner = Arc::new(Mutex::new(Manner {
            job: Duration::from_millis(150),
            die: false,
        }));
        let node = Node {
            pods: Api::namespaced(kube.clone(), namespace),
            kube,
            namespace: namespace.to_owned(),
            ledger: Arc::clone(&ledger),
            manner: Arc::clone(&manner),
        };
        Self {
            ledger,
            manner,
            watching: tokio::spawn(run(node)),
        }
    }

    /// How agents behave whose job begins from now on.
    pub(crate) fn behave(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.manner.lock().unwrap());
    }
}

/// What the kubelet works with.
#[derive(Clone)]
pub(crate) struct Node {
    pods: Api<Pod>,
    /// The cluster, with every right.
    pub(crate) kube: Client,
    /// Where the pods are.
    pub(crate) namespace: String,
    /// What the agents did.
    pub(crate) ledger: Arc<Ledger>,
    manner: Arc<Mutex<Manner>>,
}

impl Node {
    /// How agents behave.
    pub(crate) fn manner(&self) -> Manner {
        self.manner.lock().unwrap().clone()
    }
}

async fn run(node: Node) {
    let config = watcher::Config::default().labels("app.kubernetes.io/managed-by=dayfly");
    let mut events = std::pin::pin!(watcher(node.pods.clone(), config).default_backoff());
    let mut known: HashMap<String, watch::Sender<Going>> = HashMap::new();
    let mut running = JoinSet::new();
    while let Some(event) = events.next().await {
        while running.try_join_next().is_some() {}
        match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => {
                let going = match &pod.metadata.deletion_timestamp {
                    Some(at) => Going::Until(at.0),
                    None => Going::No,
                };
                let uid = pod.uid().unwrap();
                match known.get(&uid) {
                    Some(told) => {
                        told.send_if_modified(|now| std::mem::replace(now, going) != going);
                    }
                    None => {
                        let (told, going) = watch::channel(going);
                        known.insert(uid, told);
                        running.spawn(pod_life(node.clone(), pod, going));
                    }
                }
            }
            Ok(Event::Delete(pod)) => {
                if let Some(told) = known.remove(&pod.uid().unwrap()) {
                    told.send_replace(Going::Gone);
                }
            }
            Ok(Event::Init | Event::InitDone) | Err(_) => {}
        }
    }
}

async fn pod_life(node: Node, pod: Pod, mut going: watch::Receiver<Going>) {
    let (name, uid) = (pod.name_any(), pod.uid().unwrap());
    node.ledger.pods.lock().unwrap().push(name.clone());
    if *going.borrow() == Going::No && bind(&node, &name, &uid).await {
        node.tell(
            &name,
            &uid,
            "Running",
            &json!({ "running": { "startedAt": now() } }),
        )
        .await;
        let agent = StandIn::new(node.clone(), &pod, going.clone());
        let mut over = going.clone();
        let exit = tokio::select! {
            exit = agent.live() => exit,
            () = killed(&mut over) => Exit(137),
        };
        let phase = if exit.0 == 0 { "Succeeded" } else { "Failed" };
        let reason = if exit.0 == 0 { "Completed" } else { "Error" };
        let ended = json!({ "terminated": { "exitCode": exit.0, "reason": reason } });
        node.tell(&name, &uid, phase, &ended).await;
    }
    let _ = going.wait_for(|going| *going != Going::No).await;
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: Some(uid),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let _ = node.pods.delete(&name, &params).await;
}

/// Until the grace period of a pod that has to go is over.
async fn killed(going: &mut watch::Receiver<Going>) {
    loop {
        let state = *going.borrow_and_update();
        let left = match state {
            Going::No => Duration::MAX,
            Going::Until(at) => {
                Duration::try_from(at.duration_since(clock::now())).unwrap_or_default()
            }
            Going::Gone => return,
        };
        tokio::select! {
            changed = going.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(left.min(Duration::from_secs(3600))), if left < Duration::MAX => return,
        }
    }
}

fn now() -> String {
    format!("{:.0}", clock::now())
}

async fn bind(node: &Node, name: &str, uid: &str) -> bool {
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name, "uid": uid },
        "target": { "apiVersion": "v1", "kind": "Node", "name": "node1" },
    });
    let bound: Result<k8s_openapi::apimachinery::pkg::apis::meta::v1::Status, _> = node
        .pods
        .create_subresource("binding", name, &PostParams::default(), &binding)
        .await;
    bound.is_ok()
}

impl Node {
    async fn tell(&self, name: &str, uid: &str, phase: &str, state: &serde_json::Value) {
        let container = |name: &str| {
            json!({ "name": name, "image": "i", "imageID": "i", "ready": phase == "Running", "restartCount": 0,
                    "state": state })
        };
        let status = json!({ "metadata": { "uid": uid }, "status": {
            "phase": phase, "containerStatuses": [container("agent"), container("job")],
        } });
        let params = PatchParams::default();
        let _ = self
            .pods
            .patch_status(name, &params, &Patch::Merge(status))
            .await;
    }
}
