//! The kinds of steps.

pub(crate) mod checkout;
pub(crate) mod script;
