//! One task per pool of a connection: looks at the queue and the agents, and wakes the AgentPool when they change.
//!
//! The number of calls does not grow with the number of agents: two lists per look; capabilities, which say whose
//! an agent is, are asked for only when an agent appears that was not seen before.

use crate::clock;
use crate::connection::health::Gate;
use crate::connection::{Connection, Link};
use crate::context::Context;
use crate::crd::conditions::Reason;
use crate::mirror::PoolKey;
use crate::names;
use crate::pool::facts::{Parallelism, QueueSnapshot, Registration, Request};
use dayfly_client::{AgentQuery, Client, Error, RateLimit};
use dayfly_wire::agent::{Agent, AgentStatus};
use dayfly_wire::ids::{AgentId, PoolId};
use dayfly_wire::request::{JobRequest, ResourceUsage};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// The longest pause when nothing happens.
const QUIET: Duration = Duration::from_secs(2);
/// The shortest time between two looks, however often the poller is woken.
const SHORTEST: Duration = Duration::from_millis(25);
/// The longest wait after failures.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// The longest wait that a service may ask for.
const LONGEST_THROTTLE: Duration = Duration::from_secs(300);

/// The pause while less than a tenth of the service's budget is left.
const SPARING: Duration = Duration::from_secs(10);
/// How old what the service said of its parallel jobs may be while jobs wait.
const PARALLELISM_ACTIVE: SignedDuration = SignedDuration::from_secs(5);
/// The same while nothing happens.
const PARALLELISM_QUIET: SignedDuration = SignedDuration::from_secs(60);

/// What a poller knows.
#[derive(Clone, Debug, Default)]
pub struct PollState {
    /// The last look that succeeded.
    pub snapshot: Option<Arc<QueueSnapshot>>,
    /// When it was tried last.
    pub last_poll: Option<Timestamp>,
    /// When it succeeded last.
    pub last_success: Option<Timestamp>,
    /// Failures since, and the last one.
    pub errors: u32,
    /// Why the last look failed.
    pub problem: Option<(Reason, String)>,
    /// What the service said last of how often it may be asked.
    pub rate: RateLimit,
}

struct Handle {
    connection: String,
    state: watch::Receiver<PollState>,
    wake: Arc<Notify>,
    active: Arc<AtomicBool>,
    interval: Arc<Mutex<Duration>>,
    stop: CancellationToken,
}

/// All pollers, by AgentPool.
#[derive(Default)]
pub struct Pollers {
    all: Mutex<HashMap<PoolKey, Handle>>,
}

impl Pollers {
    /// What the poller of an AgentPool knows; begins to poll if it does not yet.
    pub fn state(
        &self,
        context: &Arc<Context>,
        key: &PoolKey,
        connection: &str,
        pool: &str,
        interval: Duration,
    ) -> PollState {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = all
            .entry(key.clone())
            .or_insert_with(|| start(context, key, connection, pool, interval));
        *handle
            .interval
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = interval;
        handle.state.borrow().clone()
    }

    /// What is known without beginning to poll.
    pub fn known(&self, key: &PoolKey) -> Option<PollState> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(key).map(|handle| handle.state.borrow().clone())
    }

    /// Whether anything waits or starts: poll at the full rate.
    pub fn set_active(&self, key: &PoolKey, active: bool) {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = all.get(key)
            && !handle.active.swap(active, Ordering::Relaxed)
            && active
        {
            handle.wake.notify_one();
        }
    }

    /// Looks at once at all pools of a connection; returns how many there are.
    pub fn wake_connection(&self, connection: &str) -> usize {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let handles = all
            .values()
            .filter(|handle| handle.connection == connection);
        handles.map(|handle| handle.wake.notify_one()).count()
    }

    /// How many pools of a connection are polled.
    pub fn count(&self, connection: &str) -> usize {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.values()
            .filter(|handle| handle.connection == connection)
            .count()
    }

    /// The AgentPool is gone.
    pub fn stop(&self, key: &PoolKey) {
        if let Some(handle) = self
            .all
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key)
        {
            handle.stop.cancel();
        }
    }
}

