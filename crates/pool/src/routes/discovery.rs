//! Discovery, health and metrics.

use super::App;
use super::extract::{MaybeAuthenticated, Parameters, Segments};
use super::reply::{Problem, Reply, document, list};
use crate::metrics::MEDIA_TYPE;
use crate::rules::discovery::{connection_data, resource_locations};
use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{get, options};
use http::StatusCode;
use http::header::CONTENT_TYPE;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/_apis/connectiondata", get(connection))
        .route("/_apis/resourceareas", get(resource_areas))
        .route(
            "/_apis/resourceareas/{area}",
            get(super::reply::nothing_here),
        )
        .route("/_apis", options(all_locations))
        .route("/_apis/{area}", options(locations))
}

/// What Kubernetes and Prometheus ask.
pub(crate) fn probes() -> Router<App> {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

async fn connection(
    State(app): State<App>,
    _: MaybeAuthenticated,
    parameters: Parameters,
) -> Reply {
    let with_services = parameters.text("connectoptions").is_some_and(|options| {
        options == "1" || options.to_lowercase().contains("includeservices")
    });
    Ok(document(&connection_data(app.keys.instance, with_services)))
}

/// Empty, as on premises: clients then use the URL that they were given.
async fn resource_areas(_: MaybeAuthenticated) -> Reply {
    Ok(list(Vec::<serde_json::Value>::new()))
}

async fn all_locations() -> Reply {
    Ok(list(resource_locations(None)))
}

async fn locations(Segments(area): Segments<String>) -> Reply {
    Ok(list(resource_locations(Some(&area))))
}

async fn ready(State(app): State<App>) -> impl IntoResponse {
    if app.store.is_ready().await && !app.shutdown.is_cancelled() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn metrics(State(app): State<App>) -> Result<impl IntoResponse, Problem> {
    let gauges = app.gauges().await?;
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], app.metrics.render(&gauges)))
}
