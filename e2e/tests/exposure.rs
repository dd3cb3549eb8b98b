//! What whoever looks at the cluster sees of its secrets while a job runs: objects, logs, and the service's disk hold
//! none of them.

use anyhow::{Context, Result, ensure};
use dayfly_e2e::jobs::hold;
use dayfly_e2e::kubectl;
use dayfly_e2e::names::{
    IDENTITIES_NAMESPACE, OPERATOR, OPERATOR_NAMESPACE, SERVICE, SERVICE_NAMESPACE,
};
use dayfly_e2e::repository;
use dayfly_e2e::scenario::Scenario;
use dayfly_e2e::values::{PKCS8, PKCS8_TEXT, holds, token_head};
use dayfly_wire::event::TaskResult;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

/// Everything that the operator and its agents write, but for Secrets.
const KINDS: &str =
    "pods,events,configmaps,serviceaccounts,networkpolicies,leases,agentpools,poolconnections";

/// A place and what is there.
type Place = (String, Vec<u8>);

#[tokio::test(flavor = "multi_thread")]
async fn no_object_no_log_and_no_disk_shows_a_secret_while_a_job_runs() -> Result<()> {
    Scenario::with("exposure", async |scenario| {
        repository::push(&scenario.service, &scenario.name, &[("a.txt", "a")]).await?;
        let secret = uuid::Uuid::new_v4().simple().to_string();
        let job = scenario
            .queue_with(json!({
                "repository": scenario.name,
                "variables": { "word": { "value": secret, "isSecret": true } },
                "steps": [
                    { "checkout": "self" },
                    {
                        "bash": "echo $WORD\necho $TOKEN",
                        "env": { "WORD": "$(word)", "TOKEN": "$(System.AccessToken)" },
                    },
                    hold("echo done"),
                ],
            }))
            .await?;
        let identity = scenario.wait_holding(&job).await?;
        let mut places = logs(scenario, &identity).await?;
        places.push(objects().await?);
        places.extend(sealed(scenario).await?);
        let values = [
            (
                "the administrator's token",
                scenario.service.pat().expose().as_bytes().to_vec(),
            ),
            ("the operator's token", credential(scenario).await?),
            ("a job's token", token_head("dayfly-job").into_bytes()),
            ("an agent's token", token_head("dayfly-listen").into_bytes()),
            ("a private key", PKCS8.to_vec()),
            ("a private key", PKCS8_TEXT.as_bytes().to_vec()),
            ("a secret variable", secret.clone().into_bytes()),
        ];
        for (place, content) in &places {
            // The search finds what is there: these places tell of this test's AgentPool. The others say little.
            let told = holds(content, scenario.name.as_bytes()) || place.starts_with("the log");
            ensure!(told, "{place} tells nothing");
            for (name, value) in &values {
                ensure!(!holds(content, value), "{place} shows {name}");
            }
        }
        for (name, value) in &values {
            let text = String::from_utf8_lossy(value);
            if text.is_ascii() && text.chars().all(|c| c.is_ascii_graphic()) {
                ensure!(!on_disk(&text).await?, "the service's disk shows {name}");
            }
        }
        ensure!(
            on_disk(&scenario.name).await?,
            "nothing is found on the disk"
        );
        scenario.release(&identity).await?;
        scenario.expect(&job, TaskResult::Succeeded).await.map(drop)
    })
    .await
}

async fn objects() -> Result<Place> {
    let text = kubectl::run(&["get", KINDS, "--all-namespaces", "-o", "json"]).await?;
    Ok(("an object of the API".to_owned(), text.into_bytes()))
}

async fn logs(scenario: &Scenario, identity: &str) -> Result<Vec<Place>> {
    let (operator, service) = (format!("deploy/{OPERATOR}"), format!("deploy/{SERVICE}"));
    let mut logs = Vec::new();
    for (place, namespace, target, container) in [
        (
            "the operator's log",
            OPERATOR_NAMESPACE,
            operator.as_str(),
            "operator",
        ),
        ("the log of the service", SERVICE_NAMESPACE, &service, ""),
        (
            "the log of container agent",
            &scenario.name,
            identity,
            "agent",
        ),
        ("the log of container job", &scenario.name, identity, "job"),
    ] {
        let mut arguments = vec!["-n", namespace, "logs", target];
        if !container.is_empty() {
            arguments.extend(["-c", container]);
        }
        let text = kubectl::run(&arguments).await?;
        logs.push((place.to_owned(), text.into_bytes()));
    }
    Ok(logs)
}

/// The Secrets outside of the operator's namespace, as they are after base64.
async fn sealed(scenario: &Scenario) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for namespace in [IDENTITIES_NAMESPACE, &scenario.name] {
        let secrets: Api<Secret> = Api::namespaced(scenario.kube.clone(), namespace);
        let mut content = namespace.as_bytes().to_vec();
        for secret in secrets.list(&ListParams::default()).await?.items {
            content.extend(serde_json::to_vec(&secret.metadata)?);
            for (_, value) in secret.data.into_iter().flatten() {
                content.extend(value.0);
            }
        }
        places.push((format!("a Secret in {namespace}"), content));
    }
    Ok(places)
}

async fn credential(scenario: &Scenario) -> Result<Vec<u8>> {
    let secrets: Api<Secret> = Api::namespaced(scenario.kube.clone(), OPERATOR_NAMESPACE);
    let data = secrets.get("e2e-pat").await?.data.context("no data")?;
    Ok(data.get("pat").context("no token")?.0.clone())
}

/// Whether a file of the service holds the text.
async fn on_disk(text: &str) -> Result<bool> {
    let target = format!("deploy/{SERVICE}");
    let search = format!("grep -raqF -e '{text}' /data && echo found || echo not found");
    let arguments = [
        "-n",
        SERVICE_NAMESPACE,
        "exec",
        &target,
        "--",
        "sh",
        "-c",
        &search,
    ];
    Ok(kubectl::run(&arguments).await?.trim() == "found")
}