fn start(
    context: &Arc<Context>,
    key: &PoolKey,
    connection: &str,
    pool: &str,
    interval: Duration,
) -> Handle {
    let sender = watch::Sender::new(PollState::default());
    let handle = Handle {
        connection: connection.to_owned(),
        state: sender.subscribe(),
        wake: Arc::new(Notify::new()),
        active: Arc::new(AtomicBool::new(true)),
        interval: Arc::new(Mutex::new(interval)),
        stop: context.shutdown.child_token(),
    };
    let poller = Poller {
        context: Arc::clone(context),
        connection: context.connections.get(connection),
        key: key.clone(),
        pool: pool.to_owned(),
        sender,
        wake: Arc::clone(&handle.wake),
        active: Arc::clone(&handle.active),
        interval: Arc::clone(&handle.interval),
        pool_id: None,
        marks: HashMap::new(),
        parallelism: None,
    };
    let stop = handle.stop.clone();
    context.tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = poller.run() => {}
        }
    });
    handle
}

/// Whose an agent is, learnt once: `None` for somebody else's.
type Marks = HashMap<AgentId, Option<Mark>>;

#[derive(Clone)]
struct Mark {
    owner: String,
    template: String,
    hash: String,
}

struct Poller {
    context: Arc<Context>,
    connection: Arc<Connection>,
    key: PoolKey,
    pool: String,
    sender: watch::Sender<PollState>,
    wake: Arc<Notify>,
    active: Arc<AtomicBool>,
    interval: Arc<Mutex<Duration>>,
    pool_id: Option<PoolId>,
    marks: Marks,
    /// What the service said of its parallel jobs, and when.
    parallelism: Option<(Timestamp, Option<Parallelism>)>,
}

/// When the next look is due.
#[derive(Clone, Copy)]
enum Next {
    /// Then, or when woken.
    After(Duration),
    /// Then, unless the connection changes.
    NotBefore(Duration),
}

