//! One AgentPool: `observe -> validate -> plan -> build -> apply -> status`, a file each.
//!
//! Pure: [`validate`], [`schedule`], [`capacity`], [`facts`], [`stage`], [`plan`], [`demand`], [`build`], [`status`].
//! With a client: [`observe`], [`apply`], [`register`], [`retire`], [`busy`].

pub mod apply;
pub mod build;
pub mod busy;
pub mod capacity;
pub mod demand;
pub mod facts;
pub mod observe;
pub mod plan;
pub mod reconcile;
pub mod register;
pub mod retire;
pub mod schedule;
pub mod stage;
pub mod status;
pub mod validate;
