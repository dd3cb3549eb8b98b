//! An agent's session: what opens its message queue.

use crate::agent::{AgentReference, Capabilities, map_or_null};
use crate::ids::SessionId;
use serde::{Deserialize, Serialize};

/// A session, in both directions; the answer adds `session_id` and the key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Zero in the request.
    #[serde(default)]
    pub session_id: SessionId,
    /// The machine's name.
    #[serde(default)]
    pub owner_name: String,
    /// Whose session it is.
    pub agent: AgentReference,
    /// Replaces the agent's system capabilities.
    #[serde(
        default,
        deserialize_with = "map_or_null",
        skip_serializing_if = "Capabilities::is_empty"
    )]
    pub system_capabilities: Capabilities,
    /// Whether the agent can unwrap the key with OAEP-SHA256.
    #[serde(default, rename = "agentCanHandleOaepSHA256")]
    pub agent_can_handle_oaep_sha256: bool,
    /// The key of the messages; absent when they travel in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption_key: Option<EncryptionKey>,
}

/// The key under which message bodies are encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EncryptionKey {
    /// Whether `value` is wrapped with the agent's public key.
    pub encrypted: bool,
    /// Base64.
    pub value: String,
    /// `OaepSHA256`, or absent for OAEP-SHA1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption_padding: Option<String>,
}

/// The literal of [`EncryptionKey::encryption_padding`] for OAEP with SHA-256.
pub const OAEP_SHA256: &str = "OaepSHA256";
