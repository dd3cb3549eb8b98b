//! Agents and their capabilities.

use super::App;
use super::extract::{Authenticated, Document, Parameters, Segments};
use super::reply::{Problem, Reply, document, done, list};
use crate::ops::agents::Wanted;
use axum::Router;
use axum::extract::State;
use axum::routing::{get, put};
use dayfly_wire::agent::{Agent, Capabilities};
use dayfly_wire::ids::{AgentId, PoolId};

pub(crate) fn routes() -> Router<App> {
    const AGENTS: &str = "/_apis/distributedtask/pools/{pool}/agents";
    Router::new()
        .route(AGENTS, get(all).post(register))
        .route(
            &format!("{AGENTS}/{{agent}}"),
            get(one).put(replace).patch(change).delete(remove),
        )
        .route(
            &format!("{AGENTS}/{{agent}}/usercapabilities"),
            put(set_user_capabilities),
        )
}

fn wanted(parameters: &Parameters) -> Result<Wanted, Problem> {
    let properties = parameters.list("propertyfilters")?;
    Ok(Wanted {
        demands: parameters.list("demands")?,
        properties: parameters.text("propertyfilters").map(|_| properties),
        capabilities: parameters.flag("includecapabilities"),
        assigned_request: parameters.flag("includeassignedrequest"),
        last_completed_request: parameters.flag("includelastcompletedrequest"),
    })
}

async fn all(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(pool): Segments<PoolId>,
    parameters: Parameters,
) -> Reply {
    let name = parameters.text("agentname");
    let wanted = wanted(&parameters)?;
    let agents = app.agents(&caller, pool, name, wanted).await?;
    Ok(list(agents))
}

async fn one(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((pool, agent)): Segments<(PoolId, AgentId)>,
    parameters: Parameters,
) -> Reply {
    let wanted = wanted(&parameters)?;
    let agent = app.agent(&caller, pool, agent, wanted).await?;
    Ok(document(&agent))
}

async fn register(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(pool): Segments<PoolId>,
    Document(draft): Document<Agent>,
) -> Reply {
    Ok(document(&app.register_agent(&caller, pool, draft).await?))
}

async fn replace(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((pool, agent)): Segments<(PoolId, AgentId)>,
    Document(draft): Document<Agent>,
) -> Reply {
    let replaced = app.replace_agent(&caller, pool, agent, draft).await?;
    Ok(document(&replaced))
}

async fn change(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((pool, agent)): Segments<(PoolId, AgentId)>,
    Document(draft): Document<Agent>,
) -> Reply {
    let changed = app.change_agent(&caller, pool, agent, draft).await?;
    Ok(document(&changed))
}

async fn set_user_capabilities(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((pool, agent)): Segments<(PoolId, AgentId)>,
    Document(capabilities): Document<Capabilities>,
) -> Reply {
    let changed = app
        .set_user_capabilities(&caller, pool, agent, capabilities)
        .await?;
    Ok(document(&changed))
}

async fn remove(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((pool, agent)): Segments<(PoolId, AgentId)>,
) -> Reply {
    app.delete_agent(&caller, pool, agent).await?;
    Ok(done())
}
