//! The rules of the custom resources, on a real API server, both ways: what must be accepted and what must not.
//!
//! Runs when `KUBECONFIG_DAYFLY_TEST` names a cluster. The definitions are installed under a group of the test's
//! own and removed again, and objects are only tried (server-side dry run), so that nothing else there is touched.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests are not tests to the lints.

use dayfly_operator::crd;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams,
};
use kube::runtime::wait::{await_condition, conditions::is_crd_established};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::time::Duration;

/// Makes a case out of a valid object and what changes in it.
type Change = fn(&mut Value);

struct Cluster {
    client: Client,
    group: String,
}

impl Cluster {
    async fn connect() -> Option<Self> {
        let Ok(path) = std::env::var("KUBECONFIG_DAYFLY_TEST") else {
            eprintln!("skipped: set KUBECONFIG_DAYFLY_TEST to test the rules on a cluster");
            return None;
        };
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let kubeconfig = kube::config::Kubeconfig::read_from(path).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .unwrap();
        let client = Client::try_from(config).unwrap();
        let group = format!("rules-{}.dayfly.dev", dayfly_keys::random::base32_name(8));
        Some(Self { client, group })
    }

    /// Installs both definitions under the test's own group.
    async fn install(&self) {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for mut document in crd::documents() {
            document.spec.group.clone_from(&self.group);
            let name = format!("{}.{}", document.spec.names.plural, self.group);
            document.metadata.name = Some(name.clone());
            document.spec.names.categories = None;
            document.spec.names.short_names = None;
            api.create(&PostParams::default(), &document).await.unwrap();
            let established = await_condition(api.clone(), &name, is_crd_established());
            tokio::time::timeout(Duration::from_secs(30), established)
                .await
                .unwrap_or_else(|_| panic!("waited 30 s for {name} to be established"))
                .unwrap();
        }
    }

    async fn remove(&self) {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for document in crd::documents() {
            let name = format!("{}.{}", document.spec.names.plural, self.group);
            api.delete(&name, &DeleteParams::default()).await.unwrap();
        }
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(&self.group, "v1alpha1", kind));
        Api::namespaced_with(self.client.clone(), "default", &resource)
    }

    /// What the API server says to the creation of an object: nothing when it is accepted.
    async fn refusal(&self, kind: &str, mut object: Value) -> Option<String> {
        object["apiVersion"] = format!("{}/v1alpha1", self.group).into();
        object["kind"] = kind.into();
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        // Discovery of a new kind may lag behind its definition.
        for _ in 0..100 {
            match self.api(kind).create(&dry_run, &object).await {
                Ok(_) => return None,
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Some(error.to_string()),
            }
        }
        panic!("waited 5 s for kind {kind} to be served");
    }
}

fn pool() -> Value {
    json!({
        "metadata": { "name": "linux" },
        "spec": {
            "connection": "contoso", "pool": "k8s-linux", "scaling": { "minIdle": 0, "maxAgents": 20 },
            "templates": [{ "name": "default" }],
        },
    })
}

fn connection() -> Value {
    json!({
        "metadata": { "name": "contoso" },
        "spec": {
            "url": "https://dev.azure.com/contoso",
            "credentials": { "personalAccessToken": { "secretName": "contoso-pat", "key": "pat" } },
            "allow": [{ "namespaces": ["ci"], "pools": ["k8s-linux"] }],
        },
    })
}

/// The ids of a tenant and a client, with `more`.
fn ids(more: Value) -> Value {
    let mut ids = json!({
        "tenantId": "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "clientId": "3F2504E0-4F89-11D3-9A0C-0305E82C3302",
    });
    let Value::Object(more) = more else {
        return ids;
    };
    ids.as_object_mut().unwrap().extend(more);
    ids
}

fn principal(more: Value) -> Value {
    let mut principal = ids(more);
    principal["secretName"] = "contoso-principal".into();
    json!({ "servicePrincipal": principal })
}

