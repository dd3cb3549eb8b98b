//! Names that `e2e/install.sh` and the tests agree on.

/// Where the operator runs, with the PoolConnections and their Secrets.
pub const OPERATOR_NAMESPACE: &str = "dayfly-system";
/// Where sealed keys lie.
pub const IDENTITIES_NAMESPACE: &str = "dayfly-identities";
/// Where the pool service runs.
pub const SERVICE_NAMESPACE: &str = "dayfly-pool";
/// The operator's Deployment and Service.
pub const OPERATOR: &str = "dayfly-operator";
/// The pool service's workload and Service.
pub const SERVICE: &str = "dayfly-pool";
/// The service's base URL as pods see it.
pub const SERVICE_URL: &str = "http://dayfly-pool.dayfly-pool.svc.cluster.local:8080/default";
/// The collection at the end of [`SERVICE_URL`].
pub const COLLECTION: &str = "default";
/// The project that jobs are queued in.
pub const PROJECT: &str = "demo";
/// Credential Secrets that the operator may read; `e2e/install.sh` lists them for the chart.
pub const CREDENTIAL_SECRETS: [&str; 4] =
    ["demo-pat", "e2e-pat", "e2e-pat-revoked", "e2e-pat-wrong"];
/// The Secret with which the service calls the operator's hook; in both namespaces.
pub const WAKE_SECRET: &str = "dayfly-wake";
