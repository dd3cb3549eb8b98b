//! The custom resources, `dayfly.dev/v1alpha1`.
//!
//! The YAML in `crds/` and in the chart is what [`yaml`] prints; a test fails when the two differ.

// `KubeSchema` repeats each struct inside of a function, where nothing is reachable.
#![allow(unreachable_pub)]

pub mod conditions;
pub mod connection;
pub mod credentials;
pub mod lifecycle;
pub mod pool;
pub mod scaling;
pub mod security;
pub mod span;
pub mod status;
pub mod template;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// Both definitions, in the order in which they are installed.
pub fn documents() -> Vec<CustomResourceDefinition> {
    vec![connection::PoolConnection::crd(), pool::AgentPool::crd()]
}

/// The definitions as one YAML stream; only the one whose plural name is given, if any.
///
/// # Errors
/// Writing YAML fails, which a definition that compiles does not cause.
pub fn yaml(plural: Option<&str>) -> Result<String, serde_yaml_ng::Error> {
    let mut text = String::new();
    for document in documents() {
        if plural.is_none_or(|wanted| wanted == document.spec.names.plural) {
            text.push_str("---\n");
            text.push_str(&serde_yaml_ng::to_string(&document)?);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, the types changed: run `make crds` and review the difference in `crds/`.
    #[test]
    fn the_committed_definitions_are_the_generated_ones() {
        for (plural, committed) in [
            (
                "agentpools",
                include_str!("../../../crds/dayfly.dev_agentpools.yaml"),
            ),
            (
                "poolconnections",
                include_str!("../../../crds/dayfly.dev_poolconnections.yaml"),
            ),
        ] {
            assert!(
                yaml(Some(plural)).unwrap() == committed,
                "crds/ is stale for {plural}: run `make crds`"
            );
        }
    }

    #[test]
    fn no_integer_carries_a_format_that_api_servers_warn_about() {
        assert!(!yaml(None).unwrap().contains("format: uint"));
    }

    #[test]
    fn a_definition_fits_into_the_annotation_of_kubectl_apply() {
        for document in documents() {
            assert!(serde_json::to_string(&document).unwrap().len() < 200_000);
        }
    }
}
