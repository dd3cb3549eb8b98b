//! The watches that feed the mirrors.

use crate::context::Context;
use crate::crd::connection::PoolConnection;
use crate::crd::pool::AgentPool;
use crate::mirror::{Entry, PoolKey, follow};
use crate::names;
use crate::pool::facts::{AgentContainer, Blocked, PodFact, PodPhase, SecretFact};
use k8s_openapi::api::core::v1::{Pod, PodCondition, Secret};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, ResourceExt};
use std::sync::Arc;

/// Watches AgentPools of one namespace, or of all; `begin` is told every key.
pub async fn agent_pools(
    context: Arc<Context>,
    watch: usize,
    namespace: Option<String>,
    begin: impl Fn(&PoolKey),
) {
    let api: Api<DeserializeGuard<AgentPool>> = api(&context, namespace.as_deref());
    let events = watcher(api, watcher::Config::default()).default_backoff();
    let reduce = |object: DeserializeGuard<AgentPool>| {
        let pool = PoolKey {
            namespace: object.namespace()?,
            name: object.name_any(),
        };
        Some(Entry {
            pool,
            name: String::new(),
            fact: Arc::new(object),
        })
    };
    follow(&context.pools, watch, events, reduce, |key, _, fact| {
        if fact.is_some() {
            begin(key);
        }
        context.wakes.wake(key);
    })
    .await;
}

/// Watches PoolConnections of the operator's namespace.
pub async fn connections(context: Arc<Context>, begin: impl Fn(&str)) {
    let api: Api<DeserializeGuard<PoolConnection>> =
        Api::namespaced(context.kube.clone(), &context.args.namespace);
    let events = watcher(api, watcher::Config::default()).default_backoff();
    let reduce = |object: DeserializeGuard<PoolConnection>| {
        let pool = PoolKey {
            namespace: object.namespace()?,
            name: object.name_any(),
        };
        Some(Entry {
            pool,
            name: String::new(),
            fact: Arc::new(object),
        })
    };
    follow(
        &context.connection_objects,
        0,
        events,
        reduce,
        |key, _, fact| {
            if fact.is_some() {
                begin(&key.name);
            }
            context.connections.get(&key.name).announce();
            context.wakes.wake_all();
        },
    )
    .await;
}

/// Watches our pods in one namespace, or in all.
pub async fn pods(context: Arc<Context>, watch: usize, namespace: Option<String>) {
    let api: Api<Pod> = api(&context, namespace.as_deref());
    let config =
        watcher::Config::default().labels(&format!("{}={}", names::MANAGED_BY, names::DAYFLY));
    let events = watcher(api, config).default_backoff();
    follow(
        &context.pods,
        watch,
        events,
        |pod| pod_entry(&pod),
        |key, name, fact| {
            if let Some(fact) = fact {
                context.memory.pod_seen(name, &fact.uid);
            }
            context.wakes.wake(key);
        },
    )
    .await;
}

/// Watches the metadata of our sealed Secrets; what is sealed stays where it is.
pub async fn secrets(context: Arc<Context>) {
    let api: Api<PartialObjectMeta<Secret>> =
        Api::namespaced(context.kube.clone(), &context.args.identities_namespace);
    let config =
        watcher::Config::default().labels(&format!("{}={}", names::MANAGED_BY, names::DAYFLY));
    let events = watcher(api, config).default_backoff();
    follow(
        &context.secrets,
        0,
        events,
        |secret| secret_entry(&secret),
        |key, _, _| context.wakes.wake(key),
    )
    .await;
}

fn api<K>(context: &Context, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(context.kube.clone(), namespace),
        None => Api::all(context.kube.clone()),
    }
}

fn secret_entry(secret: &PartialObjectMeta<Secret>) -> Option<Entry<SecretFact>> {
    let label = |name: &str| secret.labels().get(name).cloned();
    let pool = PoolKey {
        namespace: label(names::NAMESPACE)?,
        name: label(names::POOL)?,
    };
    let fact = SecretFact {
        name: secret.name_any(),
        pool_uid: label(names::POOL_UID)?,
        template: label(names::TEMPLATE).unwrap_or_default(),
        hash: secret
            .annotations()
            .get(names::IDENTITY_HASH)
            .cloned()
            .unwrap_or_default(),
        created: secret.creation_timestamp().map(|time| time.0),
    };
    Some(Entry {
        pool,
        name: fact.name.clone(),
        fact,
    })
}

