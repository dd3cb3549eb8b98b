//! One AgentPool in a namespace of its own, on a pool of its own, and what must be left of it at the end.

use crate::Result;
use crate::deadline::until;
use crate::kubectl;
use crate::names::{IDENTITIES_NAMESPACE, OPERATOR_NAMESPACE, SERVICE_URL, WAKE_SECRET};
use crate::service::Service;
use anyhow::Context;
use dayfly_wire::ids::PoolId;
use dayfly_wire::secret::SecretText;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use serde_json::{Value, json};
use std::time::Duration;

/// How long registering and sealing the reserve may take on a busy machine.
const READY_LIMIT: Duration = Duration::from_secs(90);

/// A namespace with an AgentPool. Call [`Self::remove`] at the end; what a failed test leaves is looked at.
pub struct Scenario {
    /// The Kubernetes API.
    pub kube: kube::Client,
    /// The pool service.
    pub service: Service,
    /// Name of the namespace, the pool, the PoolConnection and (as its prefix) of every identity.
    pub name: String,
    /// The pool in the service.
    pub pool: PoolId,
}

impl Scenario {
    /// Makes namespace, pool, credential Secret `secret` with the administrator's token, and PoolConnection.
    pub async fn prepare(name: &str, secret: &str) -> Result<Self> {
        let scenario = Self::outline(name).await?;
        scenario
            .put_credential(secret, scenario.service.pat())
            .await?;
        scenario
            .put_connection(SERVICE_URL, secret, &[&scenario.name], &[&scenario.name])
            .await?;
        Ok(scenario)
    }

