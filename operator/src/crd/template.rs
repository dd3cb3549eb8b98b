//! A pool's templates: which capabilities an agent offers, and what its pod looks like.

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One kind of agent of a pool. A job is claimed by the first template whose capabilities satisfy its demands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// Unique in the pool.
    #[schemars(
        length(min = 1, max = 40),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// What agents of this template offer beside the built-in capabilities.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "capabilities")]
    #[x_kube(
        validation = Rule::new("self.all(k, size(k) <= 128 && k.matches('^[A-Za-z0-9_.]+$'))")
            .message("a capability's name consists of letters, digits, '_' and '.'"),
        validation = Rule::new("self.all(k, !k.matches('(?i)token|secret|password'))")
            .message("capabilities are visible to everyone who sees the pool; a name with token, secret or password is refused"),
        validation = Rule::new("self.all(k, !k.matches('(?i)^dayfly[.]'))")
            .message("capabilities that begin with Dayfly. are set by the operator"),
    )]
    pub capabilities: BTreeMap<String, String>,
    /// The most agents of this template; the pool's limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 5000))]
    pub max_agents: Option<i32>,
    /// Idle agents to keep; for the first template `scaling.minIdle` is used when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 5000))]
    pub min_idle: Option<i32>,
    /// A PodTemplateSpec that is merged into the agent's pod; containers `agent` and `job` by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pod_template")]
    pub pod: Option<serde_json::Value>,
}

fn capabilities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 1024 },
    })
}

/// Only what rules look at is declared. The full schema of a pod is larger than `kubectl apply` can annotate,
/// and would be tied to one version of Kubernetes; the operator validates the result instead.
fn pod_template(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "metadata": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
            "spec": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "properties": {
                    "hostNetwork": { "type": "boolean" },
                    "hostPID": { "type": "boolean" },
                    "hostIPC": { "type": "boolean" },
                    "shareProcessNamespace": { "type": "boolean" },
                },
            },
        },
    })
}
