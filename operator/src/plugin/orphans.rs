//! What belongs to no AgentPool. Pure.

use super::table::aligned;
use crate::crd::pool::AgentPool;
use crate::names;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use serde::Serialize;
use std::collections::BTreeSet;

/// An object that belongs to no AgentPool.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Orphan {
    /// `Pod`, `Secret`, or `Registration` for those that the operator counted in the service.
    pub kind: &'static str,
    /// Its namespace; the AgentPool's that counted it.
    pub namespace: String,
    /// Its name; the AgentPool's that counted it.
    pub name: String,
    /// How many.
    pub count: i32,
}

/// Finds them. Every AgentPool of the cluster must be given: what belongs to one that is not is called an orphan.
pub fn find(
    pools: &[AgentPool],
    secrets: &[PartialObjectMeta<Secret>],
    pods: &[Pod],
) -> Vec<Orphan> {
    let living: BTreeSet<String> = pools.iter().filter_map(ResourceExt::uid).collect();
    let belongs = |uid: Option<&String>| uid.is_none_or(|uid| living.contains(uid));
    let secrets = secrets
        .iter()
        .filter(|secret| !belongs(secret.labels().get(names::POOL_UID)));
    let pods = pods
        .iter()
        .filter(|pod| !belongs(pod.labels().get(names::POOL_UID)));
    let counted = pools.iter().filter_map(|pool| {
        let count = pool.status.as_ref()?.agents.orphaned;
        (count > 0).then(|| Orphan {
            kind: "Registration",
            namespace: pool.namespace().unwrap_or_default(),
            name: pool.name_any(),
            count,
        })
    });
    let one = |kind, namespace: Option<String>, name| Orphan {
        kind,
        namespace: namespace.unwrap_or_default(),
        name,
        count: 1,
    };
    let mut found: Vec<Orphan> = secrets
        .map(|secret| one("Secret", secret.namespace(), secret.name_any()))
        .chain(pods.map(|pod| one("Pod", pod.namespace(), pod.name_any())))
        .chain(counted)
        .collect();
    found.sort();
    found
}

/// For people.
pub fn table(found: &[Orphan]) -> String {
    if found.is_empty() {
        return "nothing is left over\n".to_owned();
    }
    let rows = found.iter().map(|orphan| {
        vec![
            orphan.kind.to_owned(),
            orphan.namespace.clone(),
            orphan.name.clone(),
            orphan.count.to_string(),
        ]
    });
    aligned(
        &["KIND", "NAMESPACE", "NAME", "COUNT"],
        &rows.collect::<Vec<_>>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object<T: serde::de::DeserializeOwned>(kind: &str, name: &str, uid: &str) -> T {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": kind,
            "metadata": {"name": name, "namespace": "ci", "labels": {"dayfly.dev/pool-uid": uid}},
        }))
        .unwrap()
    }

    #[test]
    fn what_belongs_to_a_living_pool_is_left_out() {
        let mut pool = super::super::table::tests::pool();
        let secrets = [
            object("Secret", "mine", "u-1"),
            object("Secret", "left", "u-0"),
        ];
        let pods: [Pod; 2] = [object("Pod", "mine", "u-1"), object("Pod", "left", "u-0")];
        let found = find(std::slice::from_ref(&pool), &secrets, &pods);
        let names: Vec<_> = found
            .iter()
            .map(|orphan| (orphan.kind, orphan.name.as_str()))
            .collect();
        assert_eq!(names, [("Pod", "left"), ("Secret", "left")]);
        pool.status.as_mut().unwrap().agents.orphaned = 2;
        let found = find(&[pool], &[], &[]);
        assert!(
            table(&found).contains("Registration  ci"),
            "{}",
            table(&found)
        );
        assert_eq!(table(&[]), "nothing is left over\n");
    }
}
