//! PoolConnections: one client, one credential and one health for all that goes to a service.
//!
//! [`health`] and [`status`] are pure; [`refresh`] reads what the object names and writes its status.

mod credential;
pub mod health;
pub mod objects;
pub mod refresh;
pub mod status;

use crate::crd::conditions::Reason;
use crate::crd::connection::PoolConnectionSpec;
use crate::metrics::Metrics;
use dayfly_client::{Client, Error};
use dayfly_keys::webhook::WebhookSecret;
use dayfly_wire::credential::CredentialStanding;
use dayfly_wire::proxy::Proxy;
use dayfly_wire::secret::SecretText;
use health::{Gate, LONGEST_SILENCE, Standing};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Why a connection cannot be used.
pub type Problem = (Reason, String);

/// What may be used of a connection now.
#[derive(Clone)]
pub struct Link {
    /// The client with the credential.
    pub client: Client,
    /// How agents reach the service too.
    pub endpoint: Endpoint,
}

/// How the service is reached.
#[derive(Clone)]
pub struct Endpoint {
    /// Its URL.
    pub url: String,
    /// Certificates beside the system's.
    pub ca_bundle: Option<String>,
    /// The proxy.
    pub proxy: Option<Proxy>,
}

/// One connection.
pub struct Connection {
    /// Its name.
    pub name: String,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

pub(crate) struct State {
    spec: Option<PoolConnectionSpec>,
    link: Option<Link>,
    /// Why there is no link.
    problem: Option<Problem>,
    standing: Standing,
    /// When the credential ends, as far as the operator can see for itself.
    expires: Option<Timestamp>,
    /// What the service tells of the credential, and when it was asked.
    told: Option<(Timestamp, Option<CredentialStanding>)>,
    /// Pools that the credential sees, and whether it manages them.
    roles: BTreeMap<String, bool>,
    /// What the link was made from.
    made_from: Option<refresh::Source>,
    /// What a call of the hook must know; nobody may call it without.
    webhook: Option<WebhookSecret>,
}

/// All connections, by name.
#[derive(Default)]
pub struct Connections {
    all: Mutex<HashMap<String, Arc<Connection>>>,
}

impl Connections {
    /// The connection of that name, whether or not the object exists yet.
    pub fn get(&self, name: &str) -> Arc<Connection> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            all.entry(name.to_owned())
                .or_insert_with(|| Arc::new(Connection::new(name))),
        )
    }

    /// The connections whose pools this secret may wake.
    pub fn woken_by(&self, presented: &SecretText) -> Vec<String> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let woken = all
            .values()
            .filter(|connection| connection.accepts_wake(presented));
        woken.map(|connection| connection.name.clone()).collect()
    }
}

impl Connection {
    fn new(name: &str) -> Self {
        let state = State {
            spec: None,
            link: None,
            problem: Some((Reason::ConnectionNotFound, not_found(name))),
            standing: Standing::default(),
            expires: None,
            told: None,
            roles: BTreeMap::new(),
            made_from: None,
            webhook: None,
        };
        Self {
            name: name.to_owned(),
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes when the link, the grants or the standing change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(crate) fn announce(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// The link, if this namespace may use this pool through it.
    ///
    /// # Errors
    /// Why not. Nothing is asked of the service then.
    pub fn link(&self, namespace: &str, pool: &str) -> Result<Link, Problem> {
        let state = self.lock();
        let Some(spec) = &state.spec else {
            return Err((Reason::ConnectionNotFound, not_found(&self.name)));
        };
        if !spec.allows(namespace, pool) {
            let message = format!(
                "PoolConnection {} does not allow namespace {namespace} to use pool {pool}; ask its administrator for an entry in spec.allow",
                self.name
            );
            return Err((Reason::NotAllowed, message));
        }
        match (&state.link, &state.problem) {
            (Some(link), _) => Ok(link.clone()),
            (None, Some(problem)) => Err(problem.clone()),
            (None, None) => Err((
                Reason::NotChecked,
                "the connection is being set up".to_owned(),
            )),
        }
    }

    /// How the service is reached, for agents; whoever claims an identity was allowed when it was made.
    pub fn endpoint(&self) -> Option<Endpoint> {
        self.lock().link.as_ref().map(|link| link.endpoint.clone())
    }

    /// The link, for what must be done whatever the grants say now.
    pub fn any_link(&self) -> Option<Link> {
        self.lock().link.clone()
    }

    /// Whether a call of the hook may wake the connection's pools.
    pub fn accepts_wake(&self, presented: &SecretText) -> bool {
        let state = self.lock();
        state
            .webhook
            .as_ref()
            .is_some_and(|secret| secret.is(presented))
    }

    /// How the service takes the credential.
    pub fn standing(&self) -> Standing {
        self.lock().standing.clone()
    }

    /// Whether the service may be asked now.
    pub fn gate(&self, now: Timestamp) -> Gate {
        self.lock().standing.gate(now)
    }

    /// Whether it is known what the credential may do with a pool that it sees.
    pub fn knows_role(&self, pool: &str) -> bool {
        self.lock().roles.contains_key(pool)
    }

    /// Whether the credential may manage a pool that it sees.
    pub fn learn_role(&self, pool: &str, manages: bool) {
        self.lock().roles.insert(pool.to_owned(), manages);
        if !manages {
            self.announce();
        }
    }

    /// Learns from the end of a call.
    pub fn learn<T>(
        &self,
        metrics: &Metrics,
        op: &'static str,
        result: &Result<T, Error>,
        now: Timestamp,
    ) {
        metrics.service_call(op, result);
        let mut state = self.lock();
        let before = state.standing.clone();
        state.standing.learn(result.as_ref().err(), now);
        let rate = state.link.as_ref().map(|link| link.client.rate_limit());
        if let Some(wait) = rate.and_then(|rate| SignedDuration::try_from(rate.wait?).ok()) {
            state
                .standing
                .be_silent(now + wait.min(LONGEST_SILENCE), now);
        }
        let changed = !before.same_verdict(&state.standing);
        drop(state);
        if changed {
            if let Err(error) = result {
                tracing::warn!(connection = self.name, op, %error, "the standing of a connection changed");
            } else {
                tracing::info!(connection = self.name, "the service accepts the credential");
            }
            self.announce();
        }
    }
}

fn not_found(name: &str) -> String {
    format!("there is no PoolConnection {name} in the operator's namespace")
}
