//! Operations: each loads what a rule needs, asks the rule, and writes what it answers, in one unit of work.

pub mod agents;
pub mod builds;
pub mod definitions;
pub mod dispatch;
pub mod endings;
pub mod events;
pub mod jobs;
pub mod logs;
pub mod messages;
pub mod pats;
pub mod plans;
pub mod pools;
pub mod projects;
pub mod queueing;
pub mod repositories;
pub mod requests;
pub mod runs;
pub mod sessions;
pub mod starting;
pub mod sweep;
pub mod tidy;
pub mod tokens;
