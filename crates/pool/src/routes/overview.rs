//! Pools, queue and runs as the web page shows them, and what a caller's credential is.

use super::App;
use super::extract::{Authenticated, Parameters, Segments};
use super::reply::{Reply, document, list};
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use dayfly_wire::ids::BuildId;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Runs in an answer that did not say how many it wants.
const RUNS: i64 = 50;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/_apis/dayfly/credential", get(credential))
        .route("/_apis/dayfly/pools", get(pools))
        .route("/_apis/dayfly/queue", get(queue))
        .route("/_apis/dayfly/runs", get(runs))
        .route("/_apis/dayfly/runs/{build}", get(run))
}

/// What the caller has: its scopes and its end.
async fn credential(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    headers: HeaderMap,
) -> Reply {
    let header = headers
        .get(AUTHORIZATION)
        .and_then(|header| header.to_str().ok());
    let credential = header.and_then(crate::auth::parse);
    let standing = app
        .credential_standing(&caller, credential.as_ref())
        .await?;
    Ok(document(&standing))
}

async fn pools(State(app): State<App>, Authenticated(caller): Authenticated) -> Reply {
    Ok(list(app.pool_overviews(&caller).await?))
}

async fn queue(State(app): State<App>, Authenticated(caller): Authenticated) -> Reply {
    Ok(list(app.queue_overview(&caller).await?))
}

async fn runs(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    parameters: Parameters,
) -> Reply {
    let before = parameters.parse("before")?.map(BuildId);
    let most = parameters.parse("$top")?.unwrap_or(RUNS);
    Ok(list(app.run_overviews(&caller, before, most).await?))
}

async fn run(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(build): Segments<BuildId>,
) -> Reply {
    Ok(document(&app.run_overview(&caller, build).await?))
}
