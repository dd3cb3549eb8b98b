//! Pools.

use super::App;
use super::extract::{Authenticated, Document, Parameters, Segments};
use super::reply::{Reply, document, list};
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use dayfly_wire::ids::PoolId;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/_apis/distributedtask/pools", get(all).post(create))
        .route("/_apis/distributedtask/pools/{pool}", get(one))
}

async fn all(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    parameters: Parameters,
) -> Reply {
    if let Some(id) = parameters.parse("poolid")? {
        return Ok(document(&app.pool(&caller, PoolId(id)).await?));
    }
    let mut pools = app.pools(&caller, parameters.text("poolname")).await?;
    if let Some(ids) = parameters.text("poolids") {
        let wanted: Vec<i64> = ids
            .split(',')
            .filter_map(|id| id.trim().parse().ok())
            .collect();
        pools.retain(|pool| wanted.contains(&pool.id.0));
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

#[derive(serde::Deserialize)]
struct NewPool {
    name: String,
}

async fn create(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Document(new): Document<NewPool>,
) -> Reply {
    Ok(document(&app.create_pool(&caller, &new.name).await?))
}
