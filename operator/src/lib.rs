//! The Dayfly operator: reconciles AgentPools.
//!
//! An AgentPool names a pool of a service through a PoolConnection. For each there is one loop
//! ([`pool::reconcile`]) and one poller ([`poller`]); agents talk to [`identity`]. [`runtime`] wires them together.
//!
//! Decisions are pure: [`pool::plan`], [`pool::stage`], [`pool::validate`], [`pool::build`], [`pool::status`],
//! [`identity::decision`], [`connection::health`]. They take the time as an argument and no client.

pub mod admin;
pub mod args;
pub mod backoff;
pub mod check;
pub mod clock;
pub mod connection;
pub mod context;
pub mod crd;
pub mod deadline;
pub mod identity;
pub mod leader;
pub mod memory;
pub mod metrics;
pub mod mirror;
pub mod names;
pub mod plugin;
pub mod poller;
pub mod pool;
pub mod report;
pub mod runtime;
pub mod sealing;
pub mod telemetry;
pub mod tls;
pub mod wakes;
pub mod watches;
