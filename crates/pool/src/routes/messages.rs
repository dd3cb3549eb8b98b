//! Sessions and messages.

use super::App;
use super::extract::{Authenticated, Document, Parameters, Segments};
use super::reply::{Problem, Reply, document, done, nothing_yet};
use crate::rules::refusal::Refusal;
use axum::Router;
use axum::extract::State;
use axum::routing::{delete, get, post};
use dayfly_wire::ids::{MessageId, PoolId, SessionId};
use dayfly_wire::session::Session;

pub(crate) fn routes() -> Router<App> {
    const POOL: &str = "/_apis/distributedtask/pools/{pool}";
    Router::new()
        .route(&format!("{POOL}/sessions"), post(open))
        .route(&format!("{POOL}/sessions/{{session}}"), delete(close))
        .route(&format!("{POOL}/messages"), get(next))
        .route(&format!("{POOL}/messages/{{message}}"), delete(acknowledge))
}

async fn open(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(pool): Segments<PoolId>,
    Document(session): Document<Session>,
) -> Reply {
    Ok(document(&app.open_session(&caller, pool, session).await?))
}

async fn close(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((pool, session)): Segments<(PoolId, SessionId)>,
) -> Reply {
    app.close_session(&caller, pool, session).await?;
    Ok(done())
}

async fn next(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(pool): Segments<PoolId>,
    parameters: Parameters,
) -> Reply {
    let session = session(&parameters)?;
    let last = parameters.parse("lastmessageid")?.unwrap_or_default();
    let message = app
        .next_message(&caller, pool, session, MessageId(last))
        .await?;
    Ok(message.map_or_else(nothing_yet, |message| document(&message)))
}

async fn acknowledge(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((pool, message)): Segments<(PoolId, MessageId)>,
    parameters: Parameters,
) -> Reply {
    let session = session(&parameters)?;
    app.acknowledge(&caller, pool, session, message).await?;
    Ok(done())
}

fn session(parameters: &Parameters) -> Result<SessionId, Problem> {
    parameters
        .parse("sessionid")?
        .ok_or_else(|| Refusal::invalid("sessionId: needed").into())
}
