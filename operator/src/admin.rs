//! Plain HTTP for the cluster: health, metrics, and the hook that makes pollers look at once.

use crate::context::Context;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use std::sync::Arc;

/// The routes.
pub fn router(context: Arc<Context>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/hooks/wake/{connection}", post(wake))
        .with_state(context)
}

async fn readyz(State(context): State<Arc<Context>>) -> impl IntoResponse {
    if context.is_ready() {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the lists of the API server were not read yet\n",
        )
    }
}

async fn metrics(State(context): State<Arc<Context>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], context.metrics.text())
}

/// Says only that something may have changed, so it carries and needs no secret: the pollers look for themselves,
/// and wakes that come too fast are one.
async fn wake(State(context): State<Arc<Context>>, Path(connection): Path<String>) -> StatusCode {
    match context.pollers.wake_connection(&connection) {
        0 => StatusCode::NOT_FOUND,
        _ => StatusCode::ACCEPTED,
    }
}
