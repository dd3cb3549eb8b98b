//! Keeps connections up to date with their objects, Secrets and CA bundles, and writes their status.

use super::{Connection, Endpoint, Link};
use crate::clock;
use crate::context::Context;
use crate::crd::conditions::{self, Reason, Verdict};
use crate::crd::connection::{
    PoolConnection, PoolConnectionSpec, PoolConnectionStatus, ProxySettings,
};
use crate::deadline::within;
use dayfly_client::{Client, Credential};
use dayfly_keys::webhook::WebhookSecret;
use dayfly_wire::proxy::Proxy;
use dayfly_wire::secret::SecretText;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::{Api, ResourceExt};
use std::sync::Arc;
use std::time::Duration;

/// How often a Secret is read while its credential is refused or missing.
const EAGER: SignedDuration = SignedDuration::from_secs(3);
/// How often it is read while all is well: a renewed credential is taken over within this time.
const CALM: SignedDuration = SignedDuration::from_secs(30);
/// A status in which no condition changed is written at most this often.
const WRITE_INTERVAL: SignedDuration = SignedDuration::from_secs(5);

/// What a link was made from: when any of it changes, it is made again.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    spec: PoolConnectionSpec,
    secret_version: String,
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
    write_status(context, connection, object, rounds, now).await;
}

async fn refresh(context: &Context, connection: &Connection, spec: &PoolConnectionSpec) {
    match make(context, connection, spec).await {
        Ok(Some((link, source))) => {
            let mut state = connection.lock();
            state.spec = Some(spec.clone());
            state.link = Some(link);
            state.problem = None;
            // Another credential deserves another chance, at once.
            state.standing = super::Standing::default();
            state.made_from = Some(source);
            drop(state);
            tracing::info!(connection = connection.name, "the connection was set up");
            connection.announce();
        }
        Ok(None) => {}
        Err((reason, message)) => set_problem(connection, Some(spec), reason, message),
    }
}

