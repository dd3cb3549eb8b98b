//! Identity tokens of jobs, and what their verifiers read.

use super::App;
use super::extract::{Authenticated, OptionalDocument, Parameters, Segments};
use super::reply::{Reply, document};
use crate::ops::plans::PlanPath;
use crate::rules::oidc;
use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use dayfly_wire::ids::{JobId, PlanId};
use dayfly_wire::token::OidcToken;
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use std::collections::BTreeMap;

/// Verifiers look again for a key that they do not know; this bounds how long they believe in one that was removed.
const FOR_A_WHILE: HeaderValue = HeaderValue::from_static("public, max-age=3600");
const NOT_AT_ALL: HeaderValue = HeaderValue::from_static("no-store");

pub(crate) fn routes() -> Router<App> {
    const JOB: &str = "/{project}/_apis/distributedtask/hubs/{hub}/plans/{plan}/jobs/{job}";
    Router::new()
        .route(&format!("{JOB}/oidctoken"), post(id_token))
        .route(oidc::DISCOVERY, get(discovery))
        .route(oidc::KEY_SET, get(key_set))
}

async fn id_token(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, hub, plan, job)): Segments<(String, String, PlanId, JobId)>,
    parameters: Parameters,
    OptionalDocument(asked): OptionalDocument<BTreeMap<String, String>>,
) -> Reply {
    let connection = parameters.parse("serviceconnectionid")?;
    let path = PlanPath { project, hub, plan };
    let token = app
        .id_token(&caller, &path, job, connection, &asked)
        .await?;
    let mut answer = document(&OidcToken { oidc_token: token });
    answer.headers_mut().insert(CACHE_CONTROL, NOT_AT_ALL);
    Ok(answer)
}

async fn discovery(State(app): State<App>) -> Reply {
    let mut answer = document(&oidc::discovery(&app.settings.public_url));
    answer.headers_mut().insert(CACHE_CONTROL, FOR_A_WHILE);
    Ok(answer)
}

async fn key_set(State(app): State<App>) -> Reply {
    let mut answer = document(&app.id_token_key_set().await?);
    answer.headers_mut().insert(CACHE_CONTROL, FOR_A_WHILE);
    Ok(answer)
}
