//! The user's PodTemplateSpec: what is theirs, what is ours, and what is refused.

use crate::crd::security::Profile;
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, Volume};
use serde_json::Value;

/// Containers that a template may describe.
const CONTAINERS: [&str; 2] = ["agent", "job"];
/// Names with this prefix are ours.
const VOLUMES: &str = "dayfly-";
/// Environment variables with this prefix are ours.
const VARIABLES: &str = "DAYFLY_";

/// Why a template's pod is refused; a sentence that says what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeRefusal(pub String);

type Check = Result<(), MergeRefusal>;

/// Reads and checks a template's pod.
///
/// # Errors
/// Something that is ours is set, or something would break the isolation between job and agent.
pub fn checked(pod: Option<&Value>, profile: Profile) -> Result<PodTemplateSpec, MergeRefusal> {
    let Some(value) = pod else {
        return Ok(PodTemplateSpec::default());
    };
    let template: PodTemplateSpec = serde_json::from_value(value.clone())
        .map_err(|error| MergeRefusal(format!("the pod cannot be read: {error}")))?;
    let understood = serde_json::to_value(&template).unwrap_or_default();
    if let Some(path) = unknown_field(value, &understood, "pod") {
        return refuse(format!(
            "{path} is not a field of a pod; check its spelling"
        ));
    }
    metadata(&template)?;
    if let Some(spec) = &template.spec {
        pod_level(spec, profile)?;
        for volume in spec.volumes.iter().flatten() {
            check_volume(volume, profile)?;
        }
        for container in &spec.containers {
            check_container(container, profile)?;
        }
        for container in spec.init_containers.iter().flatten() {
            check_init_container(container, profile)?;
        }
    }
    Ok(template)
}

fn refuse<T>(problem: impl Into<String>) -> Result<T, MergeRefusal> {
    Err(MergeRefusal(problem.into()))
}

fn ensure(fine: bool, problem: impl FnOnce() -> String) -> Check {
    if fine { Ok(()) } else { refuse(problem()) }
}

fn metadata(template: &PodTemplateSpec) -> Check {
    let Some(metadata) = &template.metadata else {
        return Ok(());
    };
    let maps = [metadata.labels.as_ref(), metadata.annotations.as_ref()];
    let ours = maps
        .into_iter()
        .flatten()
        .flat_map(|map| map.keys())
        .find(|key| key.starts_with("dayfly.dev/") || key.as_str() == crate::names::MANAGED_BY);
    ensure(ours.is_none(), || {
        format!("{} is set by the operator", ours.map_or("", String::as_str))
    })
}

fn pod_level(spec: &PodSpec, profile: Profile) -> Check {
    let privileged = profile == Profile::Privileged;
    let host = [spec.host_network, spec.host_pid, spec.host_ipc].contains(&Some(true));
    ensure(!host || privileged, || {
        "hostNetwork, hostPID and hostIPC need security.profile Privileged".to_owned()
    })?;
    ensure(spec.share_process_namespace != Some(true), || {
        "shareProcessNamespace is refused: it would show the agent's process to the job".to_owned()
    })?;
    ensure(
        spec.restart_policy
            .as_deref()
            .is_none_or(|policy| policy == "Never"),
        || "restartPolicy is Never: an agent lives for one job".to_owned(),
    )?;
    ensure(spec.automount_service_account_token != Some(true), || {
        "automountServiceAccountToken is refused: jobs get no cluster credential".to_owned()
    })?;
    ensure(spec.termination_grace_period_seconds.is_none(), || {
        "set lifecycle.terminationGracePeriod instead of terminationGracePeriodSeconds".to_owned()
    })?;
    ensure(spec.ephemeral_containers.is_none(), || {
        "ephemeralContainers cannot be in a template".to_owned()
    })
}

