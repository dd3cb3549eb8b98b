//! One installation: namespaces, rights, a service with a pool, an AgentPool, the kubelet, and what is in between. Several
//! may be on one cluster at the same time.

use super::cluster::Cluster;
use super::front::{Front, leaders};
use super::kubelet::Kubelet;
use super::operators::{Operators, Start};
use super::proxy::{Proxy, Side};
use super::rights::Rights;
use super::{DEADLINE, until};
use dayfly_client::{AgentQuery, Client as Service, Credential};
use dayfly_operator::crd::connection::PoolConnection;
use dayfly_operator::crd::pool::AgentPool;
use dayfly_pool_service::testing::{ALL_SCOPES, PoolHandle};
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{PoolId, RequestId};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, ServiceAccount};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// The pod of the first operator.
pub(crate) const FIRST: &str = "operator-a";
/// The pod of the second.
pub(crate) const SECOND: &str = "operator-b";
const AGENT_POOL: &str = "linux";

/// How an installation is to be.
pub(crate) struct Setup {
    /// The spec of the AgentPool beside connection and pool.
    pub(crate) pool: Value,
    /// How long the service holds a poll.
    pub(crate) poll_hold: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            pool: json!({
                "scaling": { "maxAgents": 2, "pollInterval": "200ms" },
                "reserve": { "size": 1 },
                "lifecycle": { "history": { "failed": 0 } },
                "templates": [{ "name": "default" }],
            }),
            poll_hold: Duration::from_secs(10),
        }
    }
}

/// One installation. Nothing of it runs on when it is dropped.
pub(crate) struct Installation {
    /// The cluster.
    pub(crate) cluster: &'static Cluster,
    /// Tells it from others.
    pub(crate) mark: String,
    /// The cluster, with every right.
    pub(crate) kube: Client,
    /// The pool service.
    pub(crate) service: PoolHandle,
    /// The service with every right, and nothing in between.
    pub(crate) admin: Service,
    /// The pool.
    pub(crate) pool: PoolId,
    /// Between the operators and the API server.
    pub(crate) to_cluster: Proxy,
    /// Between everybody and the service.
    pub(crate) to_service: Proxy,
    /// The operators.
    pub(crate) operators: Arc<Operators>,
    /// Plays the kubelet.
    pub(crate) kubelet: Kubelet,
    size: usize,
    _front: Front,
    _directory: TempDir,
}

impl Drop for Installation {
    fn drop(&mut self) {
        self.operators.kill_all();
        if std::thread::panicking() {
            self.operators.show();
        }
    }
}

impl Installation {
    /// An installation without an operator that runs; none where there is no cluster.
    pub(crate) async fn prepare(setup: Setup) -> Option<Self> {
        let cluster = Cluster::shared().await?;
        let kube = cluster.administrator();
        let mark = dayfly_keys::random::base32_name(6);
        let directory = tempfile::Builder::new()
            .prefix("dayfly-operator-")
            .tempdir()
            .unwrap();
        for place in ["system", "identities", "ci"] {
            make_namespace(&kube, &format!("{place}-{mark}")).await;
        }
        Rights::of(cluster, &mark).await.install(&kube).await;
        let (front, to_cluster, to_service) = (port().await, port().await, port().await);
        let kubeconfig = directory.path().join("kubeconfig");
        let operators = Arc::new(Operators::new(Start {
            namespace: format!("system-{mark}"),
            identities: format!("identities-{mark}"),
            pools: format!("ci-{mark}"),
            identity_url: format!("https://{}", front.local_addr().unwrap()),
            kubeconfig: kubeconfig.clone(),
            directory: directory.path().to_owned(),
        }));
        let service_url = format!("http://{}/default", to_service.local_addr().unwrap());
        let service = PoolHandle::builder().poll_hold(setup.poll_hold);
        let service = service.public_url(&service_url).start().await.unwrap();
        let pool = service.create_pool("linux").await.unwrap();
        let pat = service.pat(ALL_SCOPES).await.unwrap();
        let credential = Credential::Pat(pat.duplicate());
        let admin = Service::builder(service.address()).credential(credential);
        let kill = || {
            let operators = Arc::clone(&operators);
            move || operators.kill_all()
        };
        let to_cluster = Proxy::start(
            Side::Cluster,
            to_cluster,
            cluster.url.clone(),
            cluster.http(),
            kill(),
        );
        let origin = service.address().trim_end_matches("/default").to_owned();
        let http = reqwest::Client::builder().no_proxy().gzip(false).build();
        let to_service = Proxy::start(Side::Service, to_service, origin, http.unwrap(), kill());
        write_kubeconfig(&kube, &mark, &to_cluster.url, &kubeconfig).await;
        let system = format!("system-{mark}");
        make_operator_pods(&kube, &system).await;
        make_secret(&kube, &system, "pat", "pat", pat.expose()).await;
        make_connection(&kube, &mark, &service_url).await;
        let size = setup.pool["reserve"]["size"].as_u64().unwrap_or(5);
        make_pool(&kube, &mark, setup.pool).await;
        Some(Self {
            cluster,
            kubelet: Kubelet::start(kube.clone(), &format!("ci-{mark}")),
            _front: Front::start(front, kube.clone(), &system, Arc::clone(&operators)),
            kube,
            mark,
            service,
            admin: admin.build().unwrap(),
            pool,
            to_cluster,
            to_service,
            operators,
            size: usize::try_from(size).unwrap(),
            _directory: directory,
        })
    }

