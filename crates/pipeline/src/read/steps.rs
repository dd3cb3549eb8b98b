//! `steps`.

use super::jobs::condition;
use crate::expression::Place;
use crate::fields::{Fields, Spot, items};
use crate::file::{Action, DOWNLOAD, PUBLISH, Shell, Step};
use crate::problem::Problem;
use std::collections::BTreeMap;

const MAX_STEPS: usize = 500;
const MAX_RETRIES: i64 = 10;
const MAX_SETTABLE: usize = 200;
const MAX_MINUTES: i64 = 7 * 24 * 60;
/// The keys that say what a step does.
const ACTIONS: [&str; 7] = [
    "checkout", "script", "bash", "pwsh", "task", "download", "publish",
];

pub(super) fn steps(fields: &mut Fields) -> Result<Vec<Step>, Problem> {
    let (node, key) = fields
        .node("steps")
        .ok_or_else(|| fields.problem("`steps` is missing"))?;
    let at = node.at;
    let entries = items(node, &key)?;
    if entries.is_empty() || entries.len() > MAX_STEPS {
        return Err(Problem::new(
            at,
            &key,
            format!("1 to {MAX_STEPS} steps are needed here"),
        ));
    }
    let mut steps: Vec<Step> = Vec::new();
    for (node, key) in entries {
        let step = step(Fields::of(node, &key)?, &steps)?;
        steps.push(step);
    }
    Ok(steps)
}

fn step(mut fields: Fields, before: &[Step]) -> Result<Step, Problem> {
    let mark = fields.mark();
    let (action, takes_directory) = action(&mut fields)?;
    let written = fields.text("condition")?;
    condition(written.as_ref(), Place::Step)?;
    let working_directory = if takes_directory {
        fields.label("workingDirectory")?.map(|spot| spot.text)
    } else {
        None
    };
    let (restricted, settable_variables) = target(&mut fields)?;
    let step = Step {
        action,
        mark,
        name: name(&mut fields, before)?,
        display_name: fields.label("displayName")?.map(|spot| spot.text),
        condition: written
            .map(|spot| spot.text)
            .filter(|text| !text.trim().is_empty()),
        continue_on_error: fields.yes_or_no("continueOnError")?.unwrap_or(false),
        enabled: fields.yes_or_no("enabled")?.unwrap_or(true),
        timeout_in_minutes: fields.number("timeoutInMinutes", MAX_MINUTES)?.unwrap_or(0),
        retry_count_on_task_failure: fields
            .number("retryCountOnTaskFailure", MAX_RETRIES)?
            .unwrap_or(0),
        working_directory,
        env: texts(fields.map("env")?),
        restricted,
        settable_variables,
    };
    fields.finish()?;
    Ok(step)
}

fn action(fields: &mut Fields) -> Result<(Action, bool), Problem> {
    let found: Vec<_> = ACTIONS
        .into_iter()
        .filter(|name| fields.has(name))
        .collect();
    let list = ACTIONS.join(", ");
    let [name] = found[..] else {
        return Err(fields.problem(format!("a step needs exactly one of {list}")));
    };
    let missing = || format!("a step needs exactly one of {list}");
    let value = fields
        .text(name)?
        .ok_or_else(|| fields.problem(missing()))?;
    let shell = |shell| {
        let script = value.text.clone();
        (Action::Script { shell, script }, true)
    };
    Ok(match name {
        "checkout" => (checkout(fields, &value)?, false),
        "script" => shell(Shell::Default),
        "bash" => shell(Shell::Bash),
        "pwsh" => shell(Shell::PowerShell),
        "download" => (download(fields, &value)?, false),
        "publish" => (publish(fields, &value)?, false),
        _ => (task(fields, &value)?, false),
    })
}

fn checkout(fields: &mut Fields, value: &Spot) -> Result<Action, Problem> {
    if value.text.trim().is_empty() {
        return Err(value.problem("`self`, `none` or the name of a repository is needed here"));
    }
    let inputs = texts_of(
        fields,
        &[
            "clean",
            "fetchDepth",
            "fetchTags",
            "lfs",
            "path",
            "persistCredentials",
            "submodules",
        ],
    )?;
    Ok(Action::Checkout {
        repository: (value.text != "none").then(|| value.text.clone()),
        inputs,
    })
}

