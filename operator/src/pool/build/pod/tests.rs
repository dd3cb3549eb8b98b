use super::*;
use crate::crd::pool::AgentPool;
use crate::pool::validate::validate;
use serde_json::{Value, json};

fn places() -> Places {
    Places {
        agent_image: "registry.example/agent:1".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        identity_url: "https://dayfly-operator.dayfly-system.svc:8443".to_owned(),
        identity_ca: "PEM".to_owned(),
        agent_log: None,
        operator_namespace: "dayfly-system".to_owned(),
    }
}

#[allow(clippy::needless_pass_by_value)] // `json!` literals read better by value.
fn built(template: Value) -> Pod {
    let object: AgentPool = serde_json::from_value(json!({
        "apiVersion": "dayfly.dev/v1alpha1", "kind": "AgentPool",
        "metadata": { "name": "linux", "namespace": "ci", "uid": "u-1" },
        "spec": { "connection": "c", "pool": "p", "templates": [template] },
    }))
    .unwrap();
    let pool = validate(&object, "").unwrap();
    assert_eq!(pool.templates[0].refused, None);
    let now = Timestamp::from_millisecond(1_795_000_000_123).unwrap();
    let mut pod = pod(&pool, &pool.templates[0], "linux-abc", &places(), now);
    // The hash changes with every template and says nothing to a reader.
    pod.metadata
        .annotations
        .as_mut()
        .unwrap()
        .insert(names::POD_HASH.to_owned(), "HASH".to_owned());
    pod
}

#[test]
fn the_smallest_template() {
    insta::assert_yaml_snapshot!(built(json!({ "name": "default" })));
}

#[test]
fn a_template_with_an_image_resources_and_a_sidecar() {
    insta::assert_yaml_snapshot!(built(json!({
        "name": "java",
        "pod": {
            "metadata": { "labels": { "team": "a" } },
            "spec": {
                "nodeSelector": { "disk": "ssd" },
                "initContainers": [{ "name": "docker", "image": "dind:1", "restartPolicy": "Always" }],
                "containers": [{
                    "name": "job",
                    "image": "registry.example/java:21",
                    "env": [{ "name": "MAVEN_OPTS", "value": "-Xmx1g" }],
                    "resources": { "limits": { "memory": "1Gi" } },
                    "volumeMounts": [{ "name": "cache", "mountPath": "/cache" }],
                }],
                "volumes": [{ "name": "cache", "emptyDir": {} }],
            },
        },
    })));
}

#[test]
fn a_cache_volume_is_mounted_where_no_step_sees_it() {
    let spec = built(json!({ "name": "default", "pod": { "spec": {
        "containers": [{
            "name": "agent",
            "volumeMounts": [{ "name": "pipeline-cache", "mountPath": "/dayfly/cache" }],
        }],
        "volumes": [{
            "name": "pipeline-cache",
            "persistentVolumeClaim": { "claimName": "pipeline-cache" },
        }],
    } } }))
    .spec
    .unwrap();
    let mounts = |container: &Container| {
        let mut mounts = container.volume_mounts.iter().flatten();
        mounts.any(|mount| mount.name == "pipeline-cache" && mount.mount_path == "/dayfly/cache")
    };
    assert!(!mounts(&spec.containers[0]) && mounts(&spec.containers[1]));
}

#[test]
fn only_the_agent_sees_token_pages_and_the_whole_work_volume() {
    for template in [
        json!({ "name": "default" }),
        json!({ "name": "other", "pod": { "spec": { "containers": [{ "name": "job", "image": "x" }] } } }),
    ] {
        let spec = built(template).spec.unwrap();
        let job = &spec.containers[0];
        assert_eq!(job.name, "job");
        for mount in job.volume_mounts.iter().flatten() {
            assert!(
                !matches!(
                    mount.name.as_str(),
                    "dayfly-token" | "dayfly-pages" | "dayfly-tmp"
                ),
                "{mount:?}"
            );
            match mount.name.as_str() {
                "dayfly-work" if mount.read_only == Some(true) => {
                    assert_eq!(mount.sub_path.as_deref(), Some("tasks"));
                }
                "dayfly-work" => assert_eq!(mount.sub_path.as_deref(), Some("work")),
                "dayfly-socket" | "dayfly-bin" => assert_eq!(mount.read_only, Some(true)),
                _ => {}
            }
        }
        let secret = |container: &Container| {
            container
                .env
                .iter()
                .flatten()
                .any(|variable| variable.name == "DAYFLY_OPERATOR_URL")
        };
        assert!(!secret(job) && secret(&spec.containers[1]));
        assert_eq!(spec.automount_service_account_token, Some(false));
    }
}
