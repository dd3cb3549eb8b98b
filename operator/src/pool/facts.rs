//! What is known of a pool, joined from the four lists: requests and agents of the service, our Secrets, our pods.
//!
//! The lists are never of the same moment. What this process did itself is in the memory, which covers the time
//! until a list shows it; see [`crate::memory`].

use dayfly_wire::ids::{AgentId, PoolId, RequestId};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// An unfinished request, reduced to what decisions need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// Since when it waits.
    pub queued: Option<Timestamp>,
    /// What it asks of an agent.
    pub demands: Vec<String>,
    /// The agent that it is given to.
    pub agent: Option<AgentId>,
    /// When the agent took it.
    pub received: Option<Timestamp>,
}

/// A registration of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its id.
    pub id: AgentId,
    /// Its name: the identity.
    pub name: String,
    /// Whether it may be given jobs.
    pub enabled: bool,
    /// Whether it has a session.
    pub online: bool,
    /// When it was registered.
    pub created: Option<Timestamp>,
    /// When it came or went online.
    pub changed: Option<Timestamp>,
    /// The uid of the AgentPool that it was made for.
    pub owner: String,
    /// The template that it was made for.
    pub template: String,
    /// The hash of what was registered.
    pub hash: String,
}

/// One look at the queue and the agents of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSnapshot {
    /// When the calls were begun: what was done later may be missing.
    pub begun: Timestamp,
    /// The pool's id.
    pub pool: PoolId,
    /// Requests that have not ended.
    pub requests: Vec<Request>,
    /// Agents with an owner mark of this cluster.
    pub agents: Vec<Registration>,
    /// How many agents are somebody else's.
    pub foreign: usize,
    /// How many jobs the service runs at once, where it tells and has a limit.
    pub parallelism: Option<Parallelism>,
}

/// How many jobs the service runs at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parallelism {
    /// At most.
    pub total: usize,
    /// Now, on whatever agents.
    pub used: usize,
}

impl QueueSnapshot {
    /// Whether both say the same, the time apart.
    pub fn same_facts(&self, other: &Self) -> bool {
        let Self {
            begun: _,
            pool,
            requests,
            agents,
            foreign,
            parallelism,
        } = self;
        pool == &other.pool
            && requests == &other.requests
            && agents == &other.agents
            && foreign == &other.foreign
            && parallelism == &other.parallelism
    }
}

/// Whether something is there, as far as can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence<T> {
    /// Nobody could be asked yet.
    Unknown,
    /// It is not there.
    Absent,
    /// It is there.
    Present(T),
}

impl<T> Presence<T> {
    /// The thing, if it is there.
    pub fn present(&self) -> Option<&T> {
        match self {
            Self::Present(thing) => Some(thing),
            Self::Unknown | Self::Absent => None,
        }
    }
}

/// A sealed Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFact {
    /// The Secret's name: the identity.
    pub name: String,
    /// The AgentPool's uid.
    pub pool_uid: String,
    /// The template.
    pub template: String,
    /// The hash of what was registered.
    pub hash: String,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// Where container `agent` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentContainer {
    /// Not begun, with the kubelet's word for why.
    Waiting(String),
    /// Running.
    Running,
    /// Ended.
    Terminated {
        /// The exit code.
        code: i32,
        /// The kubelet's word.
        reason: String,
    },
}

/// The pod's phase, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodPhase {
    /// Pending, running or unknown.
    Live,
    /// All containers ended well.
    Succeeded,
    /// Ended with a failure, or evicted.
    Failed,
}

/// What keeps a pod from starting, with the cluster's sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// No node takes it.
    Unschedulable(String),
    /// An image cannot be pulled.
    ImagePull(String),
}

/// A pod of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFact {
    /// The pod's name: the identity.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The template.
    pub template: String,
    /// The hash of the template that it was made from.
    pub hash: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it has to be gone, once its deletion was asked for (the grace period is included).
    pub deletion: Option<Timestamp>,
    /// Its phase.
    pub phase: PodPhase,
    /// The kubelet's or the API server's word and sentence for the phase.
    pub reason: String,
    /// See `reason`.
    pub message: String,
    /// Container `agent`.
    pub agent: AgentContainer,
    /// When it was given to a node.
    pub scheduled: Option<Timestamp>,
    /// What keeps it from starting.
    pub blocked: Option<Blocked>,
    /// When its agent took its job, as the busy patch says.
    pub accepted: Option<Timestamp>,
    /// Whether it carries the busy label.
    pub busy: bool,
}

