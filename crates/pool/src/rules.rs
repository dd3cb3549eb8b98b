//! What the service decides: pure functions on entities that the store loaded, given the time.
//!
//! Nothing here reads a clock, makes an id, or knows how entities are kept or asked for.

pub mod access;
pub mod agent;
pub mod artifact;
pub mod attachment;
pub mod build;
pub mod build_filter;
pub mod definition;
pub mod discovery;
pub mod entities;
pub mod feed;
pub mod lfs;
pub mod limits;
pub mod log;
pub mod news;
pub mod oidc;
pub mod paging;
pub mod path;
pub mod pipeline;
pub mod pool;
pub mod principal;
pub mod queue;
pub mod queueing;
pub mod reach;
pub mod refusal;
pub mod request;
pub mod role;
pub mod run;
pub mod run_variables;
#[cfg(test)]
mod samples;
pub mod session;
pub mod task;
pub mod throttle;
pub mod timeline;
pub mod token;
pub mod trigger;
pub mod version;
pub mod waiting;
pub mod web_session;