/// Accepted, or refused with these words.
const POOLS: &[(&str, Change, Option<&str>)] = &[
    ("the smallest", |_| {}, None),
    (
        "without scaling",
        |o| drop(o["spec"].as_object_mut().unwrap().remove("scaling")),
        None,
    ),
    (
        "50 characters",
        |o| o["metadata"]["name"] = "n".repeat(50).into(),
        None,
    ),
    (
        "51 characters",
        |o| o["metadata"]["name"] = "n".repeat(51).into(),
        Some("50 characters"),
    ),
    (
        "minIdle = maxAgents",
        |o| o["spec"]["scaling"] = json!({ "minIdle": 3, "maxAgents": 3 }),
        None,
    ),
    (
        "minIdle > maxAgents",
        |o| o["spec"]["scaling"] = json!({ "minIdle": 4, "maxAgents": 3 }),
        Some("minIdle must not exceed"),
    ),
    (
        "minIdle > the default",
        |o| o["spec"]["scaling"] = json!({ "minIdle": 11 }),
        Some("minIdle must not exceed"),
    ),
    (
        "a negative number",
        |o| o["spec"]["scaling"]["minIdle"] = (-1).into(),
        Some("greater than or equal to 0"),
    ),
    (
        "too many",
        |o| o["spec"]["scaling"]["maxAgents"] = 5001.into(),
        Some("less than or equal to 5000"),
    ),
    (
        "no template",
        |o| o["spec"]["templates"] = json!([]),
        Some("at least 1"),
    ),
    (
        "17 templates",
        |o| {
            o["spec"]["templates"] = (0..17)
                .map(|n| json!({ "name": format!("t{n}") }))
                .collect()
        },
        Some("at most 16"),
    ),
    (
        "the same name",
        |o| o["spec"]["templates"] = json!([{ "name": "a" }, { "name": "a" }]),
        Some("Duplicate"),
    ),
    (
        "capabilities",
        |o| o["spec"]["templates"][0]["capabilities"] = json!({ "java": "21", "Node.JS_x": "" }),
        None,
    ),
    (
        "an odd capability",
        |o| o["spec"]["templates"][0]["capabilities"] = json!({ "has space": "" }),
        Some("letters, digits"),
    ),
    (
        "a secret capability",
        |o| o["spec"]["templates"][0]["capabilities"] = json!({ "GITHUB_TOKEN": "x" }),
        Some("visible to everyone"),
    ),
    (
        "another secret capability",
        |o| o["spec"]["templates"][0]["capabilities"] = json!({ "dbPassword": "x" }),
        Some("visible to everyone"),
    ),
    (
        "our capability",
        |o| o["spec"]["templates"][0]["capabilities"] = json!({ "dayfly.owner": "x" }),
        Some("set by the operator"),
    ),
    (
        "a slow poll",
        |o| o["spec"]["scaling"]["pollInterval"] = "5m".into(),
        None,
    ),
    (
        "a fast poll",
        |o| o["spec"]["scaling"]["pollInterval"] = "100ms".into(),
        Some("between 200ms and 5m"),
    ),
    (
        "no duration",
        |o| o["spec"]["scaling"]["pollInterval"] = "soon".into(),
        Some("pollInterval"),
    ),
    (
        "a short idle timeout",
        |o| o["spec"]["scaling"]["idleTimeout"] = "9s".into(),
        Some("at least 10s"),
    ),
    (
        "a short minimum age",
        |o| o["spec"]["orphanGC"] = json!({ "minAge": "30s" }),
        Some("at least 1m"),
    ),
    (
        "surge as a number",
        |o| o["spec"]["scaling"]["surge"] = 5.into(),
        None,
    ),
    (
        "surge as a percentage",
        |o| o["spec"]["scaling"]["surge"] = "20%".into(),
        None,
    ),
    (
        "a negative surge",
        |o| o["spec"]["scaling"]["surge"] = (-1).into(),
        Some("surge"),
    ),
    (
        "more than all as surge",
        |o| o["spec"]["scaling"]["surge"] = "101%".into(),
        Some("surge"),
    ),
    (
        "words as surge",
        |o| o["spec"]["scaling"]["surge"] = "many".into(),
        Some("surge"),
    ),
    (
        "a limit of starts",
        |o| o["spec"]["scaling"]["maxStartsPerMinute"] = 30.into(),
        None,
    ),
    (
        "a negative limit of starts",
        |o| o["spec"]["scaling"]["maxStartsPerMinute"] = (-1).into(),
        Some("greater than or equal to 0"),
    ),
    (
        "no delay",
        |o| o["spec"]["scaling"]["scaleDownDelay"] = "0s".into(),
        None,
    ),
    (
        "a delay of days",
        |o| o["spec"]["scaling"]["scaleDownDelay"] = "25h".into(),
        Some("at most 24h"),
    ),
    (
        "office hours",
        |o| {
            o["spec"]["scaling"]["schedules"] = json!([{
                "name": "office", "days": ["Mon", "Fri"], "start": "07:30", "end": "24:00",
                "timeZone": "Europe/Berlin", "minIdle": 5, "maxAgents": 40,
            }]);
        },
        None,
    ),
    (
        "a time table",
        |o| {
            o["spec"]["scaling"]["schedules"] =
                json!([{ "name": "day", "cron": "* 7-17 * * mon-fri", "minIdle": 20 }]);
        },
        None,
    ),
    (
        "a time table with hours",
        |o| {
            o["spec"]["scaling"]["schedules"] = json!([{
                "name": "day", "cron": "* 7 * * *", "start": "07:00", "end": "08:00", "minIdle": 1 }]);
        },
        Some("either cron, or start and end"),
    ),
    (
        "a start without an end",
        |o| {
            o["spec"]["scaling"]["schedules"] =
                json!([{ "name": "day", "start": "07:00", "minIdle": 1 }]);
        },
        Some("either cron, or start and end"),
    ),
    (
        "a start that is the end",
        |o| {
            o["spec"]["scaling"]["schedules"] =
                json!([{ "name": "day", "start": "07:00", "end": "07:00", "minIdle": 1 }]);
        },
        Some("must differ"),
    ),
    (
        "no time of day",
        |o| {
            o["spec"]["scaling"]["schedules"] =
                json!([{ "name": "day", "start": "7:00", "end": "25:00", "minIdle": 1 }]);
        },
        Some("should match"),
    ),
    (
        "no such day",
        |o| {
            o["spec"]["scaling"]["schedules"] = json!([{
                "name": "day", "days": ["Someday"], "start": "07:00", "end": "08:00", "minIdle": 1 }]);
        },
        Some("Unsupported value"),
    ),
    (
        "a schedule of nothing",
        |o| {
            o["spec"]["scaling"]["schedules"] =
                json!([{ "name": "day", "start": "07:00", "end": "08:00" }]);
        },
        Some("minIdle, maxAgents or both"),
    ),
    (
        "a schedule that idles more than it may start",
        |o| {
            o["spec"]["scaling"]["schedules"] = json!([{
                "name": "day", "start": "07:00", "end": "08:00", "minIdle": 4, "maxAgents": 3 }]);
        },
        Some("minIdle must not exceed"),
    ),
    (
        "a schedule that idles more than the pool may start",
        |o| {
            o["spec"]["scaling"]["schedules"] =
                json!([{ "name": "day", "start": "07:00", "end": "08:00", "minIdle": 21 }]);
        },
        Some("minIdle must not exceed"),
    ),
    (
        "two schedules of one name",
        |o| {
            let day = json!({ "name": "day", "start": "07:00", "end": "08:00", "minIdle": 1 });
            o["spec"]["scaling"]["schedules"] = json!([day, day]);
        },
        Some("Duplicate"),
    ),
    (
        "33 schedules",
        |o| {
            o["spec"]["scaling"]["schedules"] = (0..33)
                .map(|n| json!({ "name": format!("s{n}"), "start": "07:00", "end": "08:00", "minIdle": 1 }))
                .collect()
        },
        Some("at most 32"),
    ),
    (
        "the whole lifecycle",
        |o| {
            o["spec"]["lifecycle"] = json!({
                "startupTimeout": "10s", "imagePullGrace": "1h", "jobTimeout": "1m",
                "terminationGracePeriod": "1s", "maxIdleAge": "1m", "evictionPolicy": "Allow",
                "onInfrastructureLoss": "None", "retryBackoff": { "initial": "100ms", "max": "1h" },
                "history": { "succeeded": 1, "failed": 0, "failedTTL": "5m" },
            });
        },
        None,
    ),
    (
        "a short start",
        |o| o["spec"]["lifecycle"] = json!({ "startupTimeout": "9s" }),
        Some("startupTimeout must be"),
    ),
    (
        "a patient image",
        |o| o["spec"]["lifecycle"] = json!({ "imagePullGrace": "61m" }),
        Some("imagePullGrace must be"),
    ),
    (
        "a short job",
        |o| o["spec"]["lifecycle"] = json!({ "jobTimeout": "59s" }),
        Some("jobTimeout must be"),
    ),
    (
        "no grace",
        |o| o["spec"]["lifecycle"] = json!({ "terminationGracePeriod": "500ms" }),
        Some("terminationGracePeriod must be"),
    ),
    (
        "a short age",
        |o| o["spec"]["lifecycle"] = json!({ "maxIdleAge": "59s" }),
        Some("maxIdleAge must be"),
    ),
    (
        "no such eviction policy",
        |o| o["spec"]["lifecycle"] = json!({ "evictionPolicy": "Never" }),
        Some("Unsupported value"),
    ),
    (
        "a first wait beyond the longest",
        |o| o["spec"]["lifecycle"] = json!({ "retryBackoff": { "initial": "2m" } }),
        Some("must not exceed retryBackoff.max"),
    ),
    (
        "a wait of nothing",
        |o| o["spec"]["lifecycle"] = json!({ "retryBackoff": { "initial": "99ms" } }),
        Some("at least 100ms"),
    ),
    (
        "a wait of hours",
        |o| o["spec"]["lifecycle"] = json!({ "retryBackoff": { "max": "2h" } }),
        Some("at most 1h"),
    ),
    (
        "a long history",
        |o| o["spec"]["lifecycle"] = json!({ "history": { "succeeded": 101 } }),
        Some("less than or equal to 100"),
    ),
    (
        "a sweep",
        |o| o["spec"]["orphanGC"] = json!({ "interval": "10s", "foreignAgents": "Ignore" }),
        None,
    ),
    (
        "a hasty sweep",
        |o| o["spec"]["orphanGC"] = json!({ "interval": "9s" }),
        Some("between 10s and 24h"),
    ),
    (
        "no such report",
        |o| o["spec"]["orphanGC"] = json!({ "foreignAgents": "Remove" }),
        Some("Unsupported value"),
    ),
    (
        "a pod of any shape",
        |o| {
            o["spec"]["templates"][0]["pod"] = json!({
                "metadata": { "labels": { "a": "b" } },
                "spec": { "containers": [{ "name": "job", "image": "x" }], "hostNetwork": false },
            });
        },
        None,
    ),
    (
        "the host's network",
        |o| o["spec"]["templates"][0]["pod"] = json!({ "spec": { "hostNetwork": true } }),
        Some("Privileged"),
    ),
    (
        "the host's processes",
        |o| o["spec"]["templates"][0]["pod"] = json!({ "spec": { "hostPID": true } }),
        Some("Privileged"),
    ),
    (
        "the host's IPC",
        |o| o["spec"]["templates"][0]["pod"] = json!({ "spec": { "hostIPC": true } }),
        Some("Privileged"),
    ),
    (
        "the host's network, privileged",
        |o| {
            o["spec"]["security"] = json!({ "profile": "Privileged" });
            o["spec"]["templates"][0]["pod"] = json!({ "spec": { "hostNetwork": true } });
        },
        None,
    ),
    (
        "shared processes, privileged",
        |o| {
            o["spec"]["security"] = json!({ "profile": "Privileged" });
            o["spec"]["templates"][0]["pod"] = json!({ "spec": { "shareProcessNamespace": true } });
        },
        Some("shareProcessNamespace"),
    ),
    (
        "no such profile",
        |o| o["spec"]["security"] = json!({ "profile": "Open" }),
        Some("Unsupported value"),
    ),
];

