//! PoolConnection: a service, the credential for it, and who may use it.

use super::conditions::Condition;
use super::credentials::Credentials;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Where a pool service is, how the operator authenticates there, and which namespaces may use which pools.
/// Written by cluster administrators, only in the operator's namespace.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dayfly.dev",
    version = "v1alpha1",
    kind = "PoolConnection",
    plural = "poolconnections",
    shortname = "pconn",
    category = "dayfly",
    namespaced,
    status = "PoolConnectionStatus",
    derive = "PartialEq",
    doc = "A pool service, the credential for it, and which namespaces may use which of its pools.",
    validation = Rule::new("size(self.metadata.name) <= 50").message("the name must not be longer than 50 characters"),
    printcolumn = r#"{"name":"URL","type":"string","jsonPath":".spec.url"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Credential","type":"string","jsonPath":".status.conditions[?(@.type==\"CredentialsValid\")].reason"}"#,
    printcolumn = r#"{"name":"Expires","type":"string","jsonPath":".status.credentialExpires"}"#,
    printcolumn = r#"{"name":"Pools","type":"integer","jsonPath":".status.poolsInUse"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[x_kube(
    validation = Rule::new("self.allowInsecure || self.url.startsWith('https://')")
        .message("url must begin with https://; set allowInsecure for plain http"),
    validation = Rule::new("self.allowInsecure || !has(self.credentials.servicePrincipal) || self.credentials.servicePrincipal.authorityHost.startsWith('https://')")
        .message("authorityHost must begin with https://; set allowInsecure for plain http"),
    validation = Rule::new("self.allowInsecure || !has(self.credentials.workloadIdentity) || self.credentials.workloadIdentity.authorityHost.startsWith('https://')")
        .message("authorityHost must begin with https://; set allowInsecure for plain http"),
    validation = Rule::new("self.url == oldSelf.url").message("url is immutable; create another PoolConnection"),
    validation = Rule::new("self.allowInsecure == oldSelf.allowInsecure")
        .message("allowInsecure is immutable; create another PoolConnection"),
)]
#[serde(rename_all = "camelCase")]
pub struct PoolConnectionSpec {
    /// The organization's or collection's URL.
    #[schemars(length(min = 8, max = 512))]
    #[x_kube(
        validation = Rule::new("self.matches('^https?://[^/@?#\\\\s]+(/[^@?#\\\\s]*)?$')")
            .message("url must be http(s)://host[:port][/path], without user, query or fragment"),
        validation = Rule::new("!self.endsWith('/')").message("url must not end with a slash"),
    )]
    pub url: String,
    /// Whether the service may be spoken to without TLS.
    #[serde(default)]
    pub allow_insecure: bool,
    /// What the operator authenticates with. It never reaches a pod.
    pub credentials: Credentials,
    /// Certificates that the service's chain may end in, beside the system's; looked up in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundle>,
    /// The proxy that the service is reached through, by the operator and by agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxySettings>,
    /// Lets the service say that something changed, so that it need not be asked for it: `POST /hooks/wake`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// How often the service may be asked; as often as it takes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_budget: Option<RequestBudget>,
    /// Which namespaces may use which pools; nobody when empty.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub allow: Vec<Allow>,
}

/// What a call of the hook must know: the password of HTTP Basic, whatever the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// A Secret in the connection's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
    /// The key in it.
    #[serde(default = "webhook_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn webhook_key() -> String {
    "secret".to_owned()
}

/// How often the service may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestBudget {
    /// Calls a minute, of all AgentPools of the connection together. Agents' own calls are not counted.
    #[schemars(range(min = 10, max = 100_000))]
    pub per_minute: i32,
}

/// A key of a Secret in the connection's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// The Secret.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A proxy, for each scheme.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.http) || has(self.https)")
        .message("a proxy must be given: http, https or both"),
)]
#[serde(rename_all = "camelCase")]
pub struct ProxySettings {
    /// The proxy's URL for http:// services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 512))]
    #[x_kube(
        validation = Rule::new("self.matches('^https?://[^/@?#\\\\s]+$')")
            .message("a proxy must be http(s)://host:port, without user and path"),
    )]
    pub http: Option<String>,
    /// The proxy's URL for https:// services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 512))]
    #[x_kube(
        validation = Rule::new("self.matches('^https?://[^/@?#\\\\s]+$')")
            .message("a proxy must be http(s)://host:port, without user and path"),
    )]
    pub https: Option<String>,
    /// Hosts, domains (with a dot in front) and networks that are reached without it.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub no_proxy: Vec<String>,
    /// A Secret with the keys `username` and `password`; looked up in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
}

