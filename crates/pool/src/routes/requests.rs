//! Job requests.

use super::App;
use super::extract::{Authenticated, Parameters, Segments};
use super::reply::{Problem, Reply, document, done, list};
use crate::ops::requests::Selection;
use crate::rules::refusal::Refusal;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{AgentId, PoolId, RequestId};

pub(crate) fn routes() -> Router<App> {
    const REQUESTS: &str = "/_apis/distributedtask/pools/{pool}/jobrequests";
    Router::new().route(REQUESTS, get(all)).route(
        &format!("{REQUESTS}/{{request}}"),
        get(one).patch(renew).delete(finish),
    )
}

/// Finished requests in an answer that did not say how many it wants.
const FINISHED: i64 = 25;

fn selection(parameters: &Parameters) -> Result<Selection, Problem> {
    let finished = parameters.parse("completedrequestcount")?;
    if let Some(agent) = parameters.parse("agentid")? {
        return Ok(Selection::OfAgent {
            agent: AgentId(agent),
            and_finished: finished.unwrap_or(FINISHED),
        });
    }
    if let Some(most) = parameters.parse("$top")? {
        return Ok(Selection::Top(most));
    }
    Ok(Selection::Unfinished {
        and_finished: finished.unwrap_or(FINISHED),
    })
}

async fn all(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(pool): Segments<PoolId>,
    parameters: Parameters,
) -> Reply {
    let selection = selection(&parameters)?;
    Ok(list(app.requests(&caller, pool, selection).await?))
}

async fn one(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((pool, request)): Segments<(PoolId, RequestId)>,
) -> Reply {
    Ok(document(&app.request(&caller, pool, request).await?))
}

/// The body says only what the path says.
async fn renew(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((pool, request)): Segments<(PoolId, RequestId)>,
) -> Reply {
    Ok(document(&app.renew_request(&caller, pool, request).await?))
}

async fn finish(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((pool, request)): Segments<(PoolId, RequestId)>,
    parameters: Parameters,
) -> Reply {
    let result = match parameters.text("result") {
        None => TaskResult::Canceled,
        Some(text) => match text
            .parse()
            .map_or_else(|_| TaskResult::from_text(text), TaskResult::from_number)
        {
            TaskResult::Other => {
                return Err(Refusal::invalid(format!("result: {text:?} is no result")).into());
            }
            known => known,
        },
    };
    let message = parameters.text("statusmessage").map(str::to_owned);
    app.finish_request(&caller, pool, request, result, message)
        .await?;
    Ok(done())
}
