//! Agent pools.

use crate::date;
use crate::ids::PoolId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An agent pool. A reader of the list takes the first entry with the asked name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentPool {
    /// The pool's id.
    pub id: PoolId,
    /// The pool's name; compared without regard to case.
    pub name: String,
    /// When it was made.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_on: Option<Timestamp>,
    /// Whether the service's own machines serve it.
    #[serde(default)]
    pub is_hosted: bool,
    /// `automation` or `deployment`.
    #[serde(default = "automation")]
    pub pool_type: String,
    /// The number of registered agents.
    #[serde(default)]
    pub size: i64,
    /// Whether it is of the old kind.
    #[serde(default)]
    pub is_legacy: bool,
    /// Option flags; `none`.
    #[serde(default = "none")]
    pub options: String,
}

fn automation() -> String {
    "automation".to_owned()
}

fn none() -> String {
    "none".to_owned()
}
