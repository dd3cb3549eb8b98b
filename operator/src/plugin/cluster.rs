//! Asks the API server, with the rights of whoever calls.

use super::args::Place;
use crate::crd::pool::AgentPool;
use crate::names;
use anyhow::{Context as _, bail};
use futures::AsyncBufRead;
use k8s_openapi::api::core::v1::{Event, Pod, Secret};
use kube::api::{DeleteParams, ListParams, LogParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Config, ResourceExt};
use serde_json::json;

/// The container that speaks with the service.
const AGENT: &str = "agent";

/// A cluster, and where in it to look.
pub struct Cluster {
    client: Client,
    /// None is everywhere.
    namespace: Option<String>,
}

impl Cluster {
    /// Connects to the cluster that kubectl would use.
    ///
    /// # Errors
    /// There is no usable kubeconfig.
    pub async fn connect(place: &Place) -> anyhow::Result<Self> {
        let kubeconfig = Kubeconfig::read().context("failed to read the kubeconfig")?;
        let options = KubeConfigOptions {
            context: place.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .context("failed to understand the kubeconfig")?;
        let own = config.default_namespace.clone();
        let namespace = place.namespace.clone().unwrap_or(own);
        Ok(Self {
            client: Client::try_from(config).context("failed to make a client")?,
            namespace: (!place.all_namespaces).then_some(namespace),
        })
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    fn one<K>(&self, doing: &str) -> anyhow::Result<(Api<K>, &str)>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        let Some(namespace) = &self.namespace else {
            bail!("to {doing}, name one namespace with -n");
        };
        Ok((Api::namespaced(self.client.clone(), namespace), namespace))
    }

    /// What to say when there is no AgentPool.
    pub fn nothing_found(&self) -> String {
        match &self.namespace {
            Some(namespace) => {
                format!("there is no AgentPool in namespace {namespace}; look everywhere with -A")
            }
            None => "there is no AgentPool in this cluster".to_owned(),
        }
    }

    /// The AgentPools.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn pools(&self) -> anyhow::Result<Vec<AgentPool>> {
        let listed = self.api::<AgentPool>().list(&ListParams::default()).await;
        Ok(listed.context("failed to list AgentPools")?.items)
    }

    /// The AgentPools of every namespace.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn every_pool(&self) -> anyhow::Result<Vec<AgentPool>> {
        let all: Api<AgentPool> = Api::all(self.client.clone());
        let listed = all.list(&ListParams::default()).await;
        Ok(listed
            .context("failed to list the AgentPools of every namespace")?
            .items)
    }

    /// One AgentPool.
    ///
    /// # Errors
    /// It is not there, or the API server refused.
    pub async fn pool(&self, name: &str) -> anyhow::Result<AgentPool> {
        let (api, namespace) = self.one::<AgentPool>("look at one AgentPool")?;
        api.get_opt(name)
            .await
            .with_context(|| format!("failed to read AgentPool {name}"))?
            .with_context(|| format!("there is no AgentPool {name} in namespace {namespace}"))
    }

    /// Lets an AgentPool start agents, or not.
    ///
    /// # Errors
    /// It is not there, or the API server refused.
    pub async fn pause(&self, name: &str, paused: bool) -> anyhow::Result<()> {
        let (api, _) = self.one::<AgentPool>("drain")?;
        let patch = Patch::Merge(json!({ "spec": { "paused": paused } }));
        api.patch(name, &PatchParams::default(), &patch)
            .await
            .with_context(|| format!("failed to change spec.paused of AgentPool {name}"))?;
        Ok(())
    }

    /// Pods of agents.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn pods(&self) -> anyhow::Result<Vec<Pod>> {
        let ours =
            ListParams::default().labels(&format!("{}={}", names::MANAGED_BY, names::DAYFLY));
        let listed = self.api::<Pod>().list(&ours).await;
        let pods = listed.context("failed to list pods")?.items;
        Ok(pods
            .into_iter()
            .filter(|pod| pod.labels().contains_key(names::POOL))
            .collect())
    }

    /// The pod that has a request, or had it.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn pod_of(&self, request: i64) -> anyhow::Result<Option<Pod>> {
        let number = request.to_string();
        let pods = self.pods().await?.into_iter();
        let mut has = pods.filter(|pod| pod.annotations().get(names::REQUEST_ID) == Some(&number));
        Ok(has.next())
    }

    /// How many agents of a pool have a pod that has not ended.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn agents_of(&self, pool: &str) -> anyhow::Result<usize> {
        let pods = self.pods().await?;
        let left = pods
            .iter()
            .filter(|pod| is_of(pod, pool) && !has_ended(pod));
        Ok(left.count())
    }

    /// Asks the agents of a pool that have no job to leave. One that gets a job in this moment finishes it first: that is
    /// what the pod's grace period is for.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn delete_idle(&self, pool: &str) -> anyhow::Result<usize> {
        let (api, _) = self.one::<Pod>("drain")?;
        let mut count = 0;
        for pod in self.pods().await? {
            let is_busy = pod
                .labels()
                .get(names::PHASE)
                .is_some_and(|phase| phase == names::PHASE_BUSY);
            if !is_of(&pod, pool) || is_busy || has_ended(&pod) {
                continue;
            }
            match api.delete(&pod.name_any(), &DeleteParams::default()).await {
                Ok(_) => count += 1,
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("failed to delete pod {}", pod.name_any()));
                }
            }
        }
        Ok(count)
    }

    /// Sealed Secrets, without what is in them.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn secrets(&self, namespace: &str) -> anyhow::Result<Vec<PartialObjectMeta<Secret>>> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let ours =
            ListParams::default().labels(&format!("{}={}", names::MANAGED_BY, names::DAYFLY));
        let listed = api.list_metadata(&ours).await;
        let listed = listed.with_context(|| {
            format!("failed to list the Secrets of {namespace} (without their content); only administrators may")
        })?;
        Ok(listed.items)
    }

    /// What went wrong with an AgentPool and its pods, newest last.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn warnings(&self, pool: &AgentPool) -> anyhow::Result<Vec<String>> {
        let namespace = pool.namespace().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let listed = api
            .list(&ListParams::default().fields("type=Warning"))
            .await;
        let mut events = listed.context("failed to list Events")?.items;
        let prefix = format!("{}-", pool.name_any());
        events.retain(|event| {
            let about = event.involved_object.name.as_deref().unwrap_or_default();
            about == pool.name_any() || about.starts_with(&prefix)
        });
        events.sort_by_key(|event| {
            event
                .metadata
                .resource_version
                .as_deref()
                .and_then(|v| v.parse::<u64>().ok())
        });
        Ok(events.iter().map(warning).collect())
    }

    /// The log of a pod's agent.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn log(&self, pod: &Pod, follow: bool) -> anyhow::Result<impl AsyncBufRead + use<>> {
        let namespace = pod.namespace().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let name = pod.name_any();
        let wanted = LogParams {
            container: Some(AGENT.to_owned()),
            follow,
            ..LogParams::default()
        };
        api.log_stream(&name, &wanted)
            .await
            .with_context(|| format!("failed to read the log of pod {namespace}/{name}"))
    }
}

fn is_of(pod: &Pod, pool: &str) -> bool {
    pod.labels()
        .get(names::POOL)
        .is_some_and(|label| label == pool)
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn warning(event: &Event) -> String {
    let about = event.involved_object.name.as_deref().unwrap_or("?");
    let reason = event.reason.as_deref().unwrap_or("Warning");
    let message = event.message.as_deref().unwrap_or_default();
    format!("{about}: {reason}: {message}")
}
