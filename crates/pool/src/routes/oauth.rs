//! The token endpoint.

use super::App;
use super::extract::{form, hold_back, prove};
use super::reply::{Problem, Reply, document, with_status};
use crate::ops::tokens::TokenForm;
use axum::Router;
use axum::extract::{Request, State};
use axum::routing::post;
use http::StatusCode;

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/_apis/oauth2/token", post(token))
}

/// Refusals are 400 with a document: with anything else the official client loses the reason.
async fn token(State(app): State<App>, request: Request) -> Reply {
    let (parts, asked) = form::<TokenForm>(request, &app).await;
    let Some(asked) = asked else {
        let refusal = crate::rules::token::not_a_grant("a form with a client assertion is needed");
        return Ok(with_status(StatusCode::BAD_REQUEST, &refusal));
    };
    match app.issue_token(&asked).await.map_err(Problem::from)? {
        Ok(answer) => {
            prove(&parts);
            Ok(document(&answer))
        }
        Err(refusal) => {
            hold_back(&parts, &app).await;
            Ok(with_status(StatusCode::BAD_REQUEST, &refusal))
        }
    }
}
