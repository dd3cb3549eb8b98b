//! The tree of a file to a [`Pipeline`].

mod graph;
mod jobs;
mod steps;
mod triggers;
mod variables;

use crate::fields::Fields;
use crate::file::Pipeline;
use crate::problem::Problem;
use crate::yaml::{self, Node, Value, below};

pub(crate) fn pipeline(text: &str) -> Result<Pipeline, Problem> {
    let root = yaml::read(text)?;
    refuse_templates(&root, "")?;
    let mut fields = Fields::of(root, "")?;
    let trigger = triggers::trigger(&mut fields)?;
    let schedules = triggers::schedules(&mut fields)?;
    let pool = jobs::pool(&mut fields)?;
    let variables = variables::of_file(&mut fields)?;
    let shared = jobs::Shared { pool, variables };
    let jobs = jobs::jobs(&mut fields, &shared)?;
    fields.finish()?;
    Ok(Pipeline {
        trigger,
        schedules,
        jobs,
    })
}

/// `${{ }}` is replaced before a file is read, wherever it stands; left alone it would reach a shell.
fn refuse_templates(node: &Node, key: &str) -> Result<(), Problem> {
    let refuse = |at, key: &str| {
        Err(Problem::new(
            at,
            key,
            "template expressions `${{ }}` are not taken; use `$( )` or `$[ ]`",
        ))
    };
    match &node.value {
        Value::Text { text, .. } if text.contains("${{") => refuse(node.at, key),
        Value::Text { .. } => Ok(()),
        Value::List(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| refuse_templates(item, &format!("{key}[{index}]"))),
        Value::Map(entries) => entries.iter().try_for_each(|entry| {
            let key = below(key, &entry.key);
            if entry.key.contains("${{") {
                return refuse(entry.at, &key);
            }
            refuse_templates(&entry.value, &key)
        }),
    }
}
