//! What the cluster tests, the demo and the benchmark have in common: a Dayfly that runs on a real Kubernetes,
//! seen from outside by `kubectl`, the Kubernetes API and the pool service's REST API.
//!
//! Nothing here installs Dayfly; `e2e/install.sh` does, with the same charts that users take.
#![allow(clippy::disallowed_methods)] // Clocks are read here: this crate is all I/O.
#![allow(clippy::print_stdout)] // It talks to a terminal.

pub mod deadline;
pub mod exposed;
pub mod identity_api;
pub mod jobs;
pub mod kubectl;
pub mod names;
pub mod operator;
pub mod report;
pub mod repository;
pub mod scenario;
pub mod service;
pub mod stages;
pub mod values;

/// Everything here fails with a message for a person.
pub type Result<T> = anyhow::Result<T>;

/// Installs the process-wide TLS provider; safe to call more than once.
pub fn install_tls() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
