//! The operator against a real control plane and a real pool service, with agents that speak the real protocols.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // Helpers of tests fail and speak like tests.

#[path = "../support/mod.rs"]
mod support;

mod crashes;
mod credentials;
mod granted;
mod hostile;
mod leadership;
mod life;
