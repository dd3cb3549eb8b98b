//! Step conditions: the function-call grammar of Azure Pipelines, with `variables` as its only name.

pub mod evaluate;
pub mod parse;
pub mod token;
pub mod value;

pub use evaluate::{EvaluateError, Scope};
pub use parse::{Expression, ParseError};
