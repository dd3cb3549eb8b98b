//! How a client finds out what a service offers.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The answer of `GET _apis/connectionData`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionData {
    /// Stable for the life of a service: clients cache by it.
    #[serde(default)]
    pub instance_id: Uuid,
    /// The deployment's id.
    #[serde(default)]
    pub deployment_id: Uuid,
    /// `hosted` or `onPremises`.
    #[serde(default)]
    pub deployment_type: String,
    /// Where things are.
    #[serde(default)]
    pub location_service_data: LocationServiceData,
    /// Who asks; absent here, because an identity that changes between two calls is an error for .NET clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authenticated_user: Option<serde_json::Value>,
}

/// The location part of [`ConnectionData`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocationServiceData {
    /// Changes when the definitions change.
    #[serde(default)]
    pub last_change_id: i64,
    /// The same, as 64 bits.
    #[serde(default)]
    pub last_change_id64: i64,
    /// Whether the client's cache may stay.
    #[serde(default)]
    pub client_cache_fresh: bool,
    /// Seconds.
    #[serde(default)]
    pub client_cache_time_to_live: i64,
    /// The routes, when asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_definitions: Vec<ServiceDefinition>,
}

/// A route in [`LocationServiceData`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceDefinition {
    /// The area.
    pub service_type: String,
    /// The location id that clients have compiled in.
    pub identifier: Uuid,
    /// The resource.
    pub display_name: String,
    /// `fullyQualified`.
    pub relative_to_setting: String,
    /// The route template.
    pub relative_path: String,
    /// 1 or more, or clients do not count it.
    pub resource_version: i64,
    /// `1.0`.
    pub min_version: String,
    /// `7.2`.
    pub max_version: String,
    /// `7.1`, or `0.0` for what is still a preview.
    pub released_version: String,
}

/// A route in the answer of `OPTIONS _apis`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceLocation {
    /// The location id that clients have compiled in, lower case.
    pub id: Uuid,
    /// The area.
    pub area: String,
    /// The resource.
    pub resource_name: String,
    /// The route template.
    pub route_template: String,
    /// 1 or more.
    pub resource_version: i64,
    /// A string with one dot.
    pub min_version: String,
    /// A string with one dot.
    pub max_version: String,
    /// A string with one dot.
    pub released_version: String,
}
