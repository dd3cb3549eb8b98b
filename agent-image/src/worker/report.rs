//! What the service is told while the job runs: records, live lines, stored logs.
//!
//! Everything passes [`outbox`], which masks it; three loops in [`sender`] carry it to the service, each at its own
//! pace, so that a slow log upload does not hold up live lines.

pub(crate) mod feed;
#[cfg(test)]
mod leaks;
pub(crate) mod outbox;
mod outgoing;
pub(crate) mod pages;
pub(crate) mod pending;
pub(crate) mod sender;
