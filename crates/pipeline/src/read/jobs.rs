//! `jobs`, or the one job that top-level `steps` are.

use super::{graph, steps, variables};
use crate::expression::{Expression, Place};
use crate::fields::{Fields, Spot, items};
use crate::file::{Job, MAX_JOBS, ONLY_JOB, Pool, Variable, is_image};
use crate::problem::{Mark, Problem};
use crate::yaml::Value;
use dayfly_wire::demand::Demand;

const MAX_DEMANDS: usize = 100;
const MAX_NAME: usize = 100;
/// A week.
const MAX_MINUTES: i64 = 7 * 24 * 60;

/// What the file says for all of its jobs.
pub(super) struct Shared {
    pub(super) pool: Option<Pool>,
    pub(super) variables: Vec<Variable>,
}

pub(super) fn jobs(fields: &mut Fields, shared: &Shared) -> Result<Vec<Job>, Problem> {
    let has_steps = fields.has("steps");
    let Some((node, key)) = fields.node("jobs") else {
        if !has_steps {
            return Err(fields.problem("`jobs` or `steps` is missing"));
        }
        return Ok(vec![only_job(fields, shared)?]);
    };
    if has_steps {
        return Err(Problem::new(
            node.at,
            &key,
            "a file has `jobs` or `steps`, not both",
        ));
    }
    let at = node.at;
    let entries = items(node, &key)?;
    if entries.is_empty() || entries.len() > MAX_JOBS {
        return Err(Problem::new(
            at,
            &key,
            format!("1 to {MAX_JOBS} jobs are needed here"),
        ));
    }
    let mut waits = Vec::new();
    let mut drafts = Vec::new();
    for (node, key) in entries {
        let mut fields = Fields::of(node, &key)?;
        let name = name(&mut fields)?;
        let depends_on = fields.texts("dependsOn")?.unwrap_or_default();
        waits.push(graph::Waits {
            name,
            depends_on: depends_on
                .into_iter()
                .filter(|spot| !spot.text.is_empty())
                .collect(),
        });
        drafts.push(fields);
    }
    graph::check(&waits)?;
    waits
        .iter()
        .zip(drafts)
        .map(|(own, fields)| job(fields, own, &waits, shared))
        .collect()
}

fn only_job(fields: &mut Fields, shared: &Shared) -> Result<Job, Problem> {
    let pool = shared
        .pool
        .clone()
        .ok_or_else(|| fields.problem("`pool` is missing: the name of a pool"))?;
    Ok(Job {
        name: ONLY_JOB.to_owned(),
        display_name: Some("Job".to_owned()),
        mark: fields.mark(),
        depends_on: Vec::new(),
        condition: condition(None, Place::Job)?,
        timeout_in_minutes: None,
        cancel_timeout_in_minutes: None,
        pool,
        container: container(fields)?,
        variables: shared.variables.clone(),
        steps: steps::steps(fields)?,
    })
}

fn job(
    mut fields: Fields,
    own: &graph::Waits,
    all: &[graph::Waits],
    shared: &Shared,
) -> Result<Job, Problem> {
    let depends_on = graph::spelt(own, all);
    let before = graph::before(own, all);
    let written = fields.text("condition")?;
    let parsed = condition(written.as_ref(), Place::Job)?;
    if let Some(spot) = &written {
        let named = parsed.named_dependencies();
        variables::known(&named, spot, &depends_on, "is not in the job's `dependsOn`")?;
        variables::known(
            &parsed.asked_jobs(),
            spot,
            &before,
            "does not end before this one starts",
        )?;
    }
    let own_variables = variables::of_job(&mut fields, &depends_on)?;
    let own_pool = pool(&mut fields)?;
    let pool = own_pool
        .or_else(|| shared.pool.clone())
        .ok_or_else(|| fields.problem("`pool` is missing, here and in the file"))?;
    let job = Job {
        name: own.name.text.clone(),
        display_name: fields.label("displayName")?.map(|spot| spot.text),
        mark: fields.mark(),
        depends_on,
        condition: parsed,
        timeout_in_minutes: fields.number("timeoutInMinutes", MAX_MINUTES)?,
        cancel_timeout_in_minutes: fields.number("cancelTimeoutInMinutes", MAX_MINUTES)?,
        pool,
        container: container(&mut fields)?,
        variables: merged(&shared.variables, own_variables),
        steps: steps::steps(&mut fields)?,
    };
    fields.finish()?;
    Ok(job)
}