/// Accepted, or refused with these words.
const CONNECTIONS: &[(&str, Change, Option<&str>)] = &[
    ("the smallest", |_| {}, None),
    (
        "a port",
        |o| o["spec"]["url"] = "https://tfs.example:8443/tfs/Default".into(),
        None,
    ),
    (
        "plain http",
        |o| o["spec"]["url"] = "http://pool.example/default".into(),
        Some("https"),
    ),
    (
        "plain http, allowed",
        |o| {
            o["spec"]["url"] = "http://pool.example/default".into();
            o["spec"]["allowInsecure"] = true.into();
        },
        None,
    ),
    (
        "a slash at the end",
        |o| o["spec"]["url"] = "https://dev.azure.com/contoso/".into(),
        Some("slash"),
    ),
    (
        "a user in the url",
        |o| o["spec"]["url"] = "https://me:pw@dev.azure.com/contoso".into(),
        Some("without user"),
    ),
    (
        "a query in the url",
        |o| o["spec"]["url"] = "https://dev.azure.com/contoso?x=y".into(),
        Some("without user"),
    ),
    (
        "not a url",
        |o| o["spec"]["url"] = "dev.azure.com/contoso".into(),
        Some("http"),
    ),
    (
        "no credential",
        |o| o["spec"]["credentials"] = json!({}),
        Some("exactly one credential"),
    ),
    (
        "two credentials",
        |o| o["spec"]["credentials"]["workloadIdentity"] = ids(json!({})),
        Some("exactly one credential"),
    ),
    (
        "a service principal with a secret",
        |o| o["spec"]["credentials"] = principal(json!({ "secretKey": "secret" })),
        None,
    ),
    (
        "a service principal with a certificate",
        |o| o["spec"]["credentials"] = principal(json!({ "certificateKey": "pem" })),
        None,
    ),
    (
        "a service principal with both",
        |o| {
            o["spec"]["credentials"] = principal(json!({ "secretKey": "s", "certificateKey": "c" }))
        },
        Some("either secretKey or certificateKey"),
    ),
    (
        "a service principal with neither",
        |o| o["spec"]["credentials"] = principal(json!({})),
        Some("either secretKey or certificateKey"),
    ),
    (
        "a tenant by its name",
        |o| {
            let named =
                json!({ "secretKey": "s", "tenantId": "contoso.onmicrosoft.com.example.test" });
            o["spec"]["credentials"] = principal(named);
        },
        Some("tenantId must be a GUID"),
    ),
    (
        "a client that is no id",
        |o| {
            let wrong =
                json!({ "secretKey": "s", "clientId": "3f2504e0-4f89-11d3-9a0c-0305e82c330g" });
            o["spec"]["credentials"] = principal(wrong);
        },
        Some("clientId must be a GUID"),
    ),
    (
        "another authority",
        |o| {
            let other =
                json!({ "secretKey": "s", "authorityHost": "https://login.example:8443/adfs" });
            o["spec"]["credentials"] = principal(other);
        },
        None,
    ),
    (
        "an authority without TLS",
        |o| {
            let plain = json!({ "secretKey": "s", "authorityHost": "http://login.example" });
            o["spec"]["credentials"] = principal(plain);
        },
        Some("authorityHost must begin with https"),
    ),
    (
        "an authority without TLS, allowed",
        |o| {
            let plain = json!({ "secretKey": "s", "authorityHost": "http://login.example" });
            o["spec"]["credentials"] = principal(plain);
            o["spec"]["allowInsecure"] = true.into();
        },
        None,
    ),
    (
        "an authority with a slash",
        |o| {
            let slash = json!({ "secretKey": "s", "authorityHost": "https://login.example/" });
            o["spec"]["credentials"] = principal(slash);
        },
        Some("slash at the end"),
    ),
    (
        "an authority with a user",
        |o| {
            let user = json!({ "secretKey": "s", "authorityHost": "https://me@login.example" });
            o["spec"]["credentials"] = principal(user);
        },
        Some("without user"),
    ),
    (
        "a workload identity",
        |o| o["spec"]["credentials"] = json!({ "workloadIdentity": ids(json!({})) }),
        None,
    ),
    (
        "a workload identity without TLS",
        |o| {
            let plain = ids(json!({ "authorityHost": "http://login.example" }));
            o["spec"]["credentials"] = json!({ "workloadIdentity": plain });
        },
        Some("authorityHost must begin with https"),
    ),
    (
        "a workload identity of no tenant",
        |o| {
            let wrong = ids(json!({ "tenantId": "f" }));
            o["spec"]["credentials"] = json!({ "workloadIdentity": wrong });
        },
        Some("tenantId"),
    ),
    (
        "a budget",
        |o| o["spec"]["requestBudget"] = json!({ "perMinute": 10 }),
        None,
    ),
    (
        "no budget to speak of",
        |o| o["spec"]["requestBudget"] = json!({ "perMinute": 9 }),
        Some("greater than or equal to 10"),
    ),
    (
        "nobody allowed",
        |o| drop(o["spec"].as_object_mut().unwrap().remove("allow")),
        None,
    ),
    (
        "an empty grant",
        |o| o["spec"]["allow"] = json!([{ "namespaces": [], "pools": ["a"] }]),
        Some("at least 1"),
    ),
    (
        "51 characters",
        |o| o["metadata"]["name"] = "n".repeat(51).into(),
        Some("50 characters"),
    ),
];

