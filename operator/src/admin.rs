//! Plain HTTP for the cluster: health, metrics, and the hook that makes pollers look at once.

use crate::context::Context;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dayfly_wire::secret::SecretText;
use std::sync::Arc;

/// The longest credential that is looked at, in base64.
const MAX_CREDENTIAL: usize = 4096;

/// The routes.
pub fn router(context: Arc<Context>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/hooks/wake", post(wake))
        .route("/hooks/wake/{connection}", post(wake))
        .with_state(context)
}

async fn readyz(State(context): State<Arc<Context>>) -> impl IntoResponse {
    if context.is_ready() {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the lease or the lists of the API server were not read yet\n",
        )
    }
}

async fn metrics(State(context): State<Arc<Context>>) -> impl IntoResponse {
    context.metrics.leader.set(context.leads().into());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], context.metrics.text())
}

/// Says only that something may have changed: the pollers look for themselves, and wakes that come too fast are one.
/// Wakes every connection that the secret belongs to, or the one that is named; who has none learns nothing.
async fn wake(
    State(context): State<Arc<Context>>,
    only: Option<Path<String>>,
    headers: HeaderMap,
) -> Response {
    let mut woken = presented(&headers)
        .map(|secret| context.connections.woken_by(&secret))
        .unwrap_or_default();
    if let Some(Path(name)) = only {
        woken.retain(|connection| *connection == name);
    }
    if woken.is_empty() {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"dayfly\"")];
        let advice =
            "send the secret of spec.webhook of the PoolConnection as the password of HTTP Basic\n";
        return (StatusCode::UNAUTHORIZED, challenge, advice).into_response();
    }
    for connection in woken {
        context.pollers.wake_connection(&connection);
    }
    context.metrics.wakes.inc();
    StatusCode::ACCEPTED.into_response()
}

/// The password of HTTP Basic: what service hooks of Azure DevOps can send.
fn presented(headers: &HeaderMap) -> Option<SecretText> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > MAX_CREDENTIAL {
        return None;
    }
    let decoded = SecretText::new(String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?);
    let (_, password) = decoded.expose().split_once(':')?;
    Some(SecretText::new(password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        headers
    }

    #[test]
    fn the_password_is_taken_whatever_the_user() {
        for user in ["", "anybody"] {
            let value = format!("Basic {}", STANDARD.encode(format!("{user}:pa:ss")));
            let secret = presented(&headers(&value)).unwrap();
            assert_eq!(secret.expose(), "pa:ss");
        }
        for value in ["Bearer abc", "Basic !!", "Basic", "Basic YQ=="] {
            assert!(presented(&headers(value)).is_none(), "{value}");
        }
        assert!(presented(&HeaderMap::new()).is_none());
    }
}
