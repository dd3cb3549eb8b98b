//! Documents of the Azure Pipelines agent protocol ("distributedtask"), as they travel.
//!
//! One module per resource of the protocol. Nothing here opens a socket, reads a clock or knows cryptography:
//! a document is parsed, inspected and written, and that is all. Readers are tolerant (unknown members are
//! ignored, `null` is absence, enum values arrive as text in any case or as integers); writers are strict
//! (camelCase, dates with a zone, unset members omitted).
//!
//! [`identity`] is Dayfly's own: what an agent and the operator say to each other. Everything else mirrors what
//! Azure DevOps speaks.

pub mod agent;
pub mod artifact;
pub mod attachment;
pub mod build;
pub mod collection;
pub mod credential;
pub mod date;
pub mod demand;
pub mod discovery;
pub mod enums;
pub mod error;
pub mod event;
pub mod identity;
pub mod ids;
pub mod job;
pub mod lfs;
pub mod log;
pub mod message;
pub mod overview;
pub mod pool;
pub mod proxy;
pub mod queue;
pub mod request;
pub mod secret;
pub mod session;
pub mod task;
pub mod timeline;
pub mod token;
