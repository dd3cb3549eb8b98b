//! Secret variables of pipelines.

use super::App;
use super::extract::{Authenticated, Document, OriginalSegments, Segments};
use super::reply::{Reply, done, list};
use axum::Router;
use axum::extract::State;
use axum::routing::{get, put};
use dayfly_wire::ids::DefinitionId;
use dayfly_wire::queue::SecretVariable;

pub(crate) fn routes() -> Router<App> {
    const VARIABLES: &str = "/{project}/_apis/dayfly/pipelines/{definition}/variables";
    Router::new()
        .route(VARIABLES, get(names))
        .route(&format!("{VARIABLES}/{{name}}"), put(set).delete(remove))
}

async fn names(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, pipeline)): Segments<(String, DefinitionId)>,
) -> Reply {
    Ok(list(
        app.secret_variable_names(&caller, &project, pipeline)
            .await?,
    ))
}

async fn set(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, pipeline, _)): Segments<(String, DefinitionId, String)>,
    OriginalSegments(segments): OriginalSegments,
    Document(variable): Document<SecretVariable>,
) -> Reply {
    let name = segments.last().cloned().unwrap_or_default();
    app.set_secret_variable(&caller, &project, pipeline, &name, &variable.value)
        .await?;
    Ok(done())
}

async fn remove(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, pipeline, name)): Segments<(String, DefinitionId, String)>,
) -> Reply {
    app.delete_secret_variable(&caller, &project, pipeline, &name)
        .await?;
    Ok(done())
}