    /// An installation whose first operator leads and has filled the reserve.
    pub(crate) async fn start(setup: Setup) -> Option<Self> {
        let installation = Self::prepare(setup).await?;
        installation.operators.start(FIRST);
        installation.wait_until_settled().await;
        Some(installation)
    }

    /// The user that operators are to the API server.
    pub(crate) fn user(&self) -> String {
        format!("system:serviceaccount:system-{0}:dayfly-{0}", self.mark)
    }

    /// The pods of agents.
    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.kube.clone(), &format!("ci-{}", self.mark))
    }

    /// The pods of operators.
    pub(crate) fn operator_pods(&self) -> Api<Pod> {
        Api::namespaced(self.kube.clone(), &format!("system-{}", self.mark))
    }

    /// The sealed keys.
    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.kube.clone(), &format!("identities-{}", self.mark))
    }

    /// The AgentPool, by its name [`Self::pool_name`].
    pub(crate) fn agent_pools(&self) -> Api<AgentPool> {
        Api::namespaced(self.kube.clone(), &format!("ci-{}", self.mark))
    }

    /// The AgentPool's name.
    pub(crate) fn pool_name(&self) -> &'static str {
        AGENT_POOL
    }

    /// The operators whose pods have the leader's label.
    pub(crate) async fn leaders(&self) -> Vec<String> {
        leaders(&self.operator_pods()).await
    }

    /// What the operator has written so far: kinds of calls to the API server and to the service.
    pub(crate) fn writes(&self) -> BTreeSet<String> {
        let mut writes = self.to_cluster.writes();
        writes.extend(self.to_service.writes());
        writes
    }

    /// Queues jobs.
    pub(crate) async fn queue(&self, count: usize) -> Vec<RequestId> {
        let mut queued = Vec::new();
        for _ in 0..count {
            let job = json!({ "pool": "linux", "steps": [{ "script": "true" }] });
            let job = self.service.queue_json(job).await.unwrap();
            assert_eq!(job.result, None, "{:?}", job.status_message);
            queued.push(job.request_id);
        }
        queued
    }

    /// How a request ended, if it has.
    pub(crate) async fn result(&self, request: RequestId) -> Option<TaskResult> {
        self.service
            .request(self.pool, request)
            .await
            .unwrap()
            .result
    }

    /// Waits for the end of requests.
    pub(crate) async fn wait_until_ended(&self, requests: &[RequestId], limit: Duration) {
        until("the jobs to end", limit, async || {
            for request in requests {
                if self.result(*request).await.is_none() {
                    return Err(format!("request {request} has not ended"));
                }
            }
            Ok(())
        })
        .await;
    }

    /// Every one of them succeeded, and ran once.
    pub(crate) async fn assert_ran_once(&self, requests: &[RequestId]) {
        for request in requests {
            let record = self.service.request(self.pool, *request).await.unwrap();
            let succeeded = record.result == Some(TaskResult::Succeeded);
            assert!(succeeded, "request {request} ended as {:?}", record.result);
            let runs = self.kubelet.ledger.runs.lock().unwrap();
            let runs = runs.get(request).cloned().unwrap_or_default();
            assert_eq!(runs.len(), 1, "request {request} ran on {runs:?}");
        }
    }

    /// Waits until nothing is left but the reserve: no pod, and a Secret for every registration.
    pub(crate) async fn wait_until_settled(&self) {
        until("nothing to be left over", DEADLINE, || self.settled()).await;
    }

    /// Nothing is left but the reserve; or what is.
    pub(crate) async fn settled(&self) -> Result<(), String> {
        let all = ListParams::default();
        let pods = self.pods().list_metadata(&all).await;
        let pods: Vec<String> = names(&pods.map_err(|error| error.to_string())?.items);
        let secrets = self.secrets().list_metadata(&all).await;
        let secrets: Vec<String> = names(&secrets.map_err(|error| error.to_string())?.items);
        let agents = self.admin.agents(self.pool, &AgentQuery::default()).await;
        let agents = agents.map_err(|error| error.to_string())?;
        let enabled = agents.iter().all(|agent| agent.enabled != Some(false));
        let registered: BTreeSet<String> = agents.into_iter().map(|agent| agent.name).collect();
        let sealed: BTreeSet<String> = secrets.into_iter().collect();
        let requests = self.admin.unfinished_requests(self.pool).await;
        let requests = requests.map_err(|error| error.to_string())?.len();
        let settled = pods.is_empty()
            && registered == sealed
            && enabled
            && requests == 0
            && (self.size..=2 * self.size).contains(&sealed.len());
        if settled {
            return Ok(());
        }
        Err(format!(
            "pods {pods:?}, Secrets {sealed:?}, registrations {registered:?}, all enabled: {enabled}, \
             unfinished requests: {requests}"
        ))
    }
}

