//! The label by which the Service finds the leading operator.

use crate::names;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

/// Labels the own pod as the leader, after the label was taken from all others.
///
/// # Errors
/// The API server refused.
pub async fn lead(client: &Client, namespace: &str, own: &str) -> Result<(), kube::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let leaders = ListParams::default().labels(&format!("{}=true", names::LEADER));
    for pod in api.list_metadata(&leaders).await?.items {
        if pod.name_any() != own {
            label(&api, &pod.name_any(), false).await?;
        }
    }
    label(&api, own, true).await
}

/// Takes the label from the own pod.
///
/// # Errors
/// The API server refused.
pub async fn resign(client: &Client, namespace: &str, own: &str) -> Result<(), kube::Error> {
    label(&Api::namespaced(client.clone(), namespace), own, false).await
}

async fn label(api: &Api<Pod>, name: &str, leads: bool) -> Result<(), kube::Error> {
    let value = if leads { json!("true") } else { json!(null) };
    let patch = json!({ "metadata": { "labels": { names::LEADER: value } } });
    match api
        .patch_metadata(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 && !leads => Ok(()),
        Err(error) => Err(error),
    }
}
