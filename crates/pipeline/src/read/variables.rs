//! `variables`, as a map or a list.

use crate::expression::{Expression, Place};
use crate::fields::{Fields, Spot, items, map_of};
use crate::file::Variable;
use crate::problem::Problem;
use crate::runtime;
use crate::yaml::Value;

const MAX_VARIABLES: usize = 1000;
const MAX_NAME: usize = 200;

/// The variables of the whole file. No job has run when they get their values.
pub(super) fn of_file(fields: &mut Fields) -> Result<Vec<Variable>, Problem> {
    read(fields, |expression, spot| {
        if expression.uses_dependencies() {
            return Err(spot.problem(
                "`dependencies` means something in a job's variables only; move this one to the job",
            ));
        }
        Ok(())
    })
}

/// The variables of a job that waits for these jobs.
pub(super) fn of_job(fields: &mut Fields, depends_on: &[String]) -> Result<Vec<Variable>, Problem> {
    read(fields, |expression, spot| {
        known(
            &expression.named_dependencies(),
            spot,
            depends_on,
            "is not in the job's `dependsOn`",
        )
    })
}

/// Refuses an expression that names a job of which it can see nothing.
pub(super) fn known(
    named: &[String],
    spot: &Spot,
    jobs: &[String],
    why: &str,
) -> Result<(), Problem> {
    let unknown = named
        .iter()
        .find(|name| !jobs.iter().any(|job| job.eq_ignore_ascii_case(name)));
    match unknown {
        Some(name) => Err(spot.problem(format!("the expression names job {name:?}, which {why}"))),
        None => Ok(()),
    }
}

fn read(
    fields: &mut Fields,
    check: impl Fn(&Expression, &Spot) -> Result<(), Problem>,
) -> Result<Vec<Variable>, Problem> {
    let Some((node, key)) = fields.node("variables") else {
        return Ok(Vec::new());
    };
    let entries: Vec<(Spot, Spot, bool)> = match node.value {
        Value::List(_) => items(node, &key)?
            .into_iter()
            .map(|(node, key)| listed(Fields::of(node, &key)?))
            .collect::<Result<_, _>>()?,
        _ => map_of(node, &key)?
            .into_iter()
            .map(|(name, value)| {
                let name = Spot {
                    text: name,
                    ..value.clone()
                };
                (name, value, false)
            })
            .collect(),
    };
    let mut variables: Vec<Variable> = Vec::new();
    for (name, value, is_read_only) in entries {
        check_name(&name, &variables)?;
        if let Some(text) = runtime::inner(&value.text) {
            let expression = Expression::parse(text, Place::Variable)
                .map_err(|error| value.problem(error.to_string()))?;
            check(&expression, &value)?;
        }
        variables.push(Variable {
            name: name.text,
            value: value.text,
            is_read_only,
        });
    }
    Ok(variables)
}

fn listed(mut fields: Fields) -> Result<(Spot, Spot, bool), Problem> {
    let name = fields
        .label("name")?
        .ok_or_else(|| fields.problem("`name` is missing; groups and templates are not taken"))?;
    let value = fields
        .text("value")?
        .ok_or_else(|| fields.problem("`value` is missing"))?;
    let is_read_only = fields.yes_or_no("readonly")?.unwrap_or(false);
    fields.finish()?;
    Ok((name, value, is_read_only))
}

fn check_name(name: &Spot, before: &[Variable]) -> Result<(), Problem> {
    let good = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | ' ');
    if name.text.is_empty() || name.text.len() > MAX_NAME || !name.text.chars().all(good) {
        return Err(name.problem(format!(
            "{:?} is no name of a variable; use letters, digits, '.', '_' and '-'",
            name.text
        )));
    }
    if before
        .iter()
        .any(|other| other.name.eq_ignore_ascii_case(&name.text))
    {
        return Err(name.problem(format!("variable {:?} is there twice", name.text)));
    }
    if before.len() >= MAX_VARIABLES {
        return Err(name.problem(format!("at most {MAX_VARIABLES} variables")));
    }
    Ok(())
}
