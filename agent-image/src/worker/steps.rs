//! The kinds of steps.

pub(crate) mod artifacts;
pub(crate) mod cache;
pub(crate) mod checkout;
pub(crate) mod node;
pub(crate) mod power_shell;
pub(crate) mod script;
