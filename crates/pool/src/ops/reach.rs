//! How far the tokens of a pipeline's jobs reach. It is set beside the running service, on its database, so that
//! whoever may queue jobs cannot widen it.

use crate::rules::queueing::check_url_name;
use crate::rules::reach::{Change, Reach};
use crate::rules::refusal::{Kind, Refusal};
use crate::service::Failure;
use crate::store::{Store, definitions, projects, reach};
use jiff::Timestamp;

/// Changes what is named, and answers what holds then. A pipeline that does not exist yet is made.
pub async fn change(
    store: &Store,
    project: &str,
    pipeline: &str,
    change: Change,
    now: Timestamp,
) -> Result<Reach, Failure> {
    check_url_name("project", project)?;
    let mut unit = store.write().await?;
    let found = projects::find(&mut unit, project).await?;
    let project = found
        .ok_or_else(|| Refusal::new(Kind::NotFound, format!("there is no project {project:?}")))?;
    let definition = definitions::named(&mut unit, &project, pipeline, now).await?;
    let before = reach::of(&mut unit, definition).await?;
    let holds = before.changed(change);
    reach::set(&mut unit, definition, holds).await?;
    unit.commit().await?;
    Ok(holds)
}
