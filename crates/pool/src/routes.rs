//! Routes: extract, call an operation, respond. No rule lives here.

mod agents;
mod artifacts;
mod attachments;
mod builds;
mod conventions;
mod definitions;
mod discovery;
mod entra;
pub(crate) mod extract;
mod git;
mod jobs;
mod lfs;
mod logs;
mod messages;
mod oauth;
mod oidc;
mod overview;
mod pipelines;
mod plans;
mod pools;
pub(crate) mod reply;
mod requests;
mod table;
mod tasks;

use crate::service::Service;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use extract::remember_original_path;
use std::sync::Arc;
use tower::util::MapRequestLayer;
use tower::{Layer, ServiceExt};

/// What every route works on.
pub(crate) type App = Arc<Service>;

/// The largest document that is read.
const MAX_DOCUMENT: usize = 4 * 1024 * 1024;

/// The whole service as a tower service. Paths are folded to lower case before they are routed, because some
/// clients do that to the base URL.
pub(crate) fn service(
    app: App,
) -> impl tower::Service<
    axum::extract::Request,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    let router = router(&app.settings.public_url)
        .fallback(reply::nothing_here)
        .layer(DefaultBodyLimit::max(MAX_DOCUMENT))
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&app),
            conventions::keep,
        ))
        .with_state(app);
    MapRequestLayer::new(remember_original_path)
        .layer(router)
        .map_response(reply::with_length)
        .map_response(reply::taken_at_its_word)
}

/// Every route as `METHOD /path`, sorted; a path's parameters are in braces.
pub(crate) fn list(public_url: &str) -> Vec<String> {
    table::of(&router(public_url))
}

fn router(public_url: &str) -> Router<App> {
    Router::new()
        .nest(&collection_path(public_url), api())
        .merge(discovery::probes())
        .merge(entra::at_root())
        .merge(crate::web::entrance())
}

fn api() -> Router<App> {
    Router::new()
        .merge(discovery::routes())
        .merge(oauth::routes())
        .merge(oidc::routes())
        .merge(entra::routes())
        .merge(pools::routes())
        .merge(agents::routes())
        .merge(messages::routes())
        .merge(requests::routes())
        .merge(plans::routes())
        .merge(attachments::routes())
        .merge(artifacts::routes())
        .merge(tasks::routes())
        .merge(jobs::routes())
        .merge(builds::routes())
        .merge(definitions::routes())
        .merge(pipelines::routes())
        .merge(git::routes())
        .merge(lfs::routes())
        .merge(overview::routes())
        .merge(crate::web::routes())
}

/// The path of the collection, folded as all paths are.
fn collection_path(public_url: &str) -> String {
    public_url
        .parse::<http::Uri>()
        .map(|url| url.path().to_lowercase())
        .unwrap_or_default()
}
