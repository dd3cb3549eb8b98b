//! What a connection authenticates with.

use super::connection::SecretKey;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Exactly one kind of credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("[has(self.personalAccessToken), has(self.servicePrincipal), has(self.workloadIdentity)].filter(given, given).size() == 1")
        .message("exactly one credential must be given: personalAccessToken, servicePrincipal or workloadIdentity"),
)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// A personal access token that may read and manage agent pools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personal_access_token: Option<SecretKey>,
    /// A service principal of Entra ID that proves itself with a secret or a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_principal: Option<ServicePrincipal>,
    /// A service principal or managed identity of Entra ID that trusts this cluster's service-account tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<WorkloadIdentity>,
}

/// A service principal with a secret or a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.secretKey) != has(self.certificateKey)")
        .message("either secretKey or certificateKey must be given"),
)]
#[serde(rename_all = "camelCase")]
pub struct ServicePrincipal {
    /// The tenant's id.
    #[schemars(length(min = 36, max = 36))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')").message("tenantId must be a GUID"))]
    pub tenant_id: String,
    /// The application's (client's) id.
    #[schemars(length(min = 36, max = 36))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')").message("clientId must be a GUID"))]
    pub client_id: String,
    /// A Secret in the connection's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
    /// The key in it that holds the client's secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_key: Option<String>,
    /// The key in it that holds, in PEM, the private key (RSA, not encrypted) and its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub certificate_key: Option<String>,
    /// Where tokens are asked for.
    #[serde(default = "public_authority")]
    #[schemars(length(min = 8, max = 512))]
    #[x_kube(
        validation = Rule::new("self.matches('^https?://[^/@?#\\\\s]+(/[^@?#\\\\s]*[^/@?#\\\\s])?$')")
            .message("authorityHost must be http(s)://host[:port][/path], without user, query or slash at the end"),
    )]
    pub authority_host: String,
}

/// A principal that trusts this cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadIdentity {
    /// The tenant's id.
    #[schemars(length(min = 36, max = 36))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')").message("tenantId must be a GUID"))]
    pub tenant_id: String,
    /// The application's (client's) id.
    #[schemars(length(min = 36, max = 36))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')").message("clientId must be a GUID"))]
    pub client_id: String,
    /// Where tokens are asked for.
    #[serde(default = "public_authority")]
    #[schemars(length(min = 8, max = 512))]
    #[x_kube(
        validation = Rule::new("self.matches('^https?://[^/@?#\\\\s]+(/[^@?#\\\\s]*[^/@?#\\\\s])?$')")
            .message("authorityHost must be http(s)://host[:port][/path], without user, query or slash at the end"),
    )]
    pub authority_host: String,
    /// Whom the operator's projected service-account token must be for; another one is not sent.
    #[serde(default = "token_exchange")]
    #[schemars(length(min = 1, max = 512))]
    pub audience: String,
}

fn public_authority() -> String {
    "https://login.microsoftonline.com".to_owned()
}

fn token_exchange() -> String {
    "api://AzureADTokenExchange".to_owned()
}

/// Where a tenant gives out tokens.
pub fn token_url(authority_host: &str, tenant_id: &str) -> String {
    format!("{authority_host}/{tenant_id}/oauth2/v2.0/token")
}
