//! The web page in a real browser, with a test in the agent's place.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail like tests.

mod access;
#[path = "../browser/mod.rs"]
mod browser;
#[path = "../common/mod.rs"]
mod common;
mod logs;
mod pools;
#[path = "../project/mod.rs"]
mod project;
mod runs;
mod work;