fn name(fields: &mut Fields) -> Result<Spot, Problem> {
    let name = fields
        .text("job")?
        .ok_or_else(|| fields.problem("`job` is missing: the job's name"))?;
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = name
        .text
        .chars()
        .next()
        .is_some_and(|c| !c.is_ascii_digit());
    if !begins || name.text.len() > MAX_NAME || !name.text.chars().all(good) {
        return Err(name.problem(format!(
            "{:?} is no name of a job; use letters, digits and '_', not beginning with a digit",
            name.text
        )));
    }
    Ok(name)
}

/// The condition of a step or a job.
pub(super) fn condition(written: Option<&Spot>, place: Place) -> Result<Expression, Problem> {
    Expression::condition_at(written.map(|spot| spot.text.as_str()), place).map_err(|error| {
        let spot = written.cloned();
        // Nothing written is always an expression.
        spot.map_or_else(
            || {
                Problem::new(
                    crate::Position { line: 1, column: 1 },
                    "condition",
                    error.to_string(),
                )
            },
            |spot| spot.problem(error.to_string()),
        )
    })
}

fn merged(shared: &[Variable], own: Vec<Variable>) -> Vec<Variable> {
    let hides = |variable: &Variable| {
        own.iter()
            .any(|other| other.name.eq_ignore_ascii_case(&variable.name))
    };
    let mut merged: Vec<_> = shared.iter().filter(|each| !hides(each)).cloned().collect();
    merged.extend(own);
    merged
}

/// `container: IMAGE`, or a map with `image`.
fn container(fields: &mut Fields) -> Result<Option<String>, Problem> {
    let Some((node, key)) = fields.node("container") else {
        return Ok(None);
    };
    let spot = if let Value::Text { text, .. } = &node.value {
        Spot {
            text: text.clone(),
            at: node.at,
            key,
        }
    } else {
        let mut fields = Fields::of(node, &key)?;
        let image = fields.label("image")?;
        let image = image.ok_or_else(|| fields.problem("`image` is missing"))?;
        fields.finish()?;
        image
    };
    if !is_image(&spot.text) {
        return Err(
            spot.problem("the name of a container image is needed here, for example node:20")
        );
    }
    Ok(Some(spot.text))
}

/// `pool: NAME`, or a map.
pub(super) fn pool(fields: &mut Fields) -> Result<Option<Pool>, Problem> {
    let Some((node, key)) = fields.node("pool") else {
        return Ok(None);
    };
    if let Value::Text { text, .. } = &node.value {
        if text.trim().is_empty() {
            return Err(Problem::new(
                node.at,
                &key,
                "the name of a pool is needed here",
            ));
        }
        return Ok(Some(Pool {
            name: text.clone(),
            demands: Vec::new(),
            mark: Mark { at: node.at, key },
        }));
    }
    let mut fields = Fields::of(node, &key)?;
    let name = fields
        .label("name")?
        .ok_or_else(|| fields.problem("`name` is missing: the pool's name"))?;
    let demands = fields.texts("demands")?.unwrap_or_default();
    if let Some(spot) = demands.get(MAX_DEMANDS) {
        return Err(spot.problem(format!("at most {MAX_DEMANDS} demands")));
    }
    for spot in &demands {
        spot.text
            .parse::<Demand>()
            .map_err(|error| spot.problem(error.to_string()))?;
    }
    let mark = fields.mark();
    fields.finish()?;
    Ok(Some(Pool {
        name: name.text,
        mark,
        demands: demands.into_iter().map(|spot| spot.text).collect(),
    }))
}