    /// Makes a namespace, and a pool in the service; nothing yet that the operator looks at.
    pub async fn outline(name: &str) -> Result<Self> {
        let service = Service::connect().await?;
        let kube = kube::Client::try_default()
            .await
            .context("no cluster; see KUBECONFIG")?;
        let unique = format!("{name}-{:04x}", uuid::Uuid::new_v4().as_u128() & 0xffff);
        let pool = service.pool(&unique).await?;
        let scenario = Self {
            kube,
            service,
            name: unique,
            pool,
        };
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {
                "name": scenario.name,
                "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
            },
        });
        kubectl::apply(&namespace.to_string()).await?;
        Ok(scenario)
    }

    /// [`Self::prepare`] with the shared Secret, and an AgentPool that is ready.
    pub async fn start(name: &str) -> Result<Self> {
        let scenario = Self::prepare(name, "e2e-pat").await?;
        scenario.put_agent_pool(json!({})).await?;
        scenario.wait_reserved(1).await?;
        Ok(scenario)
    }

    /// Writes a credential Secret into the operator's namespace.
    pub async fn put_credential(&self, secret: &str, pat: &SecretText) -> Result<()> {
        let manifest = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": { "name": secret, "namespace": OPERATOR_NAMESPACE },
            "stringData": { "pat": pat.expose() },
        });
        kubectl::apply(&manifest.to_string()).await
    }

    /// Writes the PoolConnection.
    pub async fn put_connection(
        &self,
        url: &str,
        secret: &str,
        namespaces: &[&str],
        pools: &[&str],
    ) -> Result<()> {
        let manifest = json!({
            "apiVersion": "dayfly.dev/v1alpha1", "kind": "PoolConnection",
            "metadata": { "name": self.name, "namespace": OPERATOR_NAMESPACE },
            "spec": {
                "url": url, "allowInsecure": url.starts_with("http://"),
                "credentials": { "personalAccessToken": { "secretName": secret, "key": "pat" } },
                "webhook": { "secretName": WAKE_SECRET },
                "allow": [{ "namespaces": namespaces, "pools": pools }],
            },
        });
        kubectl::apply(&manifest.to_string()).await
    }

    /// Writes the AgentPool; `overrides` replaces members of a small spec.
    pub async fn put_agent_pool(&self, overrides: Value) -> Result<()> {
        let mut spec = json!({
            "connection": self.name, "pool": self.name,
            "scaling": { "minIdle": 0, "maxAgents": 4 },
            "reserve": { "size": 2 },
            "templates": [{ "name": "default" }],
            "lifecycle": { "terminationGracePeriod": "120s" },
        });
        if let (Some(spec), Value::Object(overrides)) = (spec.as_object_mut(), overrides) {
            spec.extend(overrides);
        }
        let manifest = json!({
            "apiVersion": "dayfly.dev/v1alpha1", "kind": "AgentPool",
            "metadata": { "name": self.name, "namespace": self.name },
            "spec": spec,
        });
        kubectl::apply(&manifest.to_string()).await
    }

    /// Waits until that many identities lie in reserve: registered, sealed, without a pod.
    pub async fn wait_reserved(&self, wanted: usize) -> Result<()> {
        until(
            &format!("{wanted} sealed identities of {}", self.name),
            READY_LIMIT,
            || async { Ok((self.secrets().await?.len() >= wanted).then_some(())) },
        )
        .await
    }

    /// The AgentPool as it is.
    pub async fn agent_pool(&self) -> Result<Value> {
        self.object(&self.name, "AgentPool", "agentpools").await
    }

    /// The PoolConnection as it is.
    pub async fn connection(&self) -> Result<Value> {
        self.object(OPERATOR_NAMESPACE, "PoolConnection", "poolconnections")
            .await
    }

    async fn object(&self, namespace: &str, kind: &str, plural: &str) -> Result<Value> {
        let kind = GroupVersionKind::gvk("dayfly.dev", "v1alpha1", kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, plural);
        let api: Api<DynamicObject> = Api::namespaced_with(self.kube.clone(), namespace, &resource);
        Ok(serde_json::to_value(api.get(&self.name).await?)?)
    }

    /// Waits for a condition of the AgentPool; answers the condition.
    pub async fn wait_condition(&self, kind: &str, status: &str, limit: Duration) -> Result<Value> {
        let what = format!("{kind}={status} of the AgentPool {}", self.name);
        until(&what, limit, || async {
            condition_with(&self.agent_pool().await?, kind, status)
        })
        .await
    }

    /// Waits for a condition of the PoolConnection; answers the condition.
    pub async fn wait_connection(
        &self,
        kind: &str,
        status: &str,
        limit: Duration,
    ) -> Result<Value> {
        let what = format!("{kind}={status} of the PoolConnection {}", self.name);
        until(&what, limit, || async {
            condition_with(&self.connection().await?, kind, status)
        })
        .await
    }

    /// The pods of this AgentPool.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let api: Api<Pod> = Api::namespaced(self.kube.clone(), &self.name);
        let query = ListParams::default().labels(&format!("dayfly.dev/pool={}", self.name));
        Ok(api.list(&query).await?.items)
    }

    /// Waits for the pod that runs the job (or will).
    pub async fn wait_pod(&self, limit: Duration) -> Result<Pod> {
        until(&format!("a pod of {}", self.name), limit, || async {
            Ok(self.pods().await?.into_iter().next())
        })
        .await
    }

    /// The sealed Secrets of this AgentPool's identities.
    pub async fn secrets(&self) -> Result<Vec<Secret>> {
        let api: Api<Secret> = Api::namespaced(self.kube.clone(), IDENTITIES_NAMESPACE);
        let prefix = format!("{}-", self.name);
        let all = api.list(&ListParams::default()).await?.items;
        let ours = |secret: &Secret| {
            secret
                .metadata
                .name
                .as_deref()
                .is_some_and(|name| name.starts_with(&prefix))
        };
        Ok(all.into_iter().filter(ours).collect())
    }

    /// Waits until nothing is left of an identity: no pod, no sealed Secret, no registration.
    pub async fn wait_gone(&self, identity: &str, limit: Duration) -> Result<()> {
        until(
            &format!("pod, Secret and registration of {identity} to be gone"),
            limit,
            || async {
                let left = self.left_of(identity).await?;
                anyhow::ensure!(left.is_empty(), "left: {}", left.join(", "));
                Ok(Some(()))
            },
        )
        .await
    }

    /// What is left of an identity.
    pub async fn left_of(&self, identity: &str) -> Result<Vec<&'static str>> {
        let mut left = Vec::new();
        let named = |name: &Option<String>| name.as_deref() == Some(identity);
        if self
            .pods()
            .await?
            .iter()
            .any(|pod| named(&pod.metadata.name))
        {
            left.push("pod");
        }
        if self
            .secrets()
            .await?
            .iter()
            .any(|secret| named(&secret.metadata.name))
        {
            left.push("sealed Secret");
        }
        if self
            .service
            .agents(self.pool)
            .await?
            .iter()
            .any(|agent| agent.name == identity)
        {
            left.push("registration");
        }
        Ok(left)
    }

    /// Removes everything and waits until it is gone, registrations included.
    pub async fn remove(self) -> Result<()> {
        kubectl::run(&[
            "-n",
            &self.name,
            "delete",
            "agentpool",
            &self.name,
            "--wait=true",
            "--timeout=90s",
            "--ignore-not-found",
        ])
        .await?;
        until(
            "all registrations to be gone",
            Duration::from_secs(30),
            || async {
                Ok(self
                    .service
                    .agents(self.pool)
                    .await?
                    .is_empty()
                    .then_some(()))
            },
        )
        .await?;
        kubectl::run(&["delete", "namespace", &self.name, "--wait=false"]).await?;
        kubectl::run(&[
            "-n",
            OPERATOR_NAMESPACE,
            "delete",
            "poolconnection",
            &self.name,
            "--ignore-not-found",
        ])
        .await?;
        Ok(())
    }
}

/// A condition of an object's status.
pub fn condition(object: &Value, kind: &str) -> Option<Value> {
    object["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == kind)
        .cloned()
}

/// The condition, once it has that status; fails with what it says instead.
fn condition_with(object: &Value, kind: &str, status: &str) -> Result<Option<Value>> {
    let found = condition(object, kind);
    if let Some(other) = found.as_ref().filter(|found| found["status"] != status) {
        anyhow::bail!("it says {}: {}", other["reason"], other["message"]);
    }
    Ok(found)
}

/// The name of an object that was read from the API.
pub fn name_of(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}
