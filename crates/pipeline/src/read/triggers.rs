//! `trigger` and `schedules`.

use crate::branches::BranchFilter;
use crate::cron::Cron;
use crate::fields::{Fields, Spot, items, list_of};
use crate::file::Schedule;
use crate::problem::Problem;
use crate::yaml::Value;

const MAX_PATTERNS: usize = 100;
const MAX_SCHEDULES: usize = 20;

/// Without `trigger` every branch is meant, as on Azure DevOps.
pub(super) fn trigger(fields: &mut Fields) -> Result<Option<BranchFilter>, Problem> {
    let Some((node, key)) = fields.node("trigger") else {
        return Ok(Some(BranchFilter::default()));
    };
    match &node.value {
        Value::Text { text, .. } if text == "none" => Ok(None),
        Value::Text { .. } => Err(Problem::new(
            node.at,
            &key,
            "`none`, a list of branches, or `branches` with `include` and `exclude` is needed here",
        )),
        Value::List(_) => Ok(Some(BranchFilter {
            include: patterns(list_of(node, &key)?)?,
            exclude: Vec::new(),
        })),
        Value::Map(_) => {
            let mut fields = Fields::of(node, &key)?;
            let filter = branches(&mut fields)?;
            fields.finish()?;
            Ok(Some(filter.unwrap_or_default()))
        }
    }
}

fn branches(fields: &mut Fields) -> Result<Option<BranchFilter>, Problem> {
    let Some((node, key)) = fields.node("branches") else {
        return Ok(None);
    };
    if matches!(node.value, Value::List(_)) {
        return Ok(Some(BranchFilter {
            include: patterns(list_of(node, &key)?)?,
            exclude: Vec::new(),
        }));
    }
    let mut fields = Fields::of(node, &key)?;
    let include = patterns(fields.texts("include")?.unwrap_or_default())?;
    let exclude = patterns(fields.texts("exclude")?.unwrap_or_default())?;
    fields.finish()?;
    Ok(Some(BranchFilter { include, exclude }))
}

fn patterns(spots: Vec<Spot>) -> Result<Vec<String>, Problem> {
    if let Some(spot) = spots.get(MAX_PATTERNS) {
        return Err(spot.problem(format!("at most {MAX_PATTERNS} branches")));
    }
    spots
        .into_iter()
        .map(|spot| {
            let is_tag = spot.text.starts_with("refs/") && !spot.text.starts_with("refs/heads/");
            if spot.text.is_empty() || spot.text.len() > 250 || is_tag {
                return Err(spot.problem("a branch is needed here, of at most 250 characters"));
            }
            Ok(spot.text)
        })
        .collect()
}

pub(super) fn schedules(fields: &mut Fields) -> Result<Vec<Schedule>, Problem> {
    let Some((node, key)) = fields.node("schedules") else {
        return Ok(Vec::new());
    };
    let at = node.at;
    let entries = items(node, &key)?;
    if entries.len() > MAX_SCHEDULES {
        return Err(Problem::new(
            at,
            &key,
            format!("at most {MAX_SCHEDULES} schedules"),
        ));
    }
    entries
        .into_iter()
        .map(|(node, key)| schedule(Fields::of(node, &key)?))
        .collect()
}

fn schedule(mut fields: Fields) -> Result<Schedule, Problem> {
    let cron = fields
        .label("cron")?
        .ok_or_else(|| fields.problem("`cron` is missing: five fields, for example `0 3 * * *`"))?;
    let zone = fields.label("timeZone")?;
    let time_zone = zone
        .as_ref()
        .map_or("UTC", |spot| spot.text.as_str())
        .to_owned();
    Cron::parse(&cron.text, "UTC").map_err(|error| cron.problem(error.to_string()))?;
    if let Some(spot) = &zone {
        Cron::parse(&cron.text, &time_zone).map_err(|error| spot.problem(error.to_string()))?;
    }
    let schedule = Schedule {
        cron: cron.text,
        time_zone,
        display_name: fields.label("displayName")?.map(|spot| spot.text),
        branches: branches(&mut fields)?,
        always: fields.yes_or_no("always")?.unwrap_or(false),
    };
    fields.finish()?;
    Ok(schedule)
}