fn check_volume(volume: &Volume, profile: Profile) -> Check {
    ensure(!volume.name.starts_with(VOLUMES), || {
        format!(
            "volume {}: names that begin with {VOLUMES} are the operator's",
            volume.name
        )
    })?;
    ensure(
        volume.host_path.is_none() || profile == Profile::Privileged,
        || {
            format!(
                "volume {}: hostPath needs security.profile Privileged",
                volume.name
            )
        },
    )?;
    let sources = volume
        .projected
        .iter()
        .flat_map(|projected| projected.sources.iter().flatten());
    let audience = sources
        .filter_map(|source| source.service_account_token.as_ref())
        .any(|token| token.audience.as_deref() == Some(dayfly_wire::identity::AUDIENCE));
    ensure(!audience, || {
        format!(
            "volume {}: a token of audience dayfly is the agent's alone",
            volume.name
        )
    })
}

fn check_container(container: &Container, profile: Profile) -> Check {
    let name = container.name.as_str();
    ensure(CONTAINERS.contains(&name), || {
        format!(
            "container {name}: only agent and job may be described; a sidecar is an init container with restartPolicy Always"
        )
    })?;
    ensure(
        container.command.is_none() && container.args.is_none(),
        || format!("container {name}: command and args are the operator's"),
    )?;
    ensure(
        name == "job"
            || (container.image.is_none()
                && container.env.is_none()
                && container.env_from.is_none()),
        || "container agent: image and environment are the operator's".to_owned(),
    )?;
    let security = container.security_context.as_ref();
    ensure(
        security.is_none_or(|s| s.run_as_user.is_none() && s.run_as_group.is_none()),
        || {
            format!(
                "container {name}: agent and job share one user and group; set them in the pod's securityContext"
            )
        },
    )?;
    ensure(name == "job" || security.is_none(), || {
        "container agent: its securityContext is the operator's".to_owned()
    })?;
    ensure(container.lifecycle.is_none(), || {
        format!("container {name}: lifecycle hooks would run beside the first process")
    })?;
    common(container, profile)
}

fn check_init_container(container: &Container, profile: Profile) -> Check {
    ensure(!container.name.starts_with(VOLUMES), || {
        format!(
            "init container {}: names that begin with {VOLUMES} are the operator's",
            container.name
        )
    })?;
    ensure(!CONTAINERS.contains(&container.name.as_str()), || {
        format!("init container {}: the name is taken", container.name)
    })?;
    common(container, profile)
}

fn common(container: &Container, profile: Profile) -> Check {
    let name = &container.name;
    let mount = container
        .volume_mounts
        .iter()
        .flatten()
        .find(|mount| mount.name.starts_with(VOLUMES));
    ensure(mount.is_none(), || {
        format!("container {name}: volumes that begin with {VOLUMES} cannot be mounted")
    })?;
    let device = container
        .volume_devices
        .iter()
        .flatten()
        .any(|device| device.name.starts_with(VOLUMES));
    ensure(!device, || {
        format!("container {name}: volumes that begin with {VOLUMES} cannot be mounted")
    })?;
    let variable = container
        .env
        .iter()
        .flatten()
        .find(|variable| variable.name.starts_with(VARIABLES));
    ensure(variable.is_none(), || {
        format!("container {name}: variables that begin with {VARIABLES} are the operator's")
    })?;
    let security = container.security_context.as_ref();
    ensure(
        security.and_then(|s| s.privileged) != Some(true) || profile == Profile::Privileged,
        || format!("container {name}: privileged needs security.profile Privileged"),
    )
}

