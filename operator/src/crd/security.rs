//! What a pool's pods may do.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far a pool's pods may depart from the restricted Pod Security Standard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Profile {
    /// Non-root, no capabilities, no host namespaces, RuntimeDefault seccomp.
    #[default]
    Restricted,
    /// What the baseline standard allows.
    Baseline,
    /// Anything; the namespace has to allow it too.
    Privileged,
}

/// Which tasks of jobs are given the job's token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TokenForTasks {
    /// Those that the service's catalogue serves.
    #[default]
    Installed,
    /// Those of a short list that is built into the agent.
    Listed,
    /// None.
    None,
}

impl TokenForTasks {
    /// As the agent reads it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Listed => "listed",
            Self::None => "none",
        }
    }
}

/// Security of a pool's pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Security {
    /// The Pod Security Standard that the pods keep.
    #[serde(default)]
    pub profile: Profile,
    /// The network policy of the pods.
    #[serde(default)]
    pub network_policy: NetworkPolicySettings,
}

/// Who makes the network policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NetworkPolicyMode {
    /// The operator, one for the pool.
    #[default]
    Managed,
    /// Nobody, or somebody else.
    None,
}

/// The network policy of the pool's pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicySettings {
    /// Whether the operator makes one.
    #[serde(default)]
    pub mode: NetworkPolicyMode,
    /// Destinations beside DNS, the operator, the service and the public Internet on port 443.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub allow_egress: Vec<Egress>,
}

/// A destination that the pods may reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// The addresses, for example `10.20.0.0/16`.
    #[schemars(length(min = 1, max = 64))]
    pub cidr: String,
    /// TCP ports; every port when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(range(min = 1, max = 65535)))]
    pub ports: Vec<i32>,
}
