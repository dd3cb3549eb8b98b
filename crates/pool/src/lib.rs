//! The pool service: the service side of the agent protocol, as a library.
//!
//! Pools, agents, the token service, sessions and encrypted messages, the job queue, timelines, logs, and git.
//! [`service::Service::open`] opens a data directory, [`server::serve`] puts it behind a listener.
//!
//! - [`rules`]: what may happen, as pure functions on entities;
//! - [`store`]: how entities are kept, as SQL;
//! - [`ops`]: an operation loads, asks the rules, writes, and wakes whoever waits, in one transaction;
//! - `routes`: HTTP to operation and back;
//! - `web`: the web page, its sign-in and its files;
//! - [`testing`]: the service in a test's process.

pub mod archive;
pub mod auth;
mod beat;
pub mod clock;
mod connections;
pub mod content;
mod fresh;
pub mod git;
pub mod hook;
pub mod issuers;
pub mod keyfile;
pub mod message;
pub mod metrics;
pub mod ops;
mod routes;
pub mod rules;
pub mod server;
pub mod service;
mod stamp;
pub mod store;
pub mod testing;
pub mod throttle;
pub mod tls;
pub mod wakes;
pub mod watches;
mod web;
