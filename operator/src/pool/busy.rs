//! listening -> busy: the registration is disabled, so that no second job can be assigned, and the pod is patched,
//! once.

use crate::clock;
use crate::connection::{Connection, Link};
use crate::context::Context;
use crate::deadline::within;
use crate::memory::StageTimes;
use crate::names;
use dayfly_client::Error;
use dayfly_wire::date;
use dayfly_wire::ids::{AgentId, PoolId, RequestId};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Map, Value, json};

/// Disables an agent.
///
/// # Errors
/// The service refused; the agent may be given a second job unless its registration is for one only.
pub async fn disable(
    context: &Context,
    connection: &Connection,
    link: &Link,
    pool: PoolId,
    identity: &str,
    agent: AgentId,
) -> Result<(), Error> {
    let before = clock::now();
    let disabled = link.client.set_agent_enabled(pool, agent, false).await;
    connection.learn(&context.metrics, "disable", &disabled, clock::now());
    match disabled {
        Ok(()) => {
            context.memory.disabled(identity, before);
            Ok(())
        }
        Err(Error::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Patches the pod, unless that was done. The uid makes sure that it is the right one.
pub async fn patch(
    context: &Context,
    namespace: &str,
    identity: &str,
    uid: &str,
    request: Option<RequestId>,
) {
    let Some(mut times) = context.memory.take_patch(identity) else {
        return;
    };
    times.request = times.request.or(request);
    let api: Api<Pod> = Api::namespaced(context.kube.clone(), namespace);
    let patched = within(api.patch(
        identity,
        &PatchParams::default(),
        &Patch::Merge(busy_patch(uid, &times)),
    ))
    .await;
    context.metrics.kube_write("patch", "pods", &patched);
    match patched {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        Err(error) => {
            tracing::warn!(identity, %error, "failed to mark a pod as busy; it is tried again");
            context.memory.return_patch(identity);
        }
    }
}

fn busy_patch(uid: &str, times: &StageTimes) -> Value {
    let StageTimes {
        claimed,
        listening,
        accepted,
        request,
    } = times;
    let mut annotations: Map<String, Value> = [
        (names::CLAIMED_AT, claimed),
        (names::LISTENING_AT, listening),
        (names::ACCEPTED_AT, accepted),
    ]
    .into_iter()
    .filter_map(|(name, at)| Some((name.to_owned(), date::format((*at)?).into())))
    .collect();
    if let Some(request) = request {
        annotations.insert(names::REQUEST_ID.to_owned(), request.to_string().into());
    }
    annotations.insert(names::DO_NOT_DISRUPT.to_owned(), "true".into());
    annotations.insert(names::SAFE_TO_EVICT.to_owned(), "false".into());
    json!({ "metadata": {
        "uid": uid,
        "labels": { names::PHASE: names::PHASE_BUSY },
        "annotations": annotations,
    } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn the_patch_carries_the_stages_and_keeps_the_pod_where_it_is() {
        let at = |ms| Timestamp::from_millisecond(ms).ok();
        let times = StageTimes {
            claimed: at(1),
            listening: at(2),
            accepted: at(3),
            request: Some(RequestId(7)),
        };
        let patch = busy_patch("u-1", &times);
        let annotations = &patch["metadata"]["annotations"];
        assert_eq!(patch["metadata"]["uid"], "u-1");
        assert_eq!(patch["metadata"]["labels"]["dayfly.dev/phase"], "busy");
        assert_eq!(
            annotations["dayfly.dev/accepted-at"],
            "1970-01-01T00:00:00.003Z"
        );
        assert_eq!(annotations["dayfly.dev/request-id"], "7");
        assert_eq!(annotations["karpenter.sh/do-not-disrupt"], "true");
        assert_eq!(
            annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"],
            "false"
        );
    }
}
