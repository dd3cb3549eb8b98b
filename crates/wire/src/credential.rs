//! What the pool service tells of the credential that a call brings. Azure DevOps has no such document.

use crate::date;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A credential, without what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialStanding {
    /// Whose it is.
    pub name: String,
    /// What it reaches, separated by commas.
    #[serde(default)]
    pub scopes: String,
    /// When it ends.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_at: Option<Timestamp>,
}

impl CredentialStanding {
    /// Whether agents can be registered with it.
    pub fn manages_pools(&self) -> bool {
        self.scopes
            .split(',')
            .any(|scope| scope == "agentpools_manage")
    }
}