/// The path of the first member that was given and not understood.
fn unknown_field(given: &Value, understood: &Value, path: &str) -> Option<String> {
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => {
            given.iter().find_map(|(key, value)| {
                let path = format!("{path}.{key}");
                match understood.get(key) {
                    Some(known) => unknown_field(value, known, &path),
                    // Empty and null members are dropped when written back.
                    None if is_empty(value) => None,
                    None => Some(path),
                }
            })
        }
        (Value::Array(given), Value::Array(understood)) => given
            .iter()
            .zip(understood)
            .enumerate()
            .find_map(|(index, (given, understood))| {
                unknown_field(given, understood, &format!("{path}[{index}]"))
            }),
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problem(pod: &Value, profile: Profile) -> Option<String> {
        checked(Some(pod), profile)
            .err()
            .map(|MergeRefusal(problem)| problem)
    }

    #[test]
    fn what_is_theirs_is_accepted() {
        let pod = json!({
            "metadata": { "labels": { "team": "a" } },
            "spec": {
                "nodeSelector": { "a": "b" }, "serviceAccountName": "builder", "restartPolicy": "Never",
                "containers": [
                    { "name": "job", "image": "x", "env": [{ "name": "A", "value": "b" }],
                      "resources": { "limits": { "memory": "1Gi" } } },
                    { "name": "agent", "resources": {} },
                ],
                "initContainers": [{ "name": "docker", "image": "dind", "restartPolicy": "Always" }],
                "volumes": [{ "name": "cache", "emptyDir": {} }],
            },
        });
        assert_eq!(problem(&pod, Profile::Restricted), None);
    }

    #[test]
    fn what_is_ours_or_breaks_the_isolation_is_refused_with_a_reason() {
        let container = |extra: Value| {
            let mut container = json!({ "name": "job" });
            container
                .as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            json!({ "spec": { "containers": [container] } })
        };
        for (pod, word) in [
            (json!({ "spec": { "hostNetwork": true } }), "Privileged"),
            (json!({ "spec": { "hostPID": true } }), "Privileged"),
            (
                json!({ "spec": { "shareProcessNamespace": true } }),
                "shareProcessNamespace",
            ),
            (
                json!({ "spec": { "restartPolicy": "Always" } }),
                "restartPolicy",
            ),
            (
                json!({ "spec": { "automountServiceAccountToken": true } }),
                "automount",
            ),
            (
                json!({ "spec": { "terminationGracePeriodSeconds": 5 } }),
                "lifecycle",
            ),
            (
                json!({ "spec": { "containers": [{ "name": "extra" }] } }),
                "restartPolicy Always",
            ),
            (
                json!({ "spec": { "containers": [{ "name": "agent", "image": "x" }] } }),
                "agent",
            ),
            (
                json!({ "spec": { "volumes": [{ "name": "dayfly-work" }] } }),
                "dayfly-",
            ),
            (
                json!({ "spec": { "volumes": [{ "name": "h", "hostPath": { "path": "/" } }] } }),
                "hostPath",
            ),
            (
                json!({ "spec": { "volumes": [{ "name": "t", "projected": { "sources": [
                    { "serviceAccountToken": { "audience": "dayfly", "path": "t" } }] } }] } }),
                "audience dayfly",
            ),
            (
                container(json!({ "securityContext": { "runAsUser": 0 } })),
                "share one user",
            ),
            (container(json!({ "command": ["x"] })), "command"),
            (
                container(
                    json!({ "volumeMounts": [{ "name": "dayfly-token", "mountPath": "/t" }] }),
                ),
                "dayfly-",
            ),
            (
                container(json!({ "env": [{ "name": "DAYFLY_SOCKET", "value": "x" }] })),
                "DAYFLY_",
            ),
            (
                container(json!({ "securityContext": { "privileged": true } })),
                "privileged",
            ),
            (
                json!({ "spec": { "initContainers": [
                    { "name": "i", "volumeMounts": [{ "name": "dayfly-bin", "mountPath": "/b" }] }] } }),
                "dayfly-",
            ),
            (
                json!({ "metadata": { "labels": { "dayfly.dev/pool": "x" } } }),
                "dayfly.dev/pool",
            ),
            (
                json!({ "spec": { "nodeSelektor": { "a": "b" } } }),
                "pod.spec.nodeSelektor",
            ),
            (
                container(json!({ "imagePullpolicy": "Always" })),
                "imagePullpolicy",
            ),
            (json!({ "spec": { "containers": "x" } }), "cannot be read"),
        ] {
            let problem = problem(&pod, Profile::Restricted).unwrap_or_default();
            assert!(problem.contains(word), "{pod}: {problem:?}");
        }
    }

    #[test]
    fn a_privileged_profile_opens_host_namespaces_but_not_the_shared_process_namespace() {
        assert_eq!(
            problem(
                &json!({ "spec": { "hostNetwork": true } }),
                Profile::Privileged
            ),
            None
        );
        let shared = json!({ "spec": { "shareProcessNamespace": true } });
        assert!(problem(&shared, Profile::Privileged).is_some());
    }
}
