//! The token endpoint of service principals, in the shape of Entra ID's.

use super::App;
use super::extract::{Segments, form, hold_back, prove};
use super::reply::{Problem, Reply, document, with_status};
use crate::rules::principal::{self, GrantForm};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use dayfly_wire::token::TokenRefusal;
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

const ENDPOINT: &str = "/oauth2/v2.0/token";

/// Below the collection: for clients whose authority is the collection's URL, and for those that add a tenant to it.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route(ENDPOINT, post(token_of_collection))
        .route(&format!("/{{tenant}}{ENDPOINT}"), post(token))
}

/// At the root: for clients whose authority is the host alone.
pub(crate) fn at_root() -> Router<App> {
    Router::new().route(&format!("/{{tenant}}{ENDPOINT}"), post(token))
}

async fn token(
    State(app): State<App>,
    Segments(tenant): Segments<String>,
    request: Request,
) -> Reply {
    answer(app, &tenant, request).await
}

async fn token_of_collection(State(app): State<App>, request: Request) -> Reply {
    let tenant = app.keys.instance.to_string();
    answer(app, &tenant, request).await
}

async fn answer(app: App, tenant: &str, request: Request) -> Reply {
    let (parts, asked) = form::<GrantForm>(request, &app).await;
    let Some(asked) = asked else {
        let refusal = principal::refusal("invalid_request", "A form is needed.");
        return Ok(refused(&refusal));
    };
    match app.grant(tenant, &asked).await.map_err(Problem::from)? {
        Ok(answer) => {
            prove(&parts);
            let mut answer = document(&answer);
            let headers = answer.headers_mut();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(answer)
        }
        Err(refusal) => {
            if refusal.error == "invalid_client" {
                hold_back(&parts, &app).await;
            }
            Ok(refused(&refusal))
        }
    }
}

fn refused(refusal: &TokenRefusal) -> Response {
    let status = StatusCode::from_u16(principal::status(refusal));
    let mut response = with_status(status.unwrap_or(StatusCode::BAD_REQUEST), refusal);
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("10"));
    }
    response
}
