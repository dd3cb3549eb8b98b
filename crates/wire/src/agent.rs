//! An agent's registration.

use crate::date;
use crate::enums::wire_enum;
use crate::ids::{AgentId, ClientId};
use crate::request::JobRequest;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// Capabilities by name; names are compared without regard to case.
pub type Capabilities = BTreeMap<String, String>;

wire_enum! {
    /// Whether the agent has a live session.
    AgentStatus {
        /// No live session.
        Offline = 1 as "offline",
        /// A live session.
        Online = 2 as "online",
    }
}

/// An agent of a pool. The same document registers one (POST), replaces one (PUT), changes one (PATCH, absent
/// members unchanged) and describes one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// Given by the service; 0 in a registration.
    #[serde(default)]
    pub id: AgentId,
    /// Unique in its pool.
    #[serde(default)]
    pub name: String,
    /// The agent version, which job demands may ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The kernel's own description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_description: Option<String>,
    /// A disabled agent is given no job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Set by the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<AgentStatus>,
    /// `Provisioned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning_state: Option<String>,
    /// Always 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallelism: Option<i64>,
    /// When it was registered.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_on: Option<Timestamp>,
    /// When its status last changed.
    #[serde(
        default,
        with = "date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub status_changed_on: Option<Timestamp>,
    /// Its key and how it gets its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<AgentAuthorization>,
    /// Sent by the agent when its session opens.
    #[serde(
        default,
        deserialize_with = "map_or_null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub system_capabilities: Capabilities,
    /// Set by whoever administers the pool.
    #[serde(
        default,
        deserialize_with = "map_or_null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub user_capabilities: Capabilities,
    /// The request that it holds, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_request: Option<Box<JobRequest>>,
    /// The request that it finished last, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_completed_request: Option<Box<JobRequest>>,
    /// Typed properties; see [`Property`].
    #[serde(
        default,
        deserialize_with = "map_or_null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub properties: BTreeMap<String, Property>,
}

/// Property of a registration: the service never assigns it a second request.
pub const SINGLE_USE: &str = "Dayfly.SingleUse";

/// A value in a properties collection, with its .NET type beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Property {
    /// For example `System.String`.
    #[serde(rename = "$type")]
    pub kind: String,
    /// The value.
    #[serde(rename = "$value")]
    pub value: serde_json::Value,
}

impl Property {
    /// A text property.
    pub fn text(value: impl Into<String>) -> Self {
        Self {
            kind: "System.String".to_owned(),
            value: value.into().into(),
        }
    }

    /// A truth property.
    pub fn boolean(value: bool) -> Self {
        Self {
            kind: "System.Boolean".to_owned(),
            value: value.into(),
        }
    }
}

/// How an agent proves who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentAuthorization {
    /// Where a token is asked for; also the audience of the assertion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_url: Option<String>,
    /// Issuer and subject of the assertion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// The agent's public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<AgentPublicKey>,
}

/// An RSA public key: padded base64 of the big-endian numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentPublicKey {
    /// `AQAB`.
    pub exponent: String,
    /// 256 bytes for RSA-2048.
    pub modulus: String,
}

/// An agent as other documents refer to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentReference {
    /// The agent's id.
    pub id: AgentId,
    /// The agent's name.
    #[serde(default)]
    pub name: String,
    /// The agent version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The kernel's own description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_description: Option<String>,
    /// Whether it may be given jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether it has a live session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<AgentStatus>,
    /// `Provisioned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning_state: Option<String>,
}

/// Reads a map, taking `null` for an empty one.
pub(crate) fn map_or_null<'de, D, V>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
