//! The pod of an agent: `job` first, then `agent`.

use super::Places;
use super::harden::{harden_agent, harden_container, harden_installer, harden_pod};
use crate::names;
use crate::pool::validate::{ValidPool, ValidTemplate};
use dayfly_wire::identity::AUDIENCE;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, EnvVar, Pod, PodSpec, ProjectedVolumeSource,
    ResourceRequirements, ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use std::collections::BTreeMap;

/// Where the program is in the agent image.
const PROGRAM: &str = "/usr/local/bin/dayfly-agent";
/// Where the program is installed for other images.
const INSTALLED: &str = "/opt/dayfly";
/// The socket between agent and job container.
const SOCKET: &str = "/run/dayfly/step-host.sock";
/// How long a claim token lives; the kubelet renews it. The API server accepts no shorter time.
const TOKEN_SECONDS: i64 = 600;

/// Builds the pod of `identity`.
pub fn pod(
    pool: &ValidPool,
    template: &ValidTemplate,
    identity: &str,
    places: &Places,
    now: Timestamp,
) -> Pod {
    let user = template.pod.spec.clone().unwrap_or_default();
    let described = |name: &str| {
        let container = user
            .containers
            .iter()
            .find(|container| container.name == name);
        container.cloned().unwrap_or_default()
    };
    let (job, agent) = (described("job"), described("agent"));
    let foreign = job
        .image
        .as_ref()
        .is_some_and(|image| *image != places.agent_image);
    let image = job
        .image
        .clone()
        .unwrap_or_else(|| places.agent_image.clone());
    let mut spec = PodSpec {
        containers: vec![
            job_container(job, foreign, places, pool),
            agent_container(agent, identity, places, pool, &image),
        ],
        restart_policy: Some("Never".to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: i64::try_from(pool.termination_grace.as_secs()).ok(),
        ..user
    };
    for container in spec.init_containers.iter_mut().flatten() {
        harden_container(container, pool.security.profile);
    }
    if foreign {
        spec.init_containers
            .get_or_insert_default()
            .insert(0, installer(places));
    }
    spec.volumes
        .get_or_insert_default()
        .extend(volumes(foreign));
    harden_pod(&mut spec, pool.security.profile);
    Pod {
        metadata: metadata(pool, template, identity, now),
        spec: Some(spec),
        status: None,
    }
}

fn metadata(
    pool: &ValidPool,
    template: &ValidTemplate,
    identity: &str,
    now: Timestamp,
) -> ObjectMeta {
    let user = template.pod.metadata.clone().unwrap_or_default();
    let mut labels = user.labels.unwrap_or_default();
    labels.extend(text_map(&[
        (names::MANAGED_BY, names::DAYFLY),
        (names::POOL, &pool.name),
        (names::TEMPLATE, &template.name),
        (names::PHASE, names::PHASE_STARTING),
    ]));
    let mut annotations = user.annotations.unwrap_or_default();
    annotations.extend(text_map(&[
        (names::CREATED_AT, &dayfly_wire::date::format(now)),
        (names::POD_HASH, &template.pod_hash),
        ("kubectl.kubernetes.io/default-container", "job"),
    ]));
    ObjectMeta {
        name: Some(identity.to_owned()),
        namespace: Some(pool.namespace.clone()),
        labels: Some(labels),
        annotations: Some(annotations),
        owner_references: Some(vec![owner(pool)]),
        ..ObjectMeta::default()
    }
}

/// Who owns what is made for a pool.
pub fn owner(pool: &ValidPool) -> OwnerReference {
    OwnerReference {
        api_version: "dayfly.dev/v1alpha1".to_owned(),
        kind: "AgentPool".to_owned(),
        name: pool.name.clone(),
        uid: pool.uid.clone(),
        controller: Some(true),
        // Blocking would need the right to set finalizers under some admission plugins, for no gain.
        block_owner_deletion: None,
    }
}

fn job_container(user: Container, foreign: bool, places: &Places, pool: &ValidPool) -> Container {
    let program = if foreign {
        format!("{INSTALLED}/dayfly-agent")
    } else {
        PROGRAM.to_owned()
    };
    let mut environment = user.env.clone().unwrap_or_default();
    environment.retain(|variable| variable.name != "HOME");
    environment.extend(variables(&[
        ("DAYFLY_SOCKET", SOCKET),
        ("HOME", "/work/home"),
        ("DAYFLY_SCRIPTS", "/dayfly/scripts"),
        ("DAYFLY_TASKS", "/dayfly/tasks"),
    ]));
    let mut mounts = user.volume_mounts.clone().unwrap_or_default();
    mounts.extend([
        mount("dayfly-socket", "/run/dayfly", true),
        VolumeMount {
            sub_path: Some("work".to_owned()),
            ..mount("dayfly-work", "/work", false)
        },
        mount("dayfly-scripts", "/dayfly/scripts", false),
        // What runs with the job's token: the agent writes it, the job only reads it.
        VolumeMount {
            sub_path: Some("tasks".to_owned()),
            ..mount("dayfly-work", "/dayfly/tasks", true)
        },
    ]);
    if foreign {
        mounts.push(mount("dayfly-bin", INSTALLED, true));
    }
    let mut job = Container {
        name: "job".to_owned(),
        image: Some(
            user.image
                .clone()
                .unwrap_or_else(|| places.agent_image.clone()),
        ),
        image_pull_policy: user
            .image_pull_policy
            .clone()
            .or_else(|| (!foreign).then(|| places.pull_policy.clone())),
        command: Some(vec![program]),
        args: Some(vec!["step-host".to_owned()]),
        env: Some(environment),
        volume_mounts: Some(mounts),
        working_dir: user
            .working_dir
            .clone()
            .or_else(|| Some("/work".to_owned())),
        resources: Some(
            user.resources
                .clone()
                .unwrap_or_else(|| requests("50m", "64Mi")),
        ),
        ..user
    };
    harden_container(&mut job, pool.security.profile);
    job
}

fn agent_container(
    user: Container,
    identity: &str,
    places: &Places,
    pool: &ValidPool,
    job_image: &str,
) -> Container {
    let mut environment = variables(&[
        ("DAYFLY_IDENTITY", identity),
        ("DAYFLY_OPERATOR_URL", &places.identity_url),
        ("DAYFLY_OPERATOR_CA", &places.identity_ca),
        ("DAYFLY_TOKEN_FILE", "/var/run/secrets/dayfly/token"),
        ("DAYFLY_SOCKET", SOCKET),
        ("DAYFLY_WORK", "/dayfly/work"),
        ("DAYFLY_PAGES", "/dayfly/pages"),
        ("DAYFLY_TOKEN_FOR_TASKS", pool.token_for_tasks.as_str()),
        ("DAYFLY_JOB_IMAGE", job_image),
    ]);
    if let Some(filter) = &places.agent_log {
        environment.extend(variables(&[("DAYFLY_LOG", filter)]));
    }
    let mut mounts = user.volume_mounts.clone().unwrap_or_default();
    mounts.extend([
        mount("dayfly-token", "/var/run/secrets/dayfly", true),
        mount("dayfly-socket", "/run/dayfly", false),
        mount("dayfly-work", "/dayfly/work", false),
        mount("dayfly-pages", "/dayfly/pages", false),
        mount("dayfly-tmp", "/tmp", false),
    ]);
    let mut agent = Container {
        name: "agent".to_owned(),
        image: Some(places.agent_image.clone()),
        image_pull_policy: Some(places.pull_policy.clone()),
        command: Some(vec![PROGRAM.to_owned()]),
        args: Some(vec!["listen".to_owned()]),
        env: Some(environment),
        volume_mounts: Some(mounts),
        resources: Some(
            user.resources
                .clone()
                .unwrap_or_else(|| requests("20m", "32Mi")),
        ),
        ..user
    };
    harden_agent(&mut agent);
    agent
}

fn installer(places: &Places) -> Container {
    let mut installer = Container {
        name: "dayfly-install".to_owned(),
        image: Some(places.agent_image.clone()),
        image_pull_policy: Some(places.pull_policy.clone()),
        command: Some(vec![PROGRAM.to_owned()]),
        args: Some(vec!["install".to_owned(), INSTALLED.to_owned()]),
        volume_mounts: Some(vec![mount("dayfly-bin", INSTALLED, false)]),
        resources: Some(requests("20m", "32Mi")),
        ..Container::default()
    };
    harden_installer(&mut installer);
    installer
}

fn volumes(foreign: bool) -> Vec<Volume> {
    let token = VolumeProjection {
        service_account_token: Some(ServiceAccountTokenProjection {
            audience: Some(AUDIENCE.to_owned()),
            expiration_seconds: Some(TOKEN_SECONDS),
            path: "token".to_owned(),
        }),
        ..VolumeProjection::default()
    };
    let mut volumes = vec![
        Volume {
            name: "dayfly-token".to_owned(),
            projected: Some(ProjectedVolumeSource {
                default_mode: Some(0o440),
                sources: Some(vec![token]),
            }),
            ..Volume::default()
        },
        memory("dayfly-socket", "1Mi"),
        scratch("dayfly-work"),
        memory("dayfly-scripts", "64Mi"),
        scratch("dayfly-pages"),
        scratch("dayfly-tmp"),
    ];
    if foreign {
        volumes.push(scratch("dayfly-bin"));
    }
    volumes
}

fn scratch(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

fn memory(name: &str, limit: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".to_owned()),
            size_limit: Some(Quantity(limit.to_owned())),
        }),
        ..Volume::default()
    }
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

fn requests(cpu: &str, memory: &str) -> ResourceRequirements {
    let quantities = [("cpu", cpu), ("memory", memory)]
        .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())));
    ResourceRequirements {
        requests: Some(quantities.into()),
        ..ResourceRequirements::default()
    }
}

fn variables(pairs: &[(&str, &str)]) -> Vec<EnvVar> {
    pairs
        .iter()
        .map(|(name, value)| EnvVar {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
            value_from: None,
        })
        .collect()
}

fn text_map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests;
