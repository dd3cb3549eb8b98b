//! Keeps connections up to date with their objects, Secrets and CA bundles, and writes their status.

use super::objects::{Own, config_map, proxy, secret};
use super::status::{self, Facts};
use super::{Connection, Endpoint, Link, Problem, credential};
use crate::clock;
use crate::context::Context;
use crate::crd::conditions::Reason;
use crate::crd::connection::{PoolConnection, PoolConnectionSpec, PoolConnectionStatus};
use crate::deadline::within;
use dayfly_client::Client;
use dayfly_keys::webhook::WebhookSecret;
use dayfly_wire::proxy::Proxy;
use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::{Api, Resource};
use std::sync::Arc;
use std::time::Duration;

/// How often a Secret is read while its credential is refused or missing.
const EAGER: SignedDuration = SignedDuration::from_secs(3);
/// How often it is read while all is well: a renewed credential is taken over within this time.
const CALM: SignedDuration = SignedDuration::from_secs(30);
/// Polls that wait so long for the own budget are worth a condition; every poll takes a little of it.
const BUDGET_SPENT: Duration = Duration::from_secs(5);
/// A status in which no condition changed is written at most this often.
const WRITE_INTERVAL: SignedDuration = SignedDuration::from_secs(5);

/// How often a service is asked what it knows of the credential.
const ASK_AGAIN: SignedDuration = SignedDuration::from_hours(1);
/// How long it may take for that.
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// What a link was made from: when any of it changes, it is made again.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    spec: PoolConnectionSpec,
    secret_version: Option<String>,
    bundle_version: Option<String>,
    proxy_version: Option<String>,
}

/// Between rounds.
#[derive(Default)]
struct Rounds {
    read: Option<Timestamp>,
    written: Option<Timestamp>,
    status: Option<PoolConnectionStatus>,
}