fn names<K: ResourceExt>(objects: &[K]) -> Vec<String> {
    objects.iter().map(ResourceExt::name_any).collect()
}

async fn port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// With the service account that a controller would make.
async fn make_namespace(kube: &Client, name: &str) {
    let params = PostParams::default();
    let namespace: Namespace = object(json!({ "metadata": { "name": name } }));
    Api::all(kube.clone())
        .create(&params, &namespace)
        .await
        .unwrap();
    let account: ServiceAccount = object(json!({ "metadata": { "name": "default" } }));
    let accounts = Api::namespaced(kube.clone(), name);
    accounts.create(&params, &account).await.unwrap();
}

/// Their label tells who leads; nothing runs in them.
async fn make_operator_pods(kube: &Client, namespace: &str) {
    for name in [FIRST, SECOND] {
        let pod: Pod = object(json!({
            "metadata": { "name": name },
            "spec": { "containers": [{ "name": "operator", "image": "dayfly/operator:test" }] },
        }));
        let pods = Api::namespaced(kube.clone(), namespace);
        pods.create(&PostParams::default(), &pod).await.unwrap();
    }
}

async fn make_secret(kube: &Client, namespace: &str, name: &str, key: &str, value: &str) {
    let secret: Secret =
        object(json!({ "metadata": { "name": name }, "stringData": { key: value } }));
    let secrets = Api::namespaced(kube.clone(), namespace);
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
}

async fn make_connection(kube: &Client, mark: &str, url: &str) {
    let connection: PoolConnection = object(json!({
        "apiVersion": "dayfly.dev/v1alpha1", "kind": "PoolConnection", "metadata": { "name": "local" },
        "spec": {
            "url": url, "allowInsecure": true,
            "credentials": { "personalAccessToken": { "secretName": "pat", "key": "pat" } },
            "allow": [{ "namespaces": [format!("ci-{mark}")], "pools": ["linux"] }],
        },
    }));
    let api = Api::namespaced(kube.clone(), &format!("system-{mark}"));
    api.create(&PostParams::default(), &connection)
        .await
        .unwrap();
}

async fn make_pool(kube: &Client, mark: &str, mut spec: Value) {
    spec["connection"] = "local".into();
    spec["pool"] = "linux".into();
    let pool: AgentPool = object(json!({
        "apiVersion": "dayfly.dev/v1alpha1", "kind": "AgentPool",
        "metadata": { "name": AGENT_POOL }, "spec": spec,
    }));
    let api = Api::namespaced(kube.clone(), &format!("ci-{mark}"));
    api.create(&PostParams::default(), &pool).await.unwrap();
}

/// The operator shows its own service account's token, so that it has the chart's rights and no others.
async fn write_kubeconfig(kube: &Client, mark: &str, url: &str, path: &Path) {
    let accounts: Api<ServiceAccount> = Api::namespaced(kube.clone(), &format!("system-{mark}"));
    let asked: TokenRequest = object(json!({ "spec": { "audiences": [] } }));
    let made = accounts
        .create_token_request(&format!("dayfly-{mark}"), &PostParams::default(), &asked)
        .await
        .unwrap();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{ "name": "test", "cluster": { "server": url } }],
        "users": [{ "name": "test", "user": { "token": made.status.unwrap().token } }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
    });
    std::fs::write(path, kubeconfig.to_string()).unwrap();
}
