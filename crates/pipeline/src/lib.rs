//! What pipeline files and their expressions mean. No input, no output, no clock: the service and the agent use the same rules.

pub mod expression;
