//! The identity API's routes: extract, call, respond.

use super::claim::claim;
use super::decision::ClaimRefusal;
use super::rate::Allowances;
use super::termination::termination;
use super::token::TokenChecker;
use super::told::Told;
use crate::clock;
use crate::context::Context;
use crate::deadline::within;
use crate::memory::Holder;
use crate::metrics::ReasonLabels;
use crate::pool::busy;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use dayfly_keys::callback::Callback;
use dayfly_wire::identity::{Accepted, Claim, Finished, Refusal};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use serde::de::DeserializeOwned;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The longest body.
const MAX_BODY: usize = 16 * 1024;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub struct Source(pub IpAddr);

/// What the routes share.
pub struct IdentityApi {
    context: Arc<Context>,
    tokens: TokenChecker,
    allowances: Mutex<Allowances>,
    told: Mutex<Told>,
}

type Shared = State<Arc<IdentityApi>>;

/// The routes.
pub fn router(context: Arc<Context>) -> Router {
    let tokens = TokenChecker::new(context.kube.clone());
    let api = Arc::new(IdentityApi {
        context,
        tokens,
        allowances: Mutex::default(),
        told: Mutex::default(),
    });
    Router::new()
        .route("/v1/claim", post(claimed))
        .route("/v1/listening", post(listening))
        .route("/v1/accepted", post(accepted))
        .route("/v1/finished", post(finished))
        .route("/v1/termination", get(terminated))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(api)
}

/// A refusal on its way out; counted, and logged without what was presented.
struct Refused(ClaimRefusal);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::FORBIDDEN);
        (
            status,
            Json(Refusal {
                message: self.0.to_string(),
            }),
        )
            .into_response()
    }
}

impl IdentityApi {
    fn refuse(&self, call: &str, source: IpAddr, identity: &str, refusal: ClaimRefusal) -> Refused {
        let labels = ReasonLabels {
            reason: refusal.reason(),
        };
        self.context.metrics.refusals.get_or_create(&labels).inc();
        // The name was not checked: it is cut and quoted.
        let identity: String = identity.chars().take(63).collect();
        // An agent that was removed may still say goodbye.
        let late = refusal == ClaimRefusal::Unknown && call != "claim";
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let news = told.is_news(source, refusal.reason(), Instant::now());
        if refusal.is_expected() || refusal == ClaimRefusal::TooMany || late || !news {
            tracing::debug!(call, %source, ?identity, reason = refusal.reason(), "a call was put off");
        } else {
            tracing::warn!(call, %source, ?identity, reason = refusal.reason(), "a call was refused");
        }
        Refused(refusal)
    }

    fn admit(&self, source: IpAddr) -> Result<(), ClaimRefusal> {
        let mut allowances = self
            .allowances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !allowances.take(source, Instant::now()) {
            return Err(ClaimRefusal::TooMany);
        }
        if self.context.leads() && self.context.knows_all() {
            Ok(())
        } else {
            Err(ClaimRefusal::NotReady)
        }
    }