fn pod_entry(pod: &Pod) -> Option<Entry<PodFact>> {
    let label = |name: &str| pod.labels().get(name).cloned();
    let pool = PoolKey {
        namespace: pod.namespace()?,
        name: label(names::POOL)?,
    };
    let status = pod.status.as_ref();
    let phase = match status.and_then(|status| status.phase.as_deref()) {
        Some("Succeeded") => PodPhase::Succeeded,
        Some("Failed") => PodPhase::Failed,
        _ => PodPhase::Live,
    };
    let fact = PodFact {
        name: pod.name_any(),
        uid: pod.uid()?,
        template: label(names::TEMPLATE).unwrap_or_default(),
        hash: pod
            .annotations()
            .get(names::POD_HASH)
            .cloned()
            .unwrap_or_default(),
        created: pod.creation_timestamp().map(|time| time.0),
        deletion: pod.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        phase,
        reason: status
            .and_then(|status| status.reason.clone())
            .unwrap_or_default(),
        message: status
            .and_then(|status| status.message.clone())
            .unwrap_or_default(),
        agent: agent_container(pod),
        scheduled: scheduling(pod)
            .filter(|condition| condition.status == "True")
            .and_then(|condition| condition.last_transition_time.as_ref())
            .map(|time| time.0),
        blocked: blocked(pod),
        accepted: pod
            .annotations()
            .get(names::ACCEPTED_AT)
            .and_then(|text| text.parse().ok()),
        busy: label(names::PHASE).as_deref() == Some(names::PHASE_BUSY),
    };
    Some(Entry {
        pool,
        name: fact.name.clone(),
        fact,
    })
}

fn scheduling(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|one| one.type_ == "PodScheduled")
}

/// The kubelet's words for an image that it does not get.
const IMAGE_TROUBLE: [&str; 6] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
    "ImageInspectError",
];

/// What keeps a pod from starting: the scheduler's word, or an image that no container gets.
fn blocked(pod: &Pod) -> Option<Blocked> {
    let unschedulable = scheduling(pod).filter(|condition| {
        condition.status == "False" && condition.reason.as_deref() == Some("Unschedulable")
    });
    if let Some(condition) = unschedulable {
        let words = condition.message.clone().unwrap_or_default();
        return Some(Blocked::Unschedulable(words));
    }
    let status = pod.status.as_ref()?;
    let all = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .flatten();
    all.filter_map(|one| Some((one, one.state.as_ref()?.waiting.as_ref()?)))
        .find(|(_, waiting)| {
            let reason = waiting.reason.as_deref().unwrap_or_default();
            IMAGE_TROUBLE.contains(&reason)
        })
        .map(|(one, waiting)| {
            let reason = waiting.reason.as_deref().unwrap_or_default();
            let words = waiting.message.as_deref().unwrap_or_default();
            Blocked::ImagePull(format!("container {}: {reason} {words}", one.name))
        })
}

/// Where container `agent` is; while it waits, why, or why the pod is not scheduled.
fn agent_container(pod: &Pod) -> AgentContainer {
    let status = pod.status.as_ref();
    let statuses = status.and_then(|status| status.container_statuses.as_ref());
    let agent = statuses.and_then(|all| all.iter().find(|one| one.name == "agent"));
    let state = agent.and_then(|agent| agent.state.as_ref());
    if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
        return AgentContainer::Terminated {
            code: ended.exit_code,
            reason: ended.reason.clone().unwrap_or_default(),
        };
    }
    if state.is_some_and(|state| state.running.is_some()) {
        return AgentContainer::Running;
    }
    let waiting = state.and_then(|state| state.waiting.as_ref()?.reason.clone());
    let unscheduled = scheduling(pod)
        .filter(|condition| condition.status == "False")
        .and_then(|condition| condition.message.clone().or(condition.reason.clone()));
    AgentContainer::Waiting(unscheduled.or(waiting).unwrap_or_default())
}
