//! What an agent and the operator say to each other (the identity API; HTTPS, version 1).
//!
//! | call | authorization | body | answer |
//! |---|---|---|---|
//! | `POST /v1/claim` | the pod's projected service-account token, audience [`AUDIENCE`] | [`Claim`] | [`ClaimedIdentity`] |
//! | `POST /v1/listening` | the callback token | none | 204 |
//! | `POST /v1/accepted` | the callback token | [`Accepted`] | 204 |
//! | `POST /v1/finished` | the callback token | [`Finished`] | 204 |
//! | `GET /v1/termination` | the callback token | none | [`Termination`]; 204 while the job container runs |
//!
//! Refusals are [`Refusal`] with 400 (malformed), 401 (token), 403 (not this pod), 409 (claimed already),
//! 410 (no such identity any more), 429, or 503 (not the leader, or not ready: ask again).

use crate::agent::Capabilities;
use crate::event::TaskResult;
use crate::ids::{AgentId, ClientId, PoolId, RequestId};
use crate::proxy::Proxy;
use crate::secret::SecretText;
use serde::{Deserialize, Serialize};

/// The audience of the projected service-account token that a claim is made with.
pub const AUDIENCE: &str = "dayfly";

/// The longest nonce that is accepted, in characters.
pub const MAX_NONCE: usize = 64;

/// Asks for the pod's identity.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The identity's name, which is the pod's name.
    pub identity: String,
    /// Random, made once per process: a retry of the same process carries the same one.
    pub nonce: String,
}

/// The identity: everything that the agent needs to open its session.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimedIdentity {
    /// The agent's id in the pool.
    pub agent_id: AgentId,
    /// The agent's name in the pool.
    pub agent_name: String,
    /// The pool.
    pub pool_id: PoolId,
    /// The service's base URL, without a trailing slash.
    pub server_url: String,
    /// Issuer and subject of the agent's assertions.
    pub client_id: ClientId,
    /// The audience of the agent's assertions.
    pub authorization_url: String,
    /// Where the assertion is posted; the audience, unless the service is on premises.
    pub token_url: String,
    /// Base64 of the PKCS#8 private key.
    pub private_key: SecretText,
    /// The version that the agent claims.
    pub agent_version: String,
    /// Sent when the session opens.
    #[serde(default)]
    pub system_capabilities: Capabilities,
    /// Proves the calls that follow.
    pub callback_token: SecretText,
    /// Seconds that an agent waits for a job before it leaves; 0 for ever.
    #[serde(default)]
    pub idle_timeout_seconds: u64,
    /// Certificates (PEM) that the service's chain may end in, beside the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// The proxy that the service is reached through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
}

/// A job was taken; the operator answers when no second one can be assigned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The request.
    pub request_id: RequestId,
}

/// The agent is about to exit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finished {
    /// The job's result; absent when there was no job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<TaskResult>,
}

/// Why the job container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Termination {
    /// The kubelet's word, for example `OOMKilled`.
    pub reason: String,
    /// The exit code.
    pub exit_code: i32,
    /// The memory limit of the container, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<String>,
}

/// Why a call was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For a person; never repeats a token.
    pub message: String,
}
