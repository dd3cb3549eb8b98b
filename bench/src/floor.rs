//! What the cluster takes in any case: a pod of the same shape that only tells when it ran.
#![allow(clippy::disallowed_methods)] // The clock is what this is about.

use crate::rounds::clock;
use anyhow::{Context, Result};
use dayfly_e2e::deadline::until;
use dayfly_e2e::scenario::Scenario;
use dayfly_e2e::stages::milliseconds;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::Api;
use kube::api::{DeleteParams, LogParams, ObjectMeta, PostParams};
use std::time::Duration;

/// How long a pod may take on a busy machine.
const POD_LIMIT: Duration = Duration::from_secs(60);

/// How much of an agent's pod a floor has.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// Its containers: images, users, requests.
    Bare,
    /// Its volumes too.
    SameVolumes,
}

/// Starts one and removes it. Milliseconds from the call that creates it until its later container ran.
pub(crate) async fn start(
    scenario: &Scenario,
    agent: &PodSpec,
    shape: Shape,
    number: u32,
) -> Result<f64> {
    let pods: Api<Pod> = Api::namespaced(scenario.kube.clone(), &scenario.name);
    let kind = match shape {
        Shape::Bare => "bare",
        Shape::SameVolumes => "volumes",
    };
    let name = format!("floor-{kind}-{number}");
    let pod = Pod {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(spec(agent, shape)),
        status: None,
    };
    let begun = Timestamp::now();
    pods.create(&PostParams::default(), &pod).await?;
    until(&format!("pod {name} to end"), POD_LIMIT, || async {
        let phase = pods
            .get(&name)
            .await?
            .status
            .and_then(|status| status.phase);
        match phase.as_deref() {
            Some("Succeeded") => Ok(Some(())),
            Some("Failed") => anyhow::bail!("pod {name} failed"),
            _ => Ok(None),
        }
    })
    .await?;
    let mut latest = begun;
    for container in &agent.containers {
        let query = LogParams {
            container: Some(container.name.clone()),
            ..LogParams::default()
        };
        latest = latest.max(clock(&pods.logs(&name, &query).await?)?);
    }
    let delete = DeleteParams::default().grace_period(0);
    pods.delete(&name, &delete).await?;
    until(&format!("pod {name} to be gone"), POD_LIMIT, || async {
        Ok(pods.get_opt(&name).await?.is_none().then_some(()))
    })
    .await
    .context("the floor did not clean up")?;
    Ok(milliseconds(begun, latest))
}

fn spec(agent: &PodSpec, shape: Shape) -> PodSpec {
    let with_volumes = matches!(shape, Shape::SameVolumes);
    let containers = agent.containers.iter().map(|container| Container {
        name: container.name.clone(),
        image: container.image.clone(),
        image_pull_policy: container.image_pull_policy.clone(),
        command: Some(vec!["/bin/sh".to_owned(), "-c".to_owned()]),
        args: Some(vec!["date +%s.%N".to_owned()]),
        resources: container.resources.clone(),
        security_context: container.security_context.clone(),
        volume_mounts: container.volume_mounts.clone().filter(|_| with_volumes),
        ..Container::default()
    });
    PodSpec {
        containers: containers.collect(),
        restart_policy: agent.restart_policy.clone(),
        security_context: agent.security_context.clone(),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        volumes: agent.volumes.clone().filter(|_| with_volumes),
        ..PodSpec::default()
    }
}
