//! What pipeline files and their expressions mean. No input, no output, no clock: the service and the agent use the
//! same rules.
//!
//! A file is read by [`Pipeline::parse`], which refuses what it does not take. [`decide`] says what becomes of the
//! jobs of a run, [`runtime`] works out their variables, [`branches`] and [`cron`] say when a pipeline is queued by itself.

pub mod branches;
pub mod cron;
pub mod decide;
pub mod expression;
mod fields;
pub mod file;
mod problem;
mod read;
pub mod runtime;
mod yaml;

pub use file::Pipeline;
pub use problem::{Mark, Position, Problem};