impl Poller {
    async fn run(mut self) {
        let mut changes = self.connection.changes();
        loop {
            let next = self.look().await;
            let shortest = tokio::time::sleep(SHORTEST);
            let wake = async {
                match next {
                    Next::After(_) => self.wake.notified().await,
                    // A service in trouble is left alone, whoever calls.
                    Next::NotBefore(_) => std::future::pending().await,
                }
            };
            let (Next::After(pause) | Next::NotBefore(pause)) = next;
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = wake => {}
                () = tokio::time::sleep(pause) => {}
            }
            shortest.await;
        }
    }

    /// One look.
    async fn look(&mut self) -> Next {
        let now = clock::now();
        let link = match self.connection.link(&self.key.namespace, &self.pool) {
            Ok(link) => link,
            Err((reason, message)) => {
                // Nothing is asked of a service through a connection that does not allow it.
                self.pool_id = None;
                self.fail(reason, message, None);
                return Next::NotBefore(LONGEST_BACKOFF);
            }
        };
        if let Gate::Closed(until) = self.connection.gate(now) {
            let closed = Duration::try_from(until.duration_since(now)).unwrap_or(SHORTEST);
            return Next::NotBefore(closed);
        }
        let spare = link.client.leave_budget_for();
        if !spare.is_zero() {
            return Next::NotBefore(spare);
        }
        let looked = self.ask(&link, now).await;
        self.connection
            .learn(&self.context.metrics, "poll", &looked, clock::now());
        match looked {
            Ok(Some(snapshot)) => {
                let rate = link.client.rate_limit();
                self.publish(snapshot, rate, now);
                match rate.wait {
                    Some(wait) => Next::NotBefore(wait.min(LONGEST_THROTTLE)),
                    None if rate.is_nearly_used_up() => Next::NotBefore(self.pause().max(SPARING)),
                    None => Next::After(self.pause()),
                }
            }
            Ok(None) => {
                let message = format!(
                    "the service has no pool {:?}, or the credential may not see it",
                    self.pool
                );
                self.fail(Reason::PoolNotFound, message, Some(now));
                Next::NotBefore(self.backoff())
            }
            Err(error) => {
                let wait = match &error {
                    Error::Throttled { after } => {
                        after.unwrap_or(LONGEST_BACKOFF).min(LONGEST_THROTTLE)
                    }
                    Error::NotFound(_) => {
                        self.pool_id = None;
                        self.backoff()
                    }
                    _ => self.backoff(),
                };
                self.fail(reason(&error), error.to_string(), Some(now));
                Next::NotBefore(wait)
            }
        }
    }

    async fn ask(&mut self, link: &Link, now: Timestamp) -> Result<Option<QueueSnapshot>, Error> {
        let client = &link.client;
        let pool = match self.pool_id {
            Some(pool) => pool,
            None => match client.find_pool(&self.pool).await? {
                Some(found) => *self.pool_id.insert(found.id),
                None => return Ok(None),
            },
        };
        self.learn_role(client).await;
        let plain = AgentQuery::default();
        let (requests, agents) = tokio::try_join!(
            client.unfinished_requests(pool),
            client.agents(pool, &plain)
        )?;
        if agents
            .iter()
            .any(|agent| !self.marks.contains_key(&agent.id))
        {
            self.learn_marks(client, pool).await?;
        }
        self.marks
            .retain(|id, _| agents.iter().any(|agent| agent.id == *id));
        let mut snapshot = snapshot(pool, requests, agents, &self.marks, now);
        snapshot.parallelism = self.parallelism(client, now).await;
        Ok(Some(snapshot))
    }

    /// What the service said last of its parallel jobs; asked again when that is old. A service that does not say has
    /// no limit as far as this goes.
    async fn parallelism(&mut self, client: &Client, now: Timestamp) -> Option<Parallelism> {
        let lasts = if self.active.load(Ordering::Relaxed) {
            PARALLELISM_ACTIVE
        } else {
            PARALLELISM_QUIET
        };
        if let Some((at, known)) = self.parallelism
            && now.duration_since(at) < lasts
        {
            return known;
        }
        let answer = client.resource_usage().await;
        self.context.metrics.service_call("parallelism", &answer);
        if let Err(error) = &answer {
            tracing::debug!(pool = %self.key, %error, "the service does not say how many jobs it runs at once");
        }
        let known = answer.ok().as_ref().and_then(parallelism);
        self.parallelism = Some((now, known));
        known
    }

    /// Whether the credential may register agents here, as far as the service tells; asked once of each credential.
    async fn learn_role(&self, client: &Client) {
        if !self.connection.knows_role(&self.pool) {
            let manages = client.manages_pool(&self.pool).await;
            self.connection
                .learn_role(&self.pool, manages.unwrap_or(true));
        }
    }

    async fn learn_marks(&mut self, client: &Client, pool: PoolId) -> Result<(), Error> {
        let query = AgentQuery {
            include_capabilities: true,
            ..AgentQuery::default()
        };
        for agent in client.agents(pool, &query).await? {
            let mark = mark(&agent, &self.context.sealing.cluster);
            // One that is just being registered may not carry its mark yet: it is looked at again.
            if mark.is_some() || !self.context.memory.knows(&agent.name) {
                self.marks.insert(agent.id, mark);
            }
        }
        Ok(())
    }

    fn publish(&self, snapshot: QueueSnapshot, rate: RateLimit, now: Timestamp) {
        let mut changed = false;
        self.sender.send_modify(|state| {
            changed = state.problem.is_some()
                || state
                    .snapshot
                    .as_ref()
                    .is_none_or(|before| !before.same_facts(&snapshot));
            *state = PollState {
                snapshot: Some(Arc::new(snapshot)),
                last_poll: Some(now),
                last_success: Some(now),
                errors: 0,
                problem: None,
                rate,
            };
        });
        // While something is under way a round may wait for a later look rather than for other facts.
        if changed || self.active.load(Ordering::Relaxed) {
            self.context.wakes.wake(&self.key);
        }
    }

    fn fail(&self, reason: Reason, message: String, asked: Option<Timestamp>) {
        let mut changed = false;
        self.sender.send_modify(|state| {
            let problem = Some((reason, message));
            changed = state.problem != problem;
            state.problem = problem;
            if asked.is_some() {
                state.last_poll = asked;
                state.errors = state.errors.saturating_add(1);
            }
        });
        if changed {
            self.context.wakes.wake(&self.key);
        }
    }

    fn pause(&self) -> Duration {
        let interval = *self.interval.lock().unwrap_or_else(PoisonError::into_inner);
        if self.active.load(Ordering::Relaxed) {
            interval
        } else {
            interval.max(QUIET)
        }
    }

    /// 1 s, 2 s, 4 s, ... with the number of failures.
    fn backoff(&self) -> Duration {
        let errors = self.sender.borrow().errors.min(5);
        Duration::from_secs(1 << errors).min(LONGEST_BACKOFF)
    }
}

fn reason(error: &Error) -> Reason {
    match error {
        error if error.is_credential_rejected() => Reason::CredentialRejected,
        Error::Forbidden(_) => Reason::PermissionMissing,
        Error::NotFound(_) => Reason::PoolNotFound,
        Error::Throttled { .. } => Reason::Throttled,
        Error::Decode { .. } | Error::TooLong { .. } => Reason::UnreadableAnswer,
        _ => Reason::PoolUnreachable,
    }
}

