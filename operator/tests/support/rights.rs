//! The rights that the chart gives the operator, as Helm renders them.

use super::cluster::Cluster;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use tokio::sync::OnceCell;

/// Stands for what tells one installation from another.
const PLACE: &str = "qqqqqq";
const TEMPLATES: [&str; 4] = [
    "serviceaccount",
    "clusterrole",
    "role-operator",
    "role-pools",
];

static RENDERED: OnceCell<String> = OnceCell::const_new();

/// The chart's objects for one installation.
pub(crate) struct Rights(Vec<Value>);

impl Rights {
    /// Those of the installation with this mark in its names.
    pub(crate) async fn of(cluster: &Cluster, mark: &str) -> Self {
        let text = RENDERED.get_or_init(async || render(cluster)).await;
        let text = text.replace(PLACE, mark);
        let documents = serde_yaml_ng::Deserializer::from_str(&text);
        let documents = documents.map(|document| Value::deserialize(document).unwrap());
        Self(documents.filter(|document| !document.is_null()).collect())
    }

    fn all<T: DeserializeOwned>(&self, kind: &str) -> Vec<T> {
        let of_kind = self.0.iter().filter(|object| object["kind"] == kind);
        let read = |object: &Value| serde_json::from_value(object.clone()).unwrap();
        of_kind.map(read).collect()
    }

    /// What is granted in namespaces.
    pub(crate) fn roles(&self) -> Vec<Role> {
        self.all("Role")
    }

    /// What is granted everywhere.
    pub(crate) fn cluster_roles(&self) -> Vec<ClusterRole> {
        self.all("ClusterRole")
    }

    /// Creates them all; the namespaces are there.
    pub(crate) async fn install(&self, kube: &Client) {
        let params = PostParams::default();
        for object in self.all::<ClusterRole>("ClusterRole") {
            let api = Api::<ClusterRole>::all(kube.clone());
            api.create(&params, &object).await.unwrap();
        }
        for object in self.all::<ClusterRoleBinding>("ClusterRoleBinding") {
            let api = Api::<ClusterRoleBinding>::all(kube.clone());
            api.create(&params, &object).await.unwrap();
        }
        for object in self.all::<ServiceAccount>("ServiceAccount") {
            let namespace = object.metadata.namespace.clone().unwrap();
            let api = Api::<ServiceAccount>::namespaced(kube.clone(), &namespace);
            api.create(&params, &object).await.unwrap();
        }
        for object in self.all::<Role>("Role") {
            let namespace = object.metadata.namespace.clone().unwrap();
            let api = Api::<Role>::namespaced(kube.clone(), &namespace);
            api.create(&params, &object).await.unwrap();
        }
        for object in self.all::<RoleBinding>("RoleBinding") {
            let namespace = object.metadata.namespace.clone().unwrap();
            let api = Api::<RoleBinding>::namespaced(kube.clone(), &namespace);
            api.create(&params, &object).await.unwrap();
        }
    }
}

fn render(cluster: &Cluster) -> String {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/dayfly");
    let mut helm = Command::new(cluster.program("helm"));
    helm.arg("template").arg("dayfly").arg(chart);
    helm.args(["--namespace", &format!("system-{PLACE}")]);
    for value in [
        format!("fullnameOverride=dayfly-{PLACE}"),
        format!("identitiesNamespace=identities-{PLACE}"),
        format!("watchNamespaces={{ci-{PLACE}}}"),
        "credentialSecrets={pat}".to_owned(),
    ] {
        helm.args(["--set", &value]);
    }
    for template in TEMPLATES {
        helm.args(["--show-only", &format!("templates/{template}.yaml")]);
    }
    let rendered = helm.output().unwrap();
    let problem = String::from_utf8_lossy(&rendered.stderr);
    assert!(rendered.status.success(), "helm: {problem}");
    String::from_utf8(rendered.stdout).unwrap()
}
