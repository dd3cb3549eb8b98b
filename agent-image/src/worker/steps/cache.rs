//! The task that restores files of earlier runs at its turn and saves them after the steps.

use crate::worker::artifacts::{failed, within};
use crate::worker::cache::{self, Hit, Restored, key, place};
use crate::worker::step::{Running, StepError};
use crate::worker::tasks::definition::Stage;
use dayfly_wire::event::TaskResult;

const SALT: &str = "AZP_CACHING_SALT";

/// Runs a part of the step.
pub(crate) async fn run(step: &mut Running<'_>) -> Result<TaskResult, StepError> {
    match step.planned.stage {
        Stage::Pre => {}
        Stage::Main => restore(step).await?,
        Stage::Post => save(step).await?,
    }
    Ok(TaskResult::Succeeded)
}

async fn restore(step: &mut Running<'_>) -> Result<(), StepError> {
    let required = |name: &str| {
        let text = step.input(name).0;
        text.ok_or_else(|| failed(format!("Input required: {name}")))
    };
    let (key, path) = (required("key")?, required("path")?);
    let restore_keys = step.input("restoreKeys").0.unwrap_or_default();
    let value = |name: &str| {
        step.job
            .variables
            .value(name)
            .map(str::trim)
            .unwrap_or_default()
    };
    let root = value("system.defaultworkingdirectory");
    let salt = Some(value(SALT)).filter(|salt| !salt.is_empty());
    let keys = key::read(&key, &restore_keys, root, salt).map_err(failed)?;
    let roots = roots(&path, root)?;
    if keys.old_form {
        step.record
            .warning("The key has a segment on each line; write it as one line with '|'.");
    }
    let (volume, scopes) = match place(step.job) {
        Ok(place) => place,
        Err(why) => {
            step.record.write(&why);
            return tell(step, Hit::Miss);
        }
    };
    step.record.write("Resolving key:");
    let key = within(step, cache::resolve(step, &keys.key)).await?;
    let mut restored = Restored {
        key,
        exact: false,
        roots,
    };
    let lookup = cache::restore(step, &volume, &scopes, &keys, &restored);
    let looked = within(step, lookup).await?;
    if let Some(warning) = &looked.warning {
        step.record.warning(warning);
    }
    restored.exact = looked.hit == Hit::Exact;
    step.job.caches.insert(step.planned.step.id, restored);
    tell(step, looked.hit)
}

/// The folders that a step names, with bars between them.
fn roots(path: &str, root: &str) -> Result<Vec<String>, StepError> {
    let paths = path
        .split('|')
        .map(str::trim)
        .filter(|path| !path.is_empty());
    let roots: Vec<String> = paths
        .map(|path| {
            if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("{}/{path}", root.trim_end_matches('/'))
            }
        })
        .collect();
    match roots.iter().find(|path| path.contains(['*', '?'])) {
        Some(path) => Err(failed(format!(
            "The path {path} is a pattern; a cache takes folders by their names."
        ))),
        None if roots.is_empty() => Err(failed("Input required: path")),
        None => Ok(roots),
    }
}

/// Sets the variable that says whether something was found.
fn tell(step: &mut Running<'_>, hit: Hit) -> Result<(), StepError> {
    let Some(name) = step.input("cacheHitVar").0 else {
        return Ok(());
    };
    let set = step.job.variables.set(&name, hit.as_str(), false, false);
    set.map_err(|_| {
        failed(format!(
            "Overwriting readonly variable '{name}' is not permitted."
        ))
    })
}

async fn save(step: &mut Running<'_>) -> Result<(), StepError> {
    let restored = step.job.caches.get(&step.planned.step.id).cloned();
    let reason = match (step.job.result, &restored) {
        (Some(result), _) if result != TaskResult::Succeeded => {
            "Skipping because the job status was not 'Succeeded'."
        }
        (_, None) => "Skipping because restore step did not run.",
        (_, Some(restored)) if restored.exact => {
            "Nothing to save: the entry of this key was restored."
        }
        _ => "",
    };
    let Some(restored) = restored.filter(|_| reason.is_empty()) else {
        step.record.write(reason);
        return Ok(());
    };
    let (volume, scopes) = place(step.job).map_err(failed)?;
    let saved = within(step, cache::save(step, &volume, &scopes, &restored)).await?;
    if let Some(warning) = saved {
        step.record.warning(&warning);
    }
    Ok(())
}