async fn table(
    cluster: &Cluster,
    kind: &str,
    valid: fn() -> Value,
    cases: &[(&str, Change, Option<&str>)],
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, change, expected) in cases {
        let mut object = valid();
        change(&mut object);
        let refusal = cluster.refusal(kind, object).await;
        match (&refusal, expected) {
            (None, None) => {}
            (Some(said), Some(words)) if said.contains(words) => {}
            _ => wrong.push(format!(
                "{kind}: {name}: expected {expected:?}, the API server says {refusal:?}"
            )),
        }
    }
    wrong
}

/// Rules about changes need an object that is there.
async fn immutable(
    cluster: &Cluster,
    kind: &str,
    valid: fn() -> Value,
    changes: &[(Value, Option<&str>)],
) -> Vec<String> {
    let api = cluster.api(kind);
    let name = format!("rules-{}", dayfly_keys::random::base32_name(8));
    let mut object = valid();
    object["apiVersion"] = format!("{}/v1alpha1", cluster.group).into();
    object["kind"] = kind.into();
    object["metadata"]["name"] = name.clone().into();
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
    let mut wrong = Vec::new();
    for (change, expected) in changes {
        let dry_run = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        let said = api
            .patch(&name, &dry_run, &Patch::Merge(change))
            .await
            .err()
            .map(|error| error.to_string());
        match (&said, expected) {
            (None, None) => {}
            (Some(said), Some(words)) if said.contains(words) => {}
            _ => wrong.push(format!(
                "{kind}: {change}: expected {expected:?}, the API server says {said:?}"
            )),
        }
    }
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    wrong
}

#[tokio::test]
async fn the_api_server_keeps_the_rules() {
    let Some(cluster) = Cluster::connect().await else {
        return;
    };
    cluster.install().await;
    let mut wrong = table(&cluster, "AgentPool", pool, POOLS).await;
    wrong.extend(table(&cluster, "PoolConnection", connection, CONNECTIONS).await);
    let pools = [
        (
            json!({ "spec": { "connection": "other" } }),
            Some("immutable"),
        ),
        (json!({ "spec": { "pool": "other" } }), Some("immutable")),
        (json!({ "spec": { "paused": true } }), None),
    ];
    wrong.extend(immutable(&cluster, "AgentPool", pool, &pools).await);
    let connections = [
        (
            json!({ "spec": { "url": "https://dev.azure.com/other" } }),
            Some("immutable"),
        ),
        (
            json!({ "spec": { "allowInsecure": true } }),
            Some("immutable"),
        ),
        (json!({ "spec": { "allow": [] } }), None),
    ];
    wrong.extend(immutable(&cluster, "PoolConnection", connection, &connections).await);
    cluster.remove().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
