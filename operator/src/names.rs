//! Names that other programs and people see: labels, annotations, capabilities, objects.

/// Label: who made an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`].
pub const DAYFLY: &str = "dayfly";
/// Label: the AgentPool's name.
pub const POOL: &str = "dayfly.dev/pool";
/// Label: the AgentPool's uid.
pub const POOL_UID: &str = "dayfly.dev/pool-uid";
/// Label of a Secret: the AgentPool's namespace.
pub const NAMESPACE: &str = "dayfly.dev/namespace";
/// Label: the template's name.
pub const TEMPLATE: &str = "dayfly.dev/template";
/// Label of a pod: `starting` or `busy`.
pub const PHASE: &str = "dayfly.dev/phase";
/// See [`PHASE`].
pub const PHASE_STARTING: &str = "starting";
/// See [`PHASE`].
pub const PHASE_BUSY: &str = "busy";
/// Label that the Service selects the leading operator by.
pub const LEADER: &str = "dayfly.dev/leader";

/// Annotation: when the pod was asked for.
pub const CREATED_AT: &str = "dayfly.dev/created-at";
/// Annotation: when the identity was claimed.
pub const CLAIMED_AT: &str = "dayfly.dev/claimed-at";
/// Annotation: when the agent listened.
pub const LISTENING_AT: &str = "dayfly.dev/listening-at";
/// Annotation: when the agent took its job.
pub const ACCEPTED_AT: &str = "dayfly.dev/accepted-at";
/// Annotation: the request.
pub const REQUEST_ID: &str = "dayfly.dev/request-id";
/// Annotation: the hash of the template that the pod was made from.
pub const POD_HASH: &str = "dayfly.dev/template-hash";
/// Annotation of a Secret: the hash of what was registered.
pub const IDENTITY_HASH: &str = "dayfly.dev/identity-hash";
/// Annotation of a credential's Secret: when the credential ends, for services that do not tell.
pub const EXPIRES_AT: &str = "dayfly.dev/expires-at";
/// Annotation that keeps Karpenter from moving a pod.
pub const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";
/// Annotation that keeps the cluster autoscaler from moving a pod.
pub const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

/// User capability: whose registration it is.
pub const CAPABILITY_OWNER: &str = "Dayfly.Owner";
/// User capability: the template's name.
pub const CAPABILITY_TEMPLATE: &str = "Dayfly.Template";
/// User capability: the hash of what was registered.
pub const CAPABILITY_HASH: &str = "Dayfly.TemplateHash";

/// The finalizer of AgentPools.
pub const FINALIZER: &str = "dayfly.dev/deregister";
/// The name under which the operator applies and reports.
pub const FIELD_MANAGER: &str = "dayfly-operator";

/// The Lease that the leading operator holds.
pub const LEASE: &str = "dayfly-operator";
/// The Secret with the sealing keys.
pub const SEALING_SECRET: &str = "dayfly-sealing";
/// The Secret with the identity API's certificate authority.
pub const TLS_SECRET: &str = "dayfly-tls";
/// The key of an identity's Secret.
pub const SEALED_KEY: &str = "identity";

/// The agent version that is claimed: job demands ask for a minimum, which official versions set.
pub const AGENT_VERSION: &str = "4.260.0";

/// Whose registration it is, as one text: `cluster/namespace/name/uid`.
pub fn owner_mark(cluster: &str, namespace: &str, name: &str, uid: &str) -> String {
    format!("{cluster}/{namespace}/{name}/{uid}")
}

/// The AgentPool uid in an owner mark of this cluster; `None` for marks of others.
pub fn owner_uid<'a>(mark: &'a str, cluster: &str) -> Option<&'a str> {
    let mut parts = mark.split('/');
    let (first, uid) = (parts.next()?, parts.nth(2)?);
    (first == cluster && parts.next().is_none()).then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_mark_is_read_back_only_in_its_own_cluster() {
        let mark = owner_mark("c1", "ci", "linux", "u-1");
        assert_eq!(owner_uid(&mark, "c1"), Some("u-1"));
        assert_eq!(owner_uid(&mark, "c2"), None);
        assert_eq!(owner_uid("c1/ci/linux", "c1"), None);
        assert_eq!(owner_uid("c1/ci/linux/u-1/more", "c1"), None);
    }
}