impl PodFact {
    /// Whether its agent may be running.
    pub fn is_at_work(&self) -> bool {
        let ended = matches!(self.agent, AgentContainer::Terminated { .. });
        self.phase == PodPhase::Live && !ended
    }
}

/// What this process remembers of an identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// When and as what it was registered by this process.
    pub registered: Option<(Timestamp, Registration)>,
    /// When its Secret was made by this process.
    pub sealed: Option<Timestamp>,
    /// Whether the Secret was deleted by this process.
    pub unsealed: bool,
    /// The pod.
    pub pod: KnownPod,
    /// When the identity was claimed.
    pub claimed: Option<Timestamp>,
    /// When the agent listened.
    pub listening: Option<Timestamp>,
    /// Which request the agent took, and when.
    pub accepted: Option<(RequestId, Timestamp)>,
    /// When the agent said that it is done.
    pub finished: Option<Timestamp>,
    /// When the registration was disabled by this process.
    pub disabled: Option<Timestamp>,
    /// When a request of the agent was first seen.
    pub reserved_seen: Option<Timestamp>,
    /// Since when its request is not in the list any more.
    pub request_gone: Option<Timestamp>,
    /// Whether the busy patch was made.
    pub patched: bool,
    /// Why it ended, kept until its registration is gone.
    pub ended: Option<String>,
    /// Whether an operation on it is under way.
    pub in_flight: bool,
    /// How many operations on it failed in a row.
    pub failures: u32,
    /// Until when the next one waits.
    pub held_until: Option<Timestamp>,
}

/// What this process knows of the identity's pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KnownPod {
    /// Nothing: not made, or made by an earlier process.
    #[default]
    None,
    /// It is being asked for.
    Creating,
    /// The API server returned this uid.
    Created {
        /// The uid.
        uid: String,
        /// When.
        at: Timestamp,
        /// Whether the watch has shown it.
        seen: bool,
    },
    /// Found at work when this process began; its Secret was gone, so its agent had claimed.
    Adopted {
        /// The uid.
        uid: String,
    },
}

impl KnownPod {
    /// The uid, when there is one.
    pub fn uid(&self) -> Option<&str> {
        match self {
            Self::None | Self::Creating => None,
            Self::Created { uid, .. } | Self::Adopted { uid } => Some(uid),
        }
    }
}

/// All that is known of one identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Agent, pod and Secret have this name.
    pub name: String,
    /// The registration.
    pub registration: Presence<Registration>,
    /// The Secret.
    pub secret: Option<SecretFact>,
    /// The pod.
    pub pod: Option<PodFact>,
    /// What this process remembers.
    pub known: Option<Known>,
    /// The unfinished request that is given to this agent.
    pub request: Option<Request>,
    /// When the snapshot was begun, if there is one.
    pub snapshot: Option<Timestamp>,
}

impl Identity {
    /// The template's name.
    pub fn template(&self) -> &str {
        self.pod
            .as_ref()
            .map(|pod| pod.template.as_str())
            .or_else(|| self.secret.as_ref().map(|secret| secret.template.as_str()))
            .or_else(|| self.registration.present().map(|r| r.template.as_str()))
            .unwrap_or_default()
    }

    /// The hash of what was registered.
    pub fn identity_hash(&self) -> &str {
        self.secret
            .as_ref()
            .map(|secret| secret.hash.as_str())
            .or_else(|| self.registration.present().map(|r| r.hash.as_str()))
            .unwrap_or_default()
    }
}

/// How long a Secret or pod that this process made may be missing from a watch.
const WATCH_LAG_SECONDS: i64 = 10;

/// The lists to join; all of one AgentPool but for the snapshot, which is of the whole pool.
pub struct Lists {
    /// The last snapshot, if there ever was one.
    pub snapshot: Option<std::sync::Arc<QueueSnapshot>>,
    /// Our Secrets.
    pub secrets: Vec<SecretFact>,
    /// Our pods.
    pub pods: Vec<PodFact>,
    /// What is remembered, by identity.
    pub known: BTreeMap<String, Known>,
    /// Identities that were removed by this process, and when.
    pub gone: BTreeMap<String, Timestamp>,
}