/// The limit, where there is one.
fn parallelism(usage: &ResourceUsage) -> Option<Parallelism> {
    let limit = &usage.resource_limit;
    let total = limit.total_count.filter(|_| !limit.is_premium)?;
    Some(Parallelism {
        total: usize::try_from(total).ok()?,
        used: usize::try_from(usage.used_count).unwrap_or(0),
    })
}

fn mark(agent: &Agent, cluster: &str) -> Option<Mark> {
    let sets = [&agent.user_capabilities, &agent.system_capabilities];
    let text = |name: &str| {
        sets.iter()
            .find_map(|set| set.get(name))
            .cloned()
            .unwrap_or_default()
    };
    let owner = text(names::CAPABILITY_OWNER);
    Some(Mark {
        owner: names::owner_uid(&owner, cluster)?.to_owned(),
        template: text(names::CAPABILITY_TEMPLATE),
        hash: text(names::CAPABILITY_HASH),
    })
}

fn snapshot(
    pool: PoolId,
    requests: Vec<JobRequest>,
    agents: Vec<Agent>,
    marks: &Marks,
    begun: Timestamp,
) -> QueueSnapshot {
    let total = agents.len();
    let mut agents: Vec<Registration> = agents
        .into_iter()
        .filter_map(|agent| {
            let mark = marks.get(&agent.id)?.clone()?;
            Some(Registration {
                id: agent.id,
                name: agent.name,
                enabled: agent.enabled.unwrap_or(true),
                online: agent.status == Some(AgentStatus::Online),
                created: agent.created_on,
                changed: agent.status_changed_on,
                owner: mark.owner,
                template: mark.template,
                hash: mark.hash,
            })
        })
        .collect();
    agents.sort_by_key(|agent| agent.id);
    let mut requests: Vec<Request> = requests
        .into_iter()
        .filter(|request| request.result.is_none() && request.finish_time.is_none())
        .map(|request| Request {
            id: request.request_id,
            queued: request.queue_time,
            demands: request.demands,
            agent: request.reserved_agent.map(|agent| agent.id),
            received: request.receive_time,
        })
        .collect();
    requests.sort_by_key(|request| request.id);
    QueueSnapshot {
        begun,
        pool,
        foreign: total - agents.len(),
        requests,
        agents,
        parallelism: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_keeps_what_is_ours_and_unfinished() {
        let ours = names::owner_mark("c1", "ci", "linux", "u-1");
        let agent = |id: i64, owner: &str| Agent {
            id: AgentId(id),
            name: format!("agent-{id}"),
            user_capabilities: [
                (names::CAPABILITY_OWNER.to_owned(), owner.to_owned()),
                (names::CAPABILITY_TEMPLATE.to_owned(), "default".to_owned()),
            ]
            .into(),
            ..Agent::default()
        };
        let agents = vec![
            agent(2, &ours),
            agent(1, "c2/ci/linux/u-9"),
            Agent {
                id: AgentId(3),
                ..Agent::default()
            },
        ];
        let marks = agents
            .iter()
            .map(|agent| (agent.id, mark(agent, "c1")))
            .collect();
        let request: JobRequest =
            serde_json::from_value(serde_json::json!({ "requestId": 5 })).unwrap();
        let done: JobRequest =
            serde_json::from_value(serde_json::json!({ "requestId": 6, "result": "succeeded" }))
                .unwrap();
        let seen = snapshot(
            PoolId(1),
            vec![done, request],
            agents,
            &marks,
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(seen.foreign, 2);
        assert_eq!(seen.agents.len(), 1);
        assert_eq!(
            (
                seen.agents[0].owner.as_str(),
                seen.agents[0].template.as_str()
            ),
            ("u-1", "default")
        );
        assert_eq!(seen.requests.len(), 1);
    }

    #[test]
    fn a_service_without_a_limit_of_parallel_jobs_limits_nothing() {
        let usage = |limit: serde_json::Value| -> ResourceUsage {
            serde_json::from_value(serde_json::json!({ "resourceLimit": limit, "usedCount": 3 }))
                .unwrap()
        };
        let limited = usage(serde_json::json!({ "totalCount": 5, "isPremium": false }));
        assert_eq!(
            parallelism(&limited),
            Some(Parallelism { total: 5, used: 3 })
        );
        let premium = usage(serde_json::json!({ "totalCount": 5, "isPremium": true }));
        assert_eq!(parallelism(&premium), None);
        assert_eq!(parallelism(&usage(serde_json::json!({}))), None);
    }
}
