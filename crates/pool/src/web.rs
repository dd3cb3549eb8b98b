//! The web page: its files, and signing in. What it shows comes from the same calls that every client makes.

mod files;
mod session;

use crate::routes::App;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;

/// Where the page lies in the collection. No project can have such a name.
const PAGE: &str = "_web";

/// The page, under the collection.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(enter))
        .route(&format!("/{PAGE}"), get(files::page))
        .route(&format!("/{PAGE}/{{*view}}"), get(files::page))
        .route(&format!("/{PAGE}/files/{{name}}"), get(files::file))
        .route(
            &format!("/{PAGE}/session"),
            get(session::show)
                .post(session::sign_in)
                .delete(session::sign_out),
        )
}

/// The way to it for those who know the host only.
pub(crate) fn entrance() -> Router<App> {
    Router::new().route("/", get(enter))
}

async fn enter(State(app): State<App>) -> impl IntoResponse {
    Redirect::to(&base(&app))
}

/// The page's own path, as the public URL writes it: the cookie is bound to that.
fn base(app: &App) -> String {
    format!("{}/{PAGE}/", collection(app))
}

/// The path of the collection, as the public URL writes it.
fn collection(app: &App) -> String {
    let url = app.settings.public_url.parse::<http::Uri>();
    url.map(|url| url.path().to_owned()).unwrap_or_default()
}
