//! All reads of a round: mirrors, memory, the poller's last look.

use super::facts::{Lists, PodFact, join};
use super::plan::Observed;
use super::status::{Health, ServiceHealth};
use super::validate::ValidPool;
use crate::connection::Link;
use crate::connection::health::Standing;
use crate::context::Context;
use crate::crd::conditions::Reason;
use crate::crd::pool::AgentPool;
use crate::memory::Owner;
use crate::mirror::PoolKey;
use crate::poller::PollState;
use jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Another AgentPool that was there first, on the same pool of the same connection.
pub fn earlier_manager(context: &Context, pool: &AgentPool) -> Option<String> {
    let rank = |pool: &AgentPool| (pool.creation_timestamp(), pool.uid());
    let own = rank(pool);
    context
        .pools
        .all()
        .iter()
        .filter_map(|(_, guarded)| guarded.0.as_ref().ok())
        .filter(|other| {
            other.spec.connection == pool.spec.connection
                && other.spec.pool.eq_ignore_ascii_case(&pool.spec.pool)
                && other.uid() != pool.uid()
                && rank(other) < own
        })
        .map(|other| {
            format!(
                "{}/{}",
                other.namespace().unwrap_or_default(),
                other.name_any()
            )
        })
        .next()
}

/// What a round works with.
pub struct Observation {
    /// For the plan.
    pub observed: Observed,
    /// For the status.
    pub health: ServiceHealth,
    /// For the service.
    pub link: Option<Link>,
    /// Whose identities they are.
    pub owner: Owner,
}

impl Observation {
    /// Whether the service was not looked at yet, so that there is nothing new to tell about it.
    pub fn is_blind(&self) -> bool {
        match &self.health.connection {
            Ok(()) => self.health.last_poll.is_none(),
            Err((reason, _)) => *reason == Reason::NotChecked,
        }
    }
}

/// Reads everything.
pub fn observe(
    context: &Arc<Context>,
    key: &PoolKey,
    object: &AgentPool,
    pool: &ValidPool,
    now: Timestamp,
) -> Observation {
    let owner = Owner {
        pool: key.clone(),
        uid: pool.uid.clone(),
        connection: pool.connection.clone(),
    };
    let connection = context.connections.get(&pool.connection);
    let link = connection
        .link(&pool.namespace, &pool.pool)
        .map_err(|problem| not_yet(context, &pool.connection, problem));
    let poll = match &link {
        Ok(_) => context.pollers.state(
            context,
            key,
            &pool.connection,
            &pool.pool,
            pool.poll_interval,
        ),
        Err(_) => context.pollers.known(key).unwrap_or_default(),
    };
    let standing = connection.standing();
    let secrets: Vec<_> = context
        .secrets
        .of(key)
        .into_iter()
        .filter(|secret| secret.pool_uid == pool.uid)
        .collect();
    let listening = listening(&poll, &pool.uid);
    let sealed: BTreeSet<String> = secrets
        .iter()
        .map(|secret| secret.name.clone())
        .filter(|name| !listening.contains(name))
        .collect();
    context.memory.adopt(&owner, &context.pods.of(key), &sealed);
    let view = context.memory.view(&pool.uid, &pool.connection);
    // After the memory: a pod is mirrored before it is remembered as seen, and one that was seen and is not there is gone.
    let pods = context.pods.of(key);
    let started = started(&view.starts, &pods, now);
    let writable = link.is_ok()
        && standing.is_accepted()
        && standing.silent_until(now).is_none()
        && poll.snapshot.is_some();
    let lists = Lists {
        snapshot: poll.snapshot.clone(),
        secrets,
        pods,
        known: view.known,
        gone: view.gone,
    };
    Observation {
        observed: Observed {
            identities: join(&pool.uid, lists, now),
            snapshot: poll.snapshot.clone(),
            writable,
            registering: view.registering,
            backoff: context.backoffs.of(&pool.uid),
            started,
            surplus_since: BTreeMap::new(),
            swept: None,
            taken: view.taken,
            living: living(context),
            deleting: object.meta().deletion_timestamp.as_ref().map(|time| time.0),
        },
        health: health(&link, &standing, &poll),
        link: link.ok(),
        owner,
    }
}

/// How many agents were started within the last minute: what this process did, or, after a restart, what pods say.
fn started(own: &[Timestamp], pods: &[PodFact], now: Timestamp) -> usize {
    let recent = |at: &Timestamp| now.duration_since(*at) < SignedDuration::from_mins(1);
    let own = own.iter().filter(|at| recent(at)).count();
    let seen = pods.iter().filter_map(|pod| pod.created).filter(recent);
    own.max(seen.count())
}

/// Agents that have a session or a request: whoever has their key had claimed it.
fn listening(poll: &PollState, owner: &str) -> BTreeSet<String> {
    let Some(snapshot) = &poll.snapshot else {
        return BTreeSet::new();
    };
    let at_work = |id| {
        let mut requests = snapshot.requests.iter();
        requests.any(|request| request.agent == Some(id))
    };
    let ours = snapshot.agents.iter().filter(|agent| agent.owner == owner);
    ours.filter(|agent| agent.online || at_work(agent.id))
        .map(|agent| agent.name.clone())
        .collect()
}

/// A connection whose object is there, but was not looked at yet, is not one that does not exist.
fn not_yet(context: &Context, connection: &str, problem: (Reason, String)) -> (Reason, String) {
    let object = context
        .connection_objects
        .find(&context.own_pool_key(connection), "");
    match problem {
        (Reason::ConnectionNotFound, _) if object.is_some() => (
            Reason::NotChecked,
            "the connection is being set up".to_owned(),
        ),
        other => other,
    }
}

fn living(context: &Context) -> BTreeSet<String> {
    let all = context.pools.all();
    all.iter()
        .filter_map(|(_, guarded)| match &guarded.0 {
            Ok(pool) => pool.uid(),
            Err(invalid) => invalid.metadata.uid.clone(),
        })
        .collect()
}

fn health(
    link: &Result<Link, (Reason, String)>,
    standing: &Standing,
    poll: &PollState,
) -> ServiceHealth {
    let credential = match (&standing.verdict, link) {
        (_, Err((reason @ (Reason::SecretNotFound | Reason::CaBundleNotFound), message))) => {
            Health::Bad(*reason, message.clone())
        }
        (_, Err(_)) | (None, _) => Health::Unknown,
        (Some(Ok(())), _) => Health::Good,
        (Some(Err((reason, message))), _) => Health::Bad(*reason, message.clone()),
    };
    let pool = match (&poll.problem, &poll.snapshot, link) {
        (_, _, Err(_)) => Health::Unknown,
        (Some((reason, message)), _, _) => Health::Bad(*reason, message.clone()),
        (None, Some(_), _) => Health::Good,
        (None, None, _) => Health::Unknown,
    };
    ServiceHealth {
        connection: link.as_ref().map(|_| ()).map_err(Clone::clone),
        credential,
        pool,
        last_poll: poll.last_poll,
        last_success: poll.last_success,
        errors: poll.errors,
    }
}
