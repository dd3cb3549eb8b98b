//! What the leader remembers of identities. Nothing of it is written anywhere: after a restart it is rebuilt from
//! the four lists, and what cannot be rebuilt (who claimed what) is answered by replacing the agent.

use crate::identity::decision::{ClaimRefusal, Grant, Remembered, claim_decision};
use crate::mirror::PoolKey;
use crate::pool::facts::{Known, KnownPod, PodFact, Registration};
use dayfly_keys::cluster_token::ClusterClaims;
use dayfly_wire::identity::Claim;
use dayfly_wire::ids::{AgentId, RequestId};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long it is remembered that an identity was removed, or which request was taken.
const RETENTION: SignedDuration = SignedDuration::from_mins(10);
/// How long starts count.
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// Whose identity it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The AgentPool.
    pub pool: PoolKey,
    /// Its uid.
    pub uid: String,
    /// The PoolConnection.
    pub connection: String,
}

struct Record {
    owner: Owner,
    template: String,
    known: Known,
    nonce: Option<String>,
}

#[derive(Default)]
struct State {
    records: HashMap<String, Record>,
    gone: HashMap<String, (String, Timestamp)>,
    taken: HashMap<(String, RequestId), Timestamp>,
    /// When pods were asked for lately, by AgentPool.
    starts: HashMap<String, VecDeque<Timestamp>>,
}

/// The leader's memory.
#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
}

/// What one AgentPool's round needs.
#[derive(Default)]
pub struct View {
    /// By identity.
    pub known: BTreeMap<String, Known>,
    /// Identities that were removed, and when.
    pub gone: BTreeMap<String, Timestamp>,
    /// Registrations under way, by template.
    pub registering: BTreeMap<String, usize>,
    /// Requests that agents of this connection took.
    pub taken: BTreeMap<RequestId, Timestamp>,
    /// When pods were asked for lately.
    pub starts: Vec<Timestamp>,
}

/// When an agent reached its stages; what the busy patch carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// See [`crate::names::CLAIMED_AT`].
    pub claimed: Option<Timestamp>,
    /// See [`crate::names::LISTENING_AT`].
    pub listening: Option<Timestamp>,
    /// See [`crate::names::ACCEPTED_AT`].
    pub accepted: Option<Timestamp>,
    /// See [`crate::names::REQUEST_ID`].
    pub request: Option<RequestId>,
}

/// That an agent took a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Whether it says so for the first time.
    pub first: bool,
    /// How long it had listened, if this process knows.
    pub listened: Option<SignedDuration>,
}