/// A key of a ConfigMap in the connection's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaBundle {
    /// The ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub config_map_name: String,
    /// The key in it.
    #[serde(default = "ca_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn ca_key() -> String {
    "ca.crt".to_owned()
}

/// A grant: these namespaces may use these pools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Allow {
    /// Namespaces; `*` for every one.
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
    /// Pools of the service; `*` for every one.
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 256)))]
    pub pools: Vec<String>,
}

/// What the operator knows of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolConnectionStatus {
    /// The generation that the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How many pools are watched through it.
    #[serde(default)]
    pub pools_in_use: i32,
    /// When the credential ends, if somebody said so: the certificate, the service, or the Secret's annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub credential_expires: Option<String>,
    /// Registered identities without a pod, of all AgentPools of the connection: so many agents can start without
    /// the credential.
    #[serde(default)]
    pub identities_in_reserve: i32,
    /// What the service said about how often it may be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimitStatus>,
    /// Ready, CredentialsValid, Reachable, Throttled, WildcardGrant.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// What the service said about how often it may be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitStatus {
    /// How much there is in a period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// How much of it is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<i64>,
    /// Before then it wants to be left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub retry_after: Option<String>,
}

impl PoolConnectionSpec {
    /// The grants that name everybody, or everything.
    pub fn wildcard_grants(&self) -> Vec<String> {
        let star = |names: &[String]| names.iter().any(|name| name == "*");
        let grants = self.allow.iter().enumerate();
        grants
            .filter_map(
                |(index, grant)| match (star(&grant.namespaces), star(&grant.pools)) {
                    (true, true) => Some(format!(
                        "allow[{index}]: every namespace may use every pool"
                    )),
                    (true, false) => Some(format!(
                        "allow[{index}]: every namespace may use {}",
                        grant.pools.join(", ")
                    )),
                    (false, true) => Some(format!(
                        "allow[{index}]: {} may use every pool",
                        grant.namespaces.join(", ")
                    )),
                    (false, false) => None,
                },
            )
            .collect()
    }

    /// Whether an AgentPool of this namespace may use this pool. Pool names are compared as the service
    /// compares them: without regard to case.
    pub fn allows(&self, namespace: &str, pool: &str) -> bool {
        self.allow.iter().any(|grant| {
            grant.namespaces.iter().any(|n| n == "*" || n == namespace)
                && grant
                    .pools
                    .iter()
                    .any(|p| p == "*" || p.eq_ignore_ascii_case(pool))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(allow: &[(&str, &str)]) -> PoolConnectionSpec {
        PoolConnectionSpec {
            url: "https://dev.example/contoso".to_owned(),
            allow_insecure: false,
            credentials: Credentials::default(),
            ca_bundle: None,
            proxy: None,
            webhook: None,
            request_budget: None,
            allow: allow
                .iter()
                .map(|(namespace, pool)| Allow {
                    namespaces: vec![(*namespace).to_owned()],
                    pools: vec![(*pool).to_owned()],
                })
                .collect(),
        }
    }

    #[test]
    fn nobody_is_allowed_unless_a_grant_names_both_namespace_and_pool() {
        assert!(!spec(&[]).allows("ci", "linux"));
        let one = spec(&[("ci", "Linux"), ("release", "big")]);
        assert!(one.allows("ci", "linux"));
        assert!(!one.allows("ci", "big"), "grants are not mixed");
        assert!(!one.allows("other", "linux"));
        assert!(spec(&[("*", "*")]).allows("any", "pool"));
    }

    #[test]
    fn a_grant_to_everybody_or_of_everything_is_named() {
        assert!(spec(&[("ci", "linux")]).wildcard_grants().is_empty());
        let wide = spec(&[("ci", "linux"), ("*", "big"), ("ci", "*"), ("*", "*")]);
        assert_eq!(
            wide.wildcard_grants(),
            [
                "allow[1]: every namespace may use big",
                "allow[2]: ci may use every pool",
                "allow[3]: every namespace may use every pool",
            ]
        );
    }
}