    fn callback(
        &self,
        source: IpAddr,
        headers: &HeaderMap,
    ) -> Result<(Callback, Holder), ClaimRefusal> {
        self.admit(source)?;
        let token = bearer(headers).ok_or(ClaimRefusal::Token)?;
        let callback = self
            .context
            .sealing
            .keys()
            .callback
            .verify(token)
            .ok_or(ClaimRefusal::Token)?;
        let holder = self
            .context
            .memory
            .holder(&callback.identity, &callback.pod_uid);
        Ok((callback, holder.ok_or(ClaimRefusal::Unknown)?))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn document<T: DeserializeOwned>(body: &Bytes) -> Result<T, ClaimRefusal> {
    serde_json::from_slice(body).map_err(|_| ClaimRefusal::Malformed)
}

async fn claimed(
    State(api): Shared,
    Extension(Source(source)): Extension<Source>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked: Result<Claim, _> = api.admit(source).and_then(|()| document(&body));
    let asked = match asked {
        Ok(asked) => asked,
        Err(refusal) => return api.refuse("claim", source, "", refusal).into_response(),
    };
    let Some(token) = bearer(&headers) else {
        return api
            .refuse("claim", source, &asked.identity, ClaimRefusal::Token)
            .into_response();
    };
    match claim(&api.context, &api.tokens, token, &asked).await {
        Ok(identity) => {
            tracing::info!(identity = asked.identity, agent = %identity.agent_id, "an identity was claimed");
            ([(header::CACHE_CONTROL, "no-store")], Json(identity)).into_response()
        }
        Err(refusal) => api
            .refuse("claim", source, &asked.identity, refusal)
            .into_response(),
    }
}

async fn listening(
    State(api): Shared,
    Extension(Source(source)): Extension<Source>,
    headers: HeaderMap,
) -> Response {
    let (callback, holder) = match api.callback(source, &headers) {
        Ok(callback) => callback,
        Err(refusal) => return api.refuse("listening", source, "", refusal).into_response(),
    };
    let context = &api.context;
    if let Some(elapsed) = context.memory.listening(&callback.identity, clock::now()) {
        context
            .metrics
            .pod_to_session
            .observe(elapsed.as_secs_f64());
    }
    if let Some(template) = context.memory.template(&callback.identity) {
        context.backoffs.succeeded(&holder.owner.uid, &template);
    }
    let deleted = delete_secret(context, &callback.identity).await;
    context.wakes.wake(&holder.owner.pool);
    match deleted {
        Ok(()) => {
            context.memory.unsealed(&callback.identity);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => {
            tracing::warn!(identity = callback.identity, %error, "failed to delete a claimed identity's Secret");
            api.refuse(
                "listening",
                source,
                &callback.identity,
                ClaimRefusal::NotReady,
            )
            .into_response()
        }
    }
}

/// Deletes the Secret that is there, and no later one of that name.
async fn delete_secret(context: &Context, identity: &str) -> Result<(), kube::Error> {
    let api: Api<Secret> =
        Api::namespaced(context.kube.clone(), &context.args.identities_namespace);
    let Some(secret) = within(api.get_metadata_opt(identity)).await? else {
        return Ok(());
    };
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: secret.metadata.uid,
            resource_version: secret.metadata.resource_version,
        }),
        ..DeleteParams::default()
    };
    let deleted = within(api.delete(identity, &params)).await;
    context.metrics.kube_write("delete", "secrets", &deleted);
    match deleted {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

async fn accepted(
    State(api): Shared,
    Extension(Source(source)): Extension<Source>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let checked = api
        .callback(source, &headers)
        .and_then(|callback| Ok((callback, document::<Accepted>(&body)?)));
    let ((callback, holder), Accepted { request_id }) = match checked {
        Ok(checked) => checked,
        Err(refusal) => return api.refuse("accepted", source, "", refusal).into_response(),
    };
    let context = &api.context;
    let identity = callback.identity.as_str();
    let taken = context.memory.accepted(identity, request_id, clock::now());
    if taken.first {
        tracing::info!(identity, request = %request_id, "an agent took a job");
        if let Some(listened) = taken.listened {
            context
                .metrics
                .session_to_job
                .observe(listened.as_secs_f64());
        }
    }
    let patched = busy::patch(
        context,
        &holder.owner.pool.namespace,
        identity,
        &callback.pod_uid,
        Some(request_id),
    );
    let ((), disabled) = tokio::join!(patched, disable(context, identity, &holder));
    context.wakes.wake(&holder.owner.pool);
    if disabled {
        StatusCode::NO_CONTENT.into_response()
    } else {
        api.refuse("accepted", source, identity, ClaimRefusal::NotReady)
            .into_response()
    }
}

/// Whether no second job can be assigned any more. When the service cannot be asked the next rounds try again.
async fn disable(context: &Context, identity: &str, holder: &Holder) -> bool {
    if holder.disabled {
        return true;
    }
    let poll = context
        .pollers
        .known(&holder.owner.pool)
        .unwrap_or_default();
    let Some(snapshot) = poll.snapshot else {
        return false;
    };
    let listed = snapshot
        .agents
        .iter()
        .find(|agent| agent.name == identity && agent.owner == holder.owner.uid);
    let Some(agent) = holder.agent.or_else(|| listed.map(|agent| agent.id)) else {
        return false;
    };
    let connection = context.connections.get(&holder.owner.connection);
    let Some(link) = connection.any_link() else {
        return false;
    };
    if !connection.standing().is_accepted() {
        return false;
    }
    match busy::disable(context, &connection, &link, snapshot.pool, identity, agent).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(identity, %error, "failed to disable an agent that took a job; it is tried again");
            false
        }
    }
}

async fn finished(
    State(api): Shared,
    Extension(Source(source)): Extension<Source>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let checked = api
        .callback(source, &headers)
        .and_then(|callback| Ok((callback, document::<Finished>(&body)?)));
    let ((callback, holder), finished) = match checked {
        Ok(checked) => checked,
        Err(refusal) => return api.refuse("finished", source, "", refusal).into_response(),
    };
    let result = finished.result.map_or("none", |result| result.as_str());
    tracing::info!(identity = callback.identity, result, "an agent is done");
    api.context
        .memory
        .finished(&callback.identity, clock::now());
    api.context.wakes.wake(&holder.owner.pool);
    StatusCode::NO_CONTENT.into_response()
}

async fn terminated(
    State(api): Shared,
    Extension(Source(source)): Extension<Source>,
    headers: HeaderMap,
) -> Response {
    let (callback, holder) = match api.callback(source, &headers) {
        Ok(callback) => callback,
        Err(refusal) => {
            return api
                .refuse("termination", source, "", refusal)
                .into_response();
        }
    };
    let pods: Api<Pod> = Api::namespaced(api.context.kube.clone(), &holder.owner.pool.namespace);
    match within(pods.get_opt(&callback.identity)).await {
        Ok(Some(pod)) if pod.metadata.uid.as_deref() == Some(&callback.pod_uid) => {
            match termination(&pod) {
                Some(termination) => Json(termination).into_response(),
                None => Response::builder()
                    .status(StatusCode::NO_CONTENT)
                    .body(Body::empty())
                    .unwrap_or_default(),
            }
        }
        Ok(_) => api
            .refuse(
                "termination",
                source,
                &callback.identity,
                ClaimRefusal::Unknown,
            )
            .into_response(),
        Err(error) => {
            tracing::warn!(identity = callback.identity, %error, "failed to read a pod's status");
            api.refuse(
                "termination",
                source,
                &callback.identity,
                ClaimRefusal::NotReady,
            )
            .into_response()
        }
    }
}
