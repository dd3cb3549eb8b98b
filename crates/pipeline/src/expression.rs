//! Expressions: the function-call grammar of conditions and of `$[ ]`.
//!
//! What may be named depends on where an expression stands, see [`Place`]. Dates are the one kind of value of Azure
//! Pipelines that is missing here: nothing that can be named is one.

mod call;
pub mod evaluate;
mod format;
pub mod parse;
pub mod token;
pub mod trace;
pub mod value;

pub use evaluate::{EvaluateError, Scope, Status, StatusQuestion};
pub use parse::{Expression, ParseError, Place};
pub use trace::Trace;
pub use value::Value;