/// Follows one connection until the object is gone.
pub async fn follow(context: Arc<Context>, name: String) {
    let connection = context.connections.get(&name);
    let mut changes = connection.changes();
    let mut rounds = Rounds::default();
    loop {
        let object = context
            .connection_objects
            .find(&context.own_pool_key(&name), "");
        match object.as_deref() {
            Some(DeserializeGuard(Ok(object))) => {
                round(&context, &connection, object, &mut rounds).await
            }
            Some(DeserializeGuard(Err(invalid))) => {
                let message = format!("the PoolConnection cannot be read: {}", invalid.error);
                set_problem(&connection, None, Reason::InvalidConnection, message);
            }
            None => {
                set_problem(
                    &connection,
                    None,
                    Reason::ConnectionNotFound,
                    super::not_found(&name),
                );
                connection.announce();
                publish_expiry(&context, &connection, None);
                return;
            }
        }
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

async fn round(
    context: &Context,
    connection: &Connection,
    object: &PoolConnection,
    rounds: &mut Rounds,
) {
    let now = clock::now();
    let (spec_changed, calm) = {
        let state = connection.lock();
        (
            state.spec.as_ref() != Some(&object.spec),
            state.link.is_some() && !matches!(state.standing.verdict, Some(Err(_))),
        )
    };
    let interval = if calm { CALM } else { EAGER };
    if spec_changed
        || rounds
            .read
            .is_none_or(|at| now.duration_since(at) >= interval)
    {
        rounds.read = Some(now);
        refresh(context, connection, &object.spec).await;
        refresh_webhook(context, connection, &object.spec).await;
    }
    ask_about_credential(context, connection, now).await;
    write_status(context, connection, object, rounds, now).await;
}

async fn refresh(context: &Context, connection: &Connection, spec: &PoolConnectionSpec) {
    match make(context, connection, spec).await {
        Ok(Some((link, source, expires))) => {
            let mut state = connection.lock();
            state.spec = Some(spec.clone());
            state.link = Some(link);
            state.problem = None;
            // Another credential deserves another chance, at once.
            state.standing = super::Standing::default();
            state.expires = expires;
            state.told = None;
            state.roles.clear();
            state.made_from = Some(source);
            drop(state);
            tracing::info!(connection = connection.name, "the connection was set up");
            connection.announce();
        }
        Ok(None) => {}
        Err((reason, message)) => set_problem(connection, Some(spec), reason, message),
    }
}

/// Asks the service what it knows of the credential, once and then every hour. Azure DevOps does not tell.
async fn ask_about_credential(context: &Context, connection: &Connection, now: Timestamp) {
    let link = {
        let state = connection.lock();
        let recent = state
            .told
            .as_ref()
            .is_some_and(|(at, _)| now.duration_since(*at) < ASK_AGAIN);
        let quiet =
            recent || !state.standing.is_accepted() || state.standing.silent_until(now).is_some();
        state.link.clone().filter(|_| !quiet)
    };
    let Some(link) = link else {
        return;
    };
    let asked = tokio::time::timeout(ASK_LIMIT, link.client.credential_standing()).await;
    if let Ok(answer) = &asked {
        context.metrics.service_call("credential", answer);
    }
    let told = asked.ok().and_then(Result::ok).flatten();
    connection.lock().told = Some((now, told));
}

/// Without its secret nobody can call the hook; the connection is none the worse for it, since it polls.
async fn refresh_webhook(context: &Context, connection: &Connection, spec: &PoolConnectionSpec) {
    let read = match &spec.webhook {
        Some(webhook) => {
            Some(secret(&Own::of(context), &webhook.secret_name, [&webhook.key]).await)
        }
        None => None,
    };
    let mut state = connection.lock();
    match read.transpose() {
        Ok(read) => {
            state.webhook = read.and_then(|read| {
                let [text] = read.values;
                WebhookSecret::new(text)
            })
        }
        Err((_, problem)) => {
            if state.webhook.take().is_some() {
                tracing::warn!(connection = connection.name, problem, "the hook is closed");
            }
        }
    }
}

fn set_problem(
    connection: &Connection,
    spec: Option<&PoolConnectionSpec>,
    reason: Reason,
    message: String,
) {
    let mut state = connection.lock();
    let problem = Some((reason, message));
    let changed = state.problem != problem || state.spec.as_ref() != spec;
    if changed {
        if let Some((reason, message)) = &problem {
            tracing::warn!(
                connection = connection.name,
                reason = reason.as_str(),
                message,
                "the connection cannot be used"
            );
        }
        state.spec = spec.cloned();
        state.link = None;
        state.made_from = None;
        state.problem = problem;
        state.expires = None;
        state.told = None;
    }
    drop(state);
    if changed {
        connection.announce();
    }
}

/// Makes a link, unless the present one was made from the same.
async fn make(
    context: &Context,
    connection: &Connection,
    spec: &PoolConnectionSpec,
) -> Result<Option<Linked>, Problem> {
    let read = read(&Own::of(context), spec).await?;
    if connection.lock().made_from.as_ref() == Some(&read.source) {
        return Ok(None);
    }
    read.link().map(Some)
}

/// A link of a connection that nobody follows.
///
/// # Errors
/// Why there is none.
pub async fn link(own: &Own<'_>, spec: &PoolConnectionSpec) -> Result<Link, Problem> {
    let (link, ..) = read(own, spec).await?.link()?;
    Ok(link)
}

/// A link, what it was made from, and when its credential ends.
type Linked = (Link, Source, Option<Timestamp>);

/// What a link is made from.
struct Read {
    source: Source,
    made: credential::Made,
    ca_bundle: Option<String>,
    proxy: Option<Proxy>,
}

async fn read(own: &Own<'_>, spec: &PoolConnectionSpec) -> Result<Read, Problem> {
    let made = credential::make(own, &spec.credentials).await?;
    let bundle = match &spec.ca_bundle {
        Some(bundle) => Some(config_map(own, &bundle.config_map_name, &bundle.key).await?),
        None => None,
    };
    let (proxy_version, proxy) = match &spec.proxy {
        Some(settings) => {
            let (version, proxy) = proxy(own, settings).await?;
            (version, Some(proxy))
        }
        None => (None, None),
    };
    let source = Source {
        spec: spec.clone(),
        secret_version: made.version.clone(),
        bundle_version: bundle.as_ref().map(|(version, _)| version.clone()),
        proxy_version,
    };
    Ok(Read {
        source,
        made,
        ca_bundle: bundle.map(|(_, pem)| pem),
        proxy,
    })
}

impl Read {
    fn link(self) -> Result<Linked, Problem> {
        let spec = &self.source.spec;
        let budget = spec.request_budget.as_ref();
        let client = Client::builder(&spec.url)
            .credential(self.made.credential)
            .user_agent(concat!("dayfly-operator/", env!("CARGO_PKG_VERSION")))
            .ca_bundle(self.ca_bundle.clone())
            .proxy(self.proxy.clone())
            .calls_per_minute(budget.and_then(|budget| u32::try_from(budget.per_minute).ok()))
            .build()
            .map_err(|error| (Reason::InvalidConnection, error.to_string()))?;
        let endpoint = Endpoint {
            url: spec.url.clone(),
            ca_bundle: self.ca_bundle,
            proxy: self.proxy,
        };
        Ok((Link { client, endpoint }, self.source, self.made.expires))
    }
}

fn facts(context: &Context, connection: &Connection, spec: &PoolConnectionSpec) -> Facts {
    let pools = context.pools.all();
    let own = pools
        .iter()
        .filter_map(|(_, guarded)| guarded.0.as_ref().ok());
    let own = own.filter(|pool| pool.spec.connection == connection.name);
    let reserved = own.filter_map(|pool| pool.status.as_ref().map(|status| status.agents.reserved));
    let state = connection.lock();
    let told = state.told.as_ref().and_then(|(_, told)| told.as_ref());
    let unmanaged = state.roles.iter().filter(|(_, manages)| !**manages);
    let mut lacks: Vec<String> = unmanaged.map(|(pool, _)| lacks_role(pool)).collect();
    lacks.extend(
        told.filter(|told| !told.manages_pools())
            .map(|told| format!("its scopes ({}) do not let it register agents", told.scopes)),
    );
    let client = state.link.as_ref().map(|link| &link.client);
    Facts {
        problem: state.problem.clone(),
        standing: state.standing.clone(),
        pools: context.pollers.count(&connection.name),
        reserve: reserved
            .map(|count| usize::try_from(count).unwrap_or(0))
            .sum(),
        expires: [state.expires, told.and_then(|told| told.expires_at)]
            .into_iter()
            .flatten()
            .min(),
        lacks,
        rate: client.map(Client::rate_limit).unwrap_or_default(),
        budget_spent: client.is_some_and(|client| client.leave_budget_for() >= BUDGET_SPENT),
        wildcards: spec.wildcard_grants(),
    }
}

fn lacks_role(pool: &str) -> String {
    format!("it sees pool {pool}, and is not its administrator")
}

fn publish_expiry(context: &Context, connection: &Connection, expires: Option<Timestamp>) {
    context
        .metrics
        .credential_expires(&connection.name, expires.map(Timestamp::as_second));
}

async fn write_status(
    context: &Context,
    connection: &Connection,
    object: &PoolConnection,
    rounds: &mut Rounds,
    now: Timestamp,
) {
    let previous = rounds
        .status
        .clone()
        .or_else(|| object.status.clone())
        .unwrap_or_default();
    let facts = facts(context, connection, &object.spec);
    publish_expiry(context, connection, facts.expires);
    let next = status::status(&previous, &facts, object.metadata.generation, now);
    let recent = rounds
        .written
        .is_some_and(|at| now.duration_since(at) < WRITE_INTERVAL);
    if next == previous || (next.conditions == previous.conditions && recent) {
        return;
    }
    let api: Api<PoolConnection> = Api::namespaced(context.kube.clone(), &context.args.namespace);
    let (before, after) = (serde_json::json!(previous), serde_json::json!(next));
    let patch = Patch::Merge(serde_json::json!({ "status": status::merged(&before, after) }));
    let written = within(api.patch_status(&connection.name, &PatchParams::default(), &patch)).await;
    context
        .metrics
        .kube_write("patch", "poolconnections/status", &written);
    match written {
        Ok(_) => {
            let about = object.object_ref(&());
            for (reason, note) in status::news(&previous.conditions, &next.conditions) {
                context.reports.warning(&about, reason, note).await;
            }
            rounds.written = Some(now);
            rounds.status = Some(next);
        }
        Err(error) => {
            tracing::warn!(connection = connection.name, %error, "failed to write the status")
        }
    }
}
