//! Why the job container ended, for an agent that lost it.

use dayfly_wire::identity::Termination;
use k8s_openapi::api::core::v1::Pod;

/// What the pod's status says of container `job`; `None` while it runs or when nothing is said yet. Pure.
pub fn termination(pod: &Pod) -> Option<Termination> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let status = statuses.iter().find(|status| status.name == "job")?;
    let terminated = status.state.as_ref()?.terminated.as_ref()?;
    let containers = pod
        .spec
        .as_ref()
        .map(|spec| spec.containers.as_slice())
        .unwrap_or_default();
    let memory_limit = containers
        .iter()
        .find(|container| container.name == "job")
        .and_then(|container| container.resources.as_ref()?.limits.as_ref()?.get("memory"))
        .map(|quantity| quantity.0.clone());
    Some(Termination {
        reason: terminated.reason.clone().unwrap_or_default(),
        exit_code: terminated.exit_code,
        memory_limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_out_of_memory_kill_is_told_with_the_limit() {
        let pod = |state: serde_json::Value| -> Pod {
            serde_json::from_value(serde_json::json!({
                "spec": { "containers": [
                    { "name": "job", "resources": { "limits": { "memory": "64Mi" } } }, { "name": "agent" }] },
                "status": { "containerStatuses": [
                    { "name": "job", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state }] },
            }))
            .unwrap()
        };
        let killed =
            pod(serde_json::json!({ "terminated": { "reason": "OOMKilled", "exitCode": 137 } }));
        let expected = Termination {
            reason: "OOMKilled".to_owned(),
            exit_code: 137,
            memory_limit: Some("64Mi".to_owned()),
        };
        assert_eq!(termination(&killed), Some(expected));
        assert_eq!(
            termination(&pod(serde_json::json!({ "running": {} }))),
            None
        );
        assert_eq!(termination(&Pod::default()), None);
    }
}
