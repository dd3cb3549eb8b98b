//! The step host: process 1 of the job container. It runs what the agent asks for and opens every path that job
//! code names, so that the agent never does.
//!
//! `protocol` and `frame` are spoken by both sides; `link` is the agent's side, the rest runs in the job container.

pub(crate) mod cache;
pub(crate) mod files;
pub mod frame;
pub(crate) mod link;
pub(crate) mod memory;
pub(crate) mod process;
pub mod protocol;
pub(crate) mod serve;
pub(crate) mod survivors;
pub(crate) mod tree;