fn task(fields: &mut Fields, value: &Spot) -> Result<Action, Problem> {
    let (name, major) = value
        .text
        .rsplit_once('@')
        .filter(|(name, _)| !name.is_empty())
        .and_then(|(name, major)| Some((name, major.parse::<u32>().ok()?)))
        .ok_or_else(|| value.problem("a task is written NAME@MAJOR, for example Gradle@3"))?;
    Ok(Action::Task {
        name: name.to_owned(),
        major,
        inputs: texts(fields.map("inputs")?),
    })
}

fn download(fields: &mut Fields, value: &Spot) -> Result<Action, Problem> {
    if value.text == "none" {
        return Err(value.problem("`none` is not taken: nothing is downloaded by itself"));
    }
    if value.text != "current" {
        return Err(value.problem("`current` is needed here: artifacts of this run only"));
    }
    let mut inputs = texts_of(fields, &["artifact", "patterns", "path"])?;
    inputs.insert("source".to_owned(), value.text.clone());
    if let Some(artifact) = inputs.get("artifact").cloned() {
        // The task alone puts the files of a single artifact right into the workspace; this step does not.
        let path = || format!("$(Pipeline.Workspace)/{artifact}");
        inputs.entry("path".to_owned()).or_insert_with(path);
    }
    Ok(named(DOWNLOAD, inputs))
}

fn publish(fields: &mut Fields, value: &Spot) -> Result<Action, Problem> {
    if value.text.trim().is_empty() {
        return Err(value.problem("the path of a file or directory is needed here"));
    }
    let mut inputs: BTreeMap<String, String> = [("path".to_owned(), value.text.clone())].into();
    if let Some(spot) = fields.label("artifact")? {
        inputs.insert("artifactName".to_owned(), spot.text);
    }
    Ok(named(PUBLISH, inputs))
}

fn named((name, major): (&str, u32), inputs: BTreeMap<String, String>) -> Action {
    Action::Task {
        name: name.to_owned(),
        major,
        inputs,
    }
}

fn texts_of(
    fields: &mut Fields,
    names: &[&'static str],
) -> Result<BTreeMap<String, String>, Problem> {
    let mut inputs = BTreeMap::new();
    for name in names {
        if let Some(spot) = fields.text(name)?.filter(|spot| !spot.text.is_empty()) {
            inputs.insert((*name).to_owned(), spot.text);
        }
    }
    Ok(inputs)
}

fn name(fields: &mut Fields, before: &[Step]) -> Result<Option<String>, Problem> {
    let Some(spot) = fields.text("name")? else {
        return Ok(None);
    };
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if spot.text.is_empty() || spot.text.len() > 100 || !spot.text.chars().all(good) {
        return Err(spot.problem(format!(
            "{:?} is no name of a step; use letters, digits and '_'",
            spot.text
        )));
    }
    let is_taken = |step: &Step| {
        step.name
            .as_ref()
            .is_some_and(|name| name.eq_ignore_ascii_case(&spot.text))
    };
    if before.iter().any(is_taken) {
        return Err(spot.problem(format!("{:?} is the name of an earlier step", spot.text)));
    }
    Ok(Some(spot.text))
}

/// `target: {commands: any | restricted, settableVariables: none | [...]}`; containers as targets are not taken.
fn target(fields: &mut Fields) -> Result<(bool, Option<Vec<String>>), Problem> {
    let Some(mut target) = fields.fields("target")? else {
        return Ok((false, None));
    };
    let restricted = match target.text("commands")? {
        None => false,
        Some(commands) => match commands.text.as_str() {
            "any" => false,
            "restricted" => true,
            _ => return Err(commands.problem("`any` or `restricted` is needed here")),
        },
    };
    let settable = target.texts("settableVariables")?.map(settable);
    let settable = settable.transpose()?;
    target.finish()?;
    Ok((restricted, settable))
}

fn settable(spots: Vec<Spot>) -> Result<Vec<String>, Problem> {
    if let [only] = &spots[..]
        && only.text == "none"
    {
        return Ok(Vec::new());
    }
    if spots.len() > MAX_SETTABLE {
        let message = format!("at most {MAX_SETTABLE} variables can be listed here");
        return Err(spots[MAX_SETTABLE].problem(message));
    }
    let named = |spot: Spot| {
        if spot.text.trim().is_empty() {
            return Err(spot.problem("the name of a variable is needed here"));
        }
        Ok(spot.text)
    };
    spots.into_iter().map(named).collect()
}

fn texts(spots: BTreeMap<String, Spot>) -> BTreeMap<String, String> {
    spots
        .into_iter()
        .map(|(name, spot)| (name, spot.text))
        .collect()
}