/// Without its secret nobody can call the hook; the connection is none the worse for it, since it polls.
async fn refresh_webhook(context: &Context, connection: &Connection, spec: &PoolConnectionSpec) {
    let read = match &spec.webhook {
        Some(webhook) => Some(secret(context, &webhook.secret_name, [&webhook.key]).await),
        None => None,
    };
    let mut state = connection.lock();
    match read.transpose() {
        Ok(read) => state.webhook = read.and_then(|(_, [text])| WebhookSecret::new(text)),
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
) -> Result<Option<(Link, Source)>, (Reason, String)> {
    let Some(token) = &spec.credentials.personal_access_token else {
        return Err((
            Reason::InvalidConnection,
            "spec.credentials names no credential".to_owned(),
        ));
    };
    let (secret_version, [value]) = secret(context, &token.secret_name, [&token.key]).await?;
    let bundle = match &spec.ca_bundle {
        Some(bundle) => Some(config_map(context, &bundle.config_map_name, &bundle.key).await?),
        None => None,
    };
    let (proxy_version, proxy) = match &spec.proxy {
        Some(settings) => {
            let (version, proxy) = proxy(context, settings).await?;
            (version, Some(proxy))
        }
        None => (None, None),
    };
    let source = Source {
        spec: spec.clone(),
        proxy_version,
        secret_version,
        bundle_version: bundle.as_ref().map(|(version, _)| version.clone()),
    };
    if connection.lock().made_from.as_ref() == Some(&source) {
        return Ok(None);
    }
    let ca_bundle = bundle.map(|(_, pem)| pem);
    let client = Client::builder(&spec.url)
        .credential(Credential::Pat(value))
        .user_agent(concat!("dayfly-operator/", env!("CARGO_PKG_VERSION")))
        .ca_bundle(ca_bundle.clone())
        .proxy(proxy.clone())
        .build()
        .map_err(|error| (Reason::InvalidConnection, error.to_string()))?;
    Ok(Some((
        Link {
            client,
            endpoint: Endpoint {
                url: spec.url.clone(),
                ca_bundle,
                proxy,
            },
        },
        source,
    )))
}

/// The proxy with its credential, and the version of the Secret that it came from.
async fn proxy(
    context: &Context,
    settings: &ProxySettings,
) -> Result<(Option<String>, Proxy), (Reason, String)> {
    let ProxySettings {
        http,
        https,
        no_proxy,
        secret_name,
    } = settings.clone();
    let mut proxy = Proxy {
        http,
        https,
        no_proxy,
        ..Proxy::default()
    };
    let Some(name) = secret_name else {
        return Ok((None, proxy));
    };
    let (version, [user, password]) = secret(context, &name, ["username", "password"]).await?;
    proxy.user = Some(user.expose().to_owned());
    proxy.password = Some(password);
    Ok((Some(version), proxy))
}

/// The values of these keys, read at once: they are of one version of the Secret.
async fn secret<const KEYS: usize>(
    context: &Context,
    name: &str,
    keys: [&str; KEYS],
) -> Result<(String, [SecretText; KEYS]), (Reason, String)> {
    let api: Api<Secret> = Api::namespaced(context.kube.clone(), &context.args.namespace);
    let missing = |problem: String| (Reason::SecretNotFound, problem);
    let secret = match within(api.get_opt(name)).await {
        Ok(Some(secret)) => secret,
        Ok(None) => {
            return Err(missing(format!(
                "there is no Secret {name} in the operator's namespace"
            )));
        }
        Err(error) => return Err(missing(format!("failed to read Secret {name}: {error}"))),
    };
    let version = secret.resource_version().unwrap_or_default();
    let mut data = secret.data.unwrap_or_default();
    let mut values = keys.map(|_| SecretText::new(String::new()));
    for (value, key) in values.iter_mut().zip(keys) {
        let bytes = data.remove(key);
        let bytes = bytes.ok_or_else(|| missing(format!("Secret {name} has no key {key}")))?;
        let text = String::from_utf8(bytes.0)
            .map_err(|_| missing(format!("key {key} of Secret {name} is not text")))?;
        *value = SecretText::new(text.trim().to_owned());
    }
    Ok((version, values))
}

async fn config_map(
    context: &Context,
    name: &str,
    key: &str,
) -> Result<(String, String), (Reason, String)> {
    let api: Api<ConfigMap> = Api::namespaced(context.kube.clone(), &context.args.namespace);
    let missing = |problem: String| (Reason::CaBundleNotFound, problem);
    let map = match within(api.get_opt(name)).await {
        Ok(Some(map)) => map,
        Ok(None) => {
            return Err(missing(format!(
                "there is no ConfigMap {name} in the operator's namespace"
            )));
        }
        Err(error) => return Err(missing(format!("failed to read ConfigMap {name}: {error}"))),
    };
    let version = map.resource_version().unwrap_or_default();
    let pem = map.data.and_then(|mut data| data.remove(key));
    pem.map(|pem| (version, pem))
        .ok_or_else(|| missing(format!("ConfigMap {name} has no key {key}")))
}

/// What the status says now. Pure but for the locks.
fn status(
    previous: &PoolConnectionStatus,
    connection: &Connection,
    generation: Option<i64>,
    pools: usize,
    now: Timestamp,
) -> PoolConnectionStatus {
    let (problem, standing) = {
        let state = connection.lock();
        (state.problem.clone(), state.standing.clone())
    };
    let credential = match (&problem, &standing.verdict) {
        (Some((reason, message)), _) => Verdict::new(
            conditions::CREDENTIALS_VALID,
            false,
            *reason,
            message.clone(),
        ),
        (None, Some(Ok(()))) => {
            Verdict::new(conditions::CREDENTIALS_VALID, true, Reason::Accepted, "")
        }
        (None, Some(Err((reason, message)))) => Verdict::new(
            conditions::CREDENTIALS_VALID,
            false,
            *reason,
            message.clone(),
        ),
        (None, None) => Verdict::unknown(
            conditions::CREDENTIALS_VALID,
            Reason::NotChecked,
            "no AgentPool has used the connection yet",
        ),
    };
    let reachable = match &standing.reachable {
        None => Verdict::unknown(conditions::REACHABLE, Reason::NotChecked, ""),
        Some(Ok(())) => Verdict::new(conditions::REACHABLE, true, Reason::Polled, ""),
        Some(Err(problem)) => Verdict::new(
            conditions::REACHABLE,
            false,
            Reason::PoolUnreachable,
            problem.clone(),
        ),
    };
    let ready = [&credential, &reachable]
        .into_iter()
        .find(|verdict| verdict.status == Some(false))
        .map_or_else(
            || Verdict::new(conditions::READY, true, Reason::Usable, ""),
            |verdict| Verdict {
                kind: conditions::READY,
                ..verdict.clone()
            },
        );
    PoolConnectionStatus {
        observed_generation: generation,
        pools_in_use: i32::try_from(pools).unwrap_or(i32::MAX),
        conditions: conditions::merge(
            &previous.conditions,
            vec![ready, credential, reachable],
            generation,
            now,
        ),
    }
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
    let pools = context.pollers.count(&connection.name);
    let next = status(
        &previous,
        connection,
        object.metadata.generation,
        pools,
        now,
    );
    let recent = rounds
        .written
        .is_some_and(|at| now.duration_since(at) < WRITE_INTERVAL);
    if next == previous || (next.conditions == previous.conditions && recent) {
        return;
    }
    let api: Api<PoolConnection> = Api::namespaced(context.kube.clone(), &context.args.namespace);
    let patch = Patch::Merge(serde_json::json!({ "status": next }));
    let written = within(api.patch_status(&connection.name, &PatchParams::default(), &patch)).await;
    context
        .metrics
        .kube_write("patch", "poolconnections/status", &written);
    match written {
        Ok(_) => {
            rounds.written = Some(now);
            rounds.status = Some(next);
        }
        Err(error) => {
            tracing::warn!(connection = connection.name, %error, "failed to write the status")
        }
    }
}
