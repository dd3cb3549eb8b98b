//! The identity API: what agents say to the operator. Reachable by hostile job code, so everything is bounded.
//!
//! [`decision`], [`rate`] and [`told`] are pure; the rest does I/O.

pub mod claim;
pub mod decision;
pub mod rate;
pub mod routes;
pub mod server;
pub mod termination;
pub mod token;
pub mod told;
