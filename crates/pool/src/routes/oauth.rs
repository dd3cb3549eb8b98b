//! The token endpoint.

use super::App;
use super::reply::{Problem, Reply, document, with_status};
use crate::ops::tokens::TokenForm;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::routing::post;
use http::StatusCode;

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/_apis/oauth2/token", post(token))
}

/// Refusals are 400 with a document: with anything else the official client loses the reason.
async fn token(State(app): State<App>, form: Result<Form<TokenForm>, FormRejection>) -> Reply {
    let Ok(Form(form)) = form else {
        let refusal = crate::rules::token::not_a_grant("a form with a client assertion is needed");
        return Ok(with_status(StatusCode::BAD_REQUEST, &refusal));
    };
    match app.issue_token(&form).await.map_err(Problem::from)? {
        Ok(answer) => Ok(document(&answer)),
        Err(refusal) => Ok(with_status(StatusCode::BAD_REQUEST, &refusal)),
    }
}
