//! Which template claims a request.

use super::validate::ValidTemplate;
use dayfly_wire::demand::first_unsatisfied;

/// Who claims a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The template with this index.
    By(usize),
    /// Nobody; what no template offers.
    Unmatched(String),
}

/// The first template whose capabilities satisfy all demands.
pub fn claim(demands: &[String], templates: &[ValidTemplate]) -> Claimed {
    let mut lacking: Option<&str> = None;
    for (index, template) in templates.iter().enumerate() {
        match first_unsatisfied(demands, &[&template.offered, &template.capabilities]) {
            None => return Claimed::By(index),
            Some(demand) => {
                lacking.get_or_insert(demand);
            }
        }
    }
    Claimed::Unmatched(lacking.unwrap_or("a template").to_owned())
}