/// A live identity, as a callback finds it.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Whose it is.
    pub owner: Owner,
    /// Its agent, when this process registered it.
    pub agent: Option<AgentId>,
    /// Whether it is disabled already.
    pub disabled: bool,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, identity: &str, change: impl FnOnce(&mut Record) -> T) -> Option<T> {
        self.lock().records.get_mut(identity).map(change)
    }

    /// An identity is about to be registered.
    pub fn begin_registration(&self, identity: &str, owner: Owner, template: &str) {
        let known = Known {
            in_flight: true,
            ..Known::default()
        };
        let record = Record {
            owner,
            template: template.to_owned(),
            known,
            nonce: None,
        };
        self.lock().records.insert(identity.to_owned(), record);
    }

    /// The service has it.
    pub fn registered(&self, identity: &str, registration: Registration, now: Timestamp) {
        self.change(identity, |record| {
            record.known.registered = Some((now, registration))
        });
    }

    /// Its Secret is there: it is in reserve.
    pub fn sealed(&self, identity: &str, now: Timestamp) {
        self.change(identity, |record| {
            record.known.sealed = Some(now);
            record.known.in_flight = false;
        });
    }

    /// Begins an operation on an identity; `false` when one is under way.
    pub fn begin(&self, identity: &str, owner: &Owner) -> bool {
        let mut state = self.lock();
        let record = state
            .records
            .entry(identity.to_owned())
            .or_insert_with(|| Record {
                owner: owner.clone(),
                template: String::new(),
                known: Known::default(),
                nonce: None,
            });
        !std::mem::replace(&mut record.known.in_flight, true)
    }

    /// Ends an operation.
    pub fn end(&self, identity: &str) {
        self.change(identity, |record| {
            record.known.in_flight = false;
            record.known.failures = 0;
            record.known.held_until = None;
        });
    }

    /// Ends an operation that failed; the next one waits a while, longer every time.
    pub fn end_failed(&self, identity: &str, now: Timestamp) {
        self.change(identity, |record| {
            let wait = SignedDuration::from_secs(1 << record.known.failures.min(5));
            record.known.in_flight = false;
            record.known.failures = record.known.failures.saturating_add(1);
            record.known.held_until = Some(now + wait);
        });
    }

    /// Its pod is about to be asked for. From here on nobody but the pod that the API server names may claim.
    pub fn creating_pod(&self, identity: &str, owner: &Owner, now: Timestamp) {
        let mut state = self.lock();
        let record = state
            .records
            .entry(identity.to_owned())
            .or_insert_with(|| Record {
                owner: owner.clone(),
                template: String::new(),
                known: Known::default(),
                nonce: None,
            });
        record.known.pod = KnownPod::Creating;
        let starts = state.starts.entry(owner.uid.clone()).or_default();
        while starts
            .front()
            .is_some_and(|at| now.duration_since(*at) > MINUTE)
        {
            starts.pop_front();
        }
        starts.push_back(now);
    }

    /// The API server returned this uid.
    pub fn pod_created(&self, identity: &str, uid: &str, now: Timestamp) {
        self.change(identity, |record| {
            record.known.pod = KnownPod::Created {
                uid: uid.to_owned(),
                at: now,
                seen: false,
            };
        });
    }

    /// The API server refused; the identity is as it was.
    pub fn pod_refused(&self, identity: &str) {
        self.change(identity, |record| record.known.pod = KnownPod::None);
    }

    /// A watch shows this pod.
    pub fn pod_seen(&self, identity: &str, pod_uid: &str) {
        self.change(identity, |record| {
            if let KnownPod::Created { uid, seen, .. } = &mut record.known.pod {
                *seen |= uid == pod_uid;
            }
        });
    }

    /// Takes over the pods of an earlier process whose agents had claimed: their Secret is gone, or they listen.
    pub fn adopt(&self, owner: &Owner, pods: &[PodFact], sealed: &BTreeSet<String>) {
        let mut state = self.lock();
        let at_work = |pod: &&PodFact| pod.is_at_work() && !sealed.contains(&pod.name);
        for pod in pods.iter().filter(at_work) {
            if state.gone.contains_key(&pod.name) {
                continue;
            }
            state
                .records
                .entry(pod.name.clone())
                .and_modify(|record| {
                    if record.known.pod == KnownPod::None {
                        record.known.pod = KnownPod::Adopted {
                            uid: pod.uid.clone(),
                        };
                    }
                })
                .or_insert_with(|| Record {
                    owner: owner.clone(),
                    template: pod.template.clone(),
                    known: Known {
                        pod: KnownPod::Adopted {
                            uid: pod.uid.clone(),
                        },
                        ..Known::default()
                    },
                    nonce: None,
                });
        }
    }

    /// Decides about a claim and, if it is granted, remembers the process that made it.
    ///
    /// # Errors
    /// The claim is refused.
    pub fn claim(
        &self,
        claim: &Claim,
        token: &ClusterClaims,
        now: Timestamp,
    ) -> Result<(Grant, Owner), ClaimRefusal> {
        let mut state = self.lock();
        let record = state.records.get_mut(&claim.identity);
        let remembered = record.as_ref().map(|record| Remembered {
            namespace: &record.owner.pool.namespace,
            pod: &record.known.pod,
            nonce: record.nonce.as_deref(),
            listening: record.known.listening.is_some(),
            ended: record.known.finished.is_some() || record.known.ended.is_some(),
        });
        let grant = claim_decision(claim, token, remembered)?;
        let record = record.ok_or(ClaimRefusal::Unknown)?;
        record.nonce = Some(claim.nonce.clone());
        record.known.claimed.get_or_insert(now);
        Ok((grant, record.owner.clone()))
    }

    /// The template of an identity that this process made or adopted.
    pub fn template(&self, identity: &str) -> Option<String> {
        self.lock()
            .records
            .get(identity)
            .map(|record| record.template.clone())
    }

    /// Who holds this identity in this pod.
    pub fn holder(&self, identity: &str, pod_uid: &str) -> Option<Holder> {
        let state = self.lock();
        let record = state.records.get(identity)?;
        (record.known.pod.uid() == Some(pod_uid)).then(|| Holder {
            owner: record.owner.clone(),
            agent: record
                .known
                .registered
                .as_ref()
                .map(|(_, registration)| registration.id),
            disabled: record.known.disabled.is_some(),
        })
    }

    /// The agent listens; its Secret is not needed any more. Returns how long it took from pod to session.
    pub fn listening(&self, identity: &str, now: Timestamp) -> Option<SignedDuration> {
        self.change(identity, |record| {
            let first = record.known.listening.is_none();
            record.known.listening.get_or_insert(now);
            match (&record.known.pod, first) {
                (KnownPod::Created { at, .. }, true) => Some(now.duration_since(*at)),
                _ => None,
            }
        })
        .flatten()
    }

    /// Its Secret was deleted.
    pub fn unsealed(&self, identity: &str) {
        self.change(identity, |record| record.known.unsealed = true);
    }

    /// The agent took a request.
    pub fn accepted(&self, identity: &str, request: RequestId, now: Timestamp) -> Taken {
        let mut state = self.lock();
        let Some(record) = state.records.get_mut(identity) else {
            return Taken::default();
        };
        let first = record.known.accepted.is_none();
        record.known.accepted.get_or_insert((request, now));
        let listened = record
            .known
            .listening
            .map(|since| now.duration_since(since));
        let connection = record.owner.connection.clone();
        state.taken.entry((connection, request)).or_insert(now);
        Taken { first, listened }
    }

    /// The agent is done.
    pub fn finished(&self, identity: &str, now: Timestamp) {
        self.change(identity, |record| *record.known.finished.get_or_insert(now));
    }

    /// The registration was disabled. The time is the one before the call: a later snapshot shows it.
    pub fn disabled(&self, identity: &str, at: Timestamp) {
        self.change(identity, |record| record.known.disabled = Some(at));
    }

    /// Takes the one busy patch: its times the first time, nothing after.
    pub fn take_patch(&self, identity: &str) -> Option<StageTimes> {
        self.change(identity, |record| {
            let known = &mut record.known;
            (!std::mem::replace(&mut known.patched, true)).then(|| StageTimes {
                claimed: known.claimed,
                listening: known.listening,
                accepted: known.accepted.map(|(_, at)| at),
                request: known.accepted.map(|(id, _)| id),
            })
        })
        .flatten()
    }

    /// The busy patch failed and may be tried again.
    pub fn return_patch(&self, identity: &str) {
        self.change(identity, |record| record.known.patched = false);
    }

    /// The service has given this agent a request.
    pub fn reserved_seen(&self, identity: &str, now: Timestamp) {
        self.change(identity, |record| {
            *record.known.reserved_seen.get_or_insert(now)
        });
    }

    /// Its request is not in the list any more.
    pub fn request_gone(&self, identity: &str, now: Timestamp) {
        self.change(identity, |record| {
            *record.known.request_gone.get_or_insert(now)
        });
    }

    /// Why it ended, for as long as its registration is there.
    pub fn ended(&self, identity: &str, message: &str) {
        self.change(identity, |record| {
            record.known.ended.get_or_insert_with(|| message.to_owned());
        });
    }

    /// Nothing of it is left.
    pub fn forget(&self, identity: &str, pool_uid: &str, now: Timestamp) {
        let mut state = self.lock();
        state.records.remove(identity);
        state
            .gone
            .insert(identity.to_owned(), (pool_uid.to_owned(), now));
    }

    /// What an AgentPool's round needs.
    pub fn view(&self, pool_uid: &str, connection: &str) -> View {
        let state = self.lock();
        let mut view = View::default();
        for (name, record) in state
            .records
            .iter()
            .filter(|(_, record)| record.owner.uid == pool_uid)
        {
            if record.known.in_flight
                && record.known.sealed.is_none()
                && record.known.pod == KnownPod::None
                && !record.template.is_empty()
                && record.known.ended.is_none()
            {
                *view.registering.entry(record.template.clone()).or_default() += 1;
                continue;
            }
            view.known.insert(name.clone(), record.known.clone());
        }
        let gone = state.gone.iter().filter(|(_, (uid, _))| uid == pool_uid);
        view.gone = gone.map(|(name, (_, at))| (name.clone(), *at)).collect();
        let taken = state
            .taken
            .iter()
            .filter(|((name, _), _)| name == connection);
        view.taken = taken.map(|((_, request), at)| (*request, *at)).collect();
        let starts = state.starts.get(pool_uid).into_iter().flatten();
        view.starts = starts.copied().collect();
        view
    }

    /// Whether this process made or adopted the identity.
    pub fn knows(&self, identity: &str) -> bool {
        self.lock().records.contains_key(identity)
    }

    /// Drops what is too old to matter, and records of which nothing is left.
    pub fn prune(&self, now: Timestamp) {
        let mut state = self.lock();
        state
            .gone
            .retain(|_, (_, at)| now.duration_since(*at) < RETENTION);
        state
            .taken
            .retain(|_, at| now.duration_since(*at) < RETENTION);
        state.starts.retain(|_, starts| {
            starts
                .back()
                .is_some_and(|at| now.duration_since(*at) <= MINUTE)
        });
    }
}

#[cfg(test)]
mod tests;
