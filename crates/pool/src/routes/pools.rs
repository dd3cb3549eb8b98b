//! Pools.

use super::App;
use super::extract::{Authenticated, Document, Parameters, Segments};
use super::reply::{Problem, Reply, document, done, list};
use crate::rules::role::Role;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use dayfly_wire::ids::PoolId;
use dayfly_wire::pool::PoolChange;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/_apis/distributedtask/pools", get(all).post(create))
        .route(
            "/_apis/distributedtask/pools/{pool}",
            get(one).patch(change).put(change).delete(remove),
        )
}

/// The role that the caller wants to have in what is listed.
pub(super) fn role(parameters: &Parameters) -> Result<Role, Problem> {
    Ok(Role::for_action(
        parameters.text("actionfilter").unwrap_or_default(),
    )?)
}

async fn all(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    parameters: Parameters,
) -> Reply {
    if let Some(id) = parameters.parse("poolid")? {
        return Ok(document(&app.pool(&caller, PoolId(id)).await?));
    }
    let name = parameters.text("poolname");
    let mut pools = app.pools(&caller, name, role(&parameters)?).await?;
    if parameters.text("poolids").is_some() {
        let wanted: Vec<PoolId> = parameters.list("poolids")?;
        pools.retain(|pool| wanted.contains(&pool.id));
    }
    if let Some(kind) = parameters.text("pooltype") {
        pools.retain(|pool| pool.pool_type.eq_ignore_ascii_case(kind));
    }
    Ok(list(pools))
}

async fn one(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(pool): Segments<PoolId>,
) -> Reply {
    Ok(document(&app.pool(&caller, pool).await?))
}

async fn create(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Document(draft): Document<PoolChange>,
) -> Reply {
    Ok(document(&app.create_pool_with(&caller, draft).await?))
}

async fn change(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(pool): Segments<PoolId>,
    Document(draft): Document<PoolChange>,
) -> Reply {
    Ok(document(&app.change_pool(&caller, pool, draft).await?))
}

async fn remove(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments(pool): Segments<PoolId>,
) -> Reply {
    app.delete_pool(&caller, pool).await?;
    Ok(done())
}
