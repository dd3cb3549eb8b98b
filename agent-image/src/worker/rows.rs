//! The records of a job, as a person sees them: all of them at once, so that it is known what is to come.

use super::plan::{Kind, Parts, Planned};
use super::step::StepRow;
use super::tasks::definition::Stage;
use dayfly_wire::ids::RecordId;
use dayfly_wire::job::{Step, builtin};
use std::collections::HashMap;
use uuid::Uuid;

/// The records, in order.
pub(crate) struct Rows {
    pub(crate) initialize: StepRow,
    pub(crate) pre: Vec<StepRow>,
    pub(crate) main: Vec<StepRow>,
    pub(crate) post: Vec<StepRow>,
    pub(crate) finalize: StepRow,
    /// What people read of the steps.
    names: HashMap<RecordId, String>,
}

impl Rows {
    /// The records of steps whose tasks are not known yet.
    pub(crate) fn new(named: &[(&Step, String)]) -> Self {
        let is_checkout = |step: &Step| step.reference.id.0 == builtin::CHECKOUT;
        let names: HashMap<_, _> = named
            .iter()
            .map(|(step, name)| (step.id, name.clone()))
            .collect();
        let main = named.iter().map(|(step, name)| StepRow {
            id: step.id,
            name: name.clone(),
            ref_name: step.name.clone(),
            task: Some(step.reference.clone()),
            step: Some(step.id),
        });
        let post = named.iter().rev().filter(|(step, _)| is_checkout(step));
        Self {
            initialize: own("Initialize job".to_owned(), None),
            pre: Vec::new(),
            main: main.collect(),
            post: post
                .map(|(step, name)| own(format!("Post-job: {name}"), Some(step.id)))
                .collect(),
            finalize: own("Finalize Job".to_owned(), None),
            names,
        }
    }

    /// Adds the records of what tasks do before and after the steps.
    pub(crate) fn complete(&mut self, parts: &Parts) {
        self.pre = parts.pre.iter().map(|part| self.row(part)).collect();
        let mut known = std::mem::take(&mut self.post);
        let post = parts.post.iter().map(|part| {
            let at = known
                .iter()
                .position(|row| part.kind == Kind::Checkout && row.step == Some(part.step.id));
            match at {
                Some(at) => known.swap_remove(at),
                None => self.row(part),
            }
        });
        let post = post.collect();
        self.post = post;
    }

    fn row(&self, part: &Planned) -> StepRow {
        let time = match part.stage {
            Stage::Pre => "Pre-job: ",
            Stage::Main => "",
            Stage::Post => "Post-job: ",
        };
        let name = self.names.get(&part.step.id);
        let name = name.map_or(part.step.reference.name.as_str(), String::as_str);
        StepRow {
            ref_name: Some(part.step.reference.name.clone()),
            task: Some(part.step.reference.clone()),
            ..own(format!("{time}{name}"), Some(part.step.id))
        }
    }

    /// Every record, in the order in which they are shown.
    pub(crate) fn all(&self) -> impl Iterator<Item = &StepRow> {
        std::iter::once(&self.initialize)
            .chain(&self.pre)
            .chain(&self.main)
            .chain(&self.post)
            .chain(std::iter::once(&self.finalize))
    }
}

fn own(name: String, step: Option<RecordId>) -> StepRow {
    StepRow {
        id: RecordId(Uuid::new_v4()),
        name,
        ref_name: None,
        task: None,
        step,
    }
}
