//! The Service in front of the identity API: connections go to the operator whose pod has the leader's label.

use super::operators::Operators;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use std::sync::Arc;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The Service.
pub(crate) struct Front(JoinHandle<()>);

impl Drop for Front {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Front {
    /// Begins to forward.
    pub(crate) fn start(
        listener: TcpListener,
        kube: Client,
        namespace: &str,
        operators: Arc<Operators>,
    ) -> Self {
        let pods: Api<Pod> = Api::namespaced(kube, namespace);
        Self(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((mut from, _)) = listener.accept().await else {
                    continue;
                };
                while connections.try_join_next().is_some() {}
                let (pods, operators) = (pods.clone(), Arc::clone(&operators));
                connections.spawn(async move {
                    let leader = leaders(&pods).await.into_iter().next();
                    let port = leader.and_then(|pod| operators.identity_port(&pod));
                    let Some(port) = port else { return };
                    if let Ok(mut to) = TcpStream::connect(("127.0.0.1", port)).await {
                        let _ = copy_bidirectional(&mut from, &mut to).await;
                    }
                });
            }
        }))
    }
}

/// Pods with the leader's label.
pub(crate) async fn leaders(pods: &Api<Pod>) -> Vec<String> {
    let labelled = ListParams::default().labels("dayfly.dev/leader=true");
    let found = pods.list_metadata(&labelled).await;
    let found = found.map(|list| list.items).unwrap_or_default();
    found.iter().map(ResourceExt::name_any).collect()
}