/// Joins the lists by name.
pub fn join(owner: &str, lists: Lists, now: Timestamp) -> Vec<Identity> {
    let Lists {
        snapshot,
        secrets,
        pods,
        known,
        gone,
    } = lists;
    let begun = snapshot.as_ref().map(|snapshot| snapshot.begun);
    let lag = jiff::SignedDuration::from_secs(WATCH_LAG_SECONDS);
    let recently_gone = |name: &str| {
        gone.get(name)
            .is_some_and(|at| now.duration_since(*at) < lag)
    };
    let mut secrets = by_name(secrets, |secret| &secret.name, &recently_gone);
    let mut pods = by_name(pods, |pod| &pod.name, &recently_gone);
    let mut agents: BTreeMap<String, Registration> = snapshot
        .iter()
        .flat_map(|snapshot| snapshot.agents.iter())
        .filter(|agent| agent.owner == owner)
        // A snapshot that is older than the removal still shows it.
        .filter(|agent| {
            gone.get(&agent.name)
                .is_none_or(|at| begun.is_some_and(|b| b > *at))
        })
        .map(|agent| (agent.name.clone(), agent.clone()))
        .collect();
    let mut requests: BTreeMap<AgentId, &Request> = BTreeMap::new();
    for request in snapshot
        .iter()
        .flat_map(|snapshot| snapshot.requests.iter())
    {
        if let Some(agent) = request.agent {
            requests.insert(agent, request);
        }
    }
    let mut names: Vec<String> = secrets
        .keys()
        .chain(pods.keys())
        .chain(agents.keys())
        .chain(known.keys())
        .cloned()
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut known = known;
    names
        .into_iter()
        .map(|name| {
            let known = known.remove(&name);
            let registration = registration(agents.remove(&name), known.as_ref(), begun);
            let secret = secret(secrets.remove(&name), known.as_ref(), &name, owner, now);
            let request = registration
                .present()
                .and_then(|registration| requests.get(&registration.id))
                .map(|request| (*request).clone());
            Identity {
                pod: pods.remove(&name),
                name,
                registration,
                secret,
                known,
                request,
                snapshot: begun,
            }
        })
        .collect()
}

fn by_name<T>(
    items: Vec<T>,
    name: impl Fn(&T) -> &String,
    gone: &impl Fn(&str) -> bool,
) -> BTreeMap<String, T> {
    items
        .into_iter()
        .filter(|item| !gone(name(item)))
        .map(|item| (name(&item).clone(), item))
        .collect()
}

fn registration(
    listed: Option<Registration>,
    known: Option<&Known>,
    begun: Option<Timestamp>,
) -> Presence<Registration> {
    let newer = |at: Timestamp| begun.is_none_or(|begun| at >= begun);
    let disabled = known.and_then(|known| known.disabled).is_some_and(newer);
    let registered = known.and_then(|known| known.registered.as_ref());
    match (listed, registered) {
        (Some(mut agent), _) => {
            agent.enabled &= !disabled;
            Presence::Present(agent)
        }
        (None, Some((at, agent))) if newer(*at) => {
            let mut agent = agent.clone();
            agent.enabled &= !disabled;
            Presence::Present(agent)
        }
        (None, _) if begun.is_none() => Presence::Unknown,
        (None, _) => Presence::Absent,
    }
}

fn secret(
    listed: Option<SecretFact>,
    known: Option<&Known>,
    name: &str,
    owner: &str,
    now: Timestamp,
) -> Option<SecretFact> {
    let Some(known) = known else { return listed };
    if known.unsealed {
        return None;
    }
    let lag = jiff::SignedDuration::from_secs(WATCH_LAG_SECONDS);
    listed.or_else(|| {
        let at = known.sealed.filter(|at| now.duration_since(*at) < lag)?;
        let (_, registration) = known.registered.as_ref()?;
        Some(SecretFact {
            name: name.to_owned(),
            pool_uid: owner.to_owned(),
            template: registration.template.clone(),
            hash: registration.hash.clone(),
            created: Some(at),
        })
    })
}

#[cfg(test)]
mod tests;
