//! Objects that cannot be: refused by the API server where a rule can tell, and told in a condition where it takes
//! more than a rule. Nothing of it costs the operator its life, or the service its peace.

use anyhow::{Result, ensure};
use dayfly_e2e::deadline::until;
use dayfly_e2e::exposed::{Exposed, UNAUTHORIZED, address, closed_url};
use dayfly_e2e::kubectl;
use dayfly_e2e::names::{OPERATOR_NAMESPACE, SERVICE_URL};
use dayfly_e2e::scenario::{Scenario, condition};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long the operator may take to look at an object, or at a Secret that was changed, on a busy machine.
const NOTICE_LIMIT: Duration = Duration::from_secs(90);
/// For how long nothing may come that should not come.
const QUIET: Duration = Duration::from_secs(10);

/// What a rule must say of `spec`, when `change` (a JSON merge patch) is made to the smallest object.
struct Case {
    says: &'static str,
    change: Value,
}

fn case(says: &'static str, change: Value) -> Case {
    Case { says, change }
}

fn smallest_connection() -> Value {
    json!({
        "apiVersion": "dayfly.dev/v1alpha1", "kind": "PoolConnection",
        "metadata": { "name": "smallest", "namespace": OPERATOR_NAMESPACE },
        "spec": {
            "url": "https://dev.azure.com/contoso",
            "credentials": { "personalAccessToken": { "secretName": "contoso-pat", "key": "pat" } },
        },
    })
}

fn smallest_pool() -> Value {
    json!({
        "apiVersion": "dayfly.dev/v1alpha1", "kind": "AgentPool",
        "metadata": { "name": "smallest", "namespace": "default" },
        "spec": { "connection": "contoso", "pool": "linux", "templates": [{ "name": "default" }] },
    })
}

/// JSON merge patch (RFC 7386).
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(target) = target.as_object_mut() else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(&name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

fn spec(members: Value) -> Value {
    Value::Object([("spec".to_owned(), members)].into_iter().collect())
}

fn template(members: Value) -> Value {
    let mut template = json!({ "name": "default" });
    merge(&mut template, members);
    spec(json!({ "templates": [template] }))
}

fn pod_spec(members: Value) -> Value {
    let mut pod = json!({});
    merge(&mut pod, spec(members));
    template(json!({ "pod": pod }))
}

fn bad_connections() -> Vec<Case> {
    let long = "c".repeat(51);
    vec![
        case(
            "the name must not be longer than 50 characters",
            json!({ "metadata": { "name": long } }),
        ),
        case(
            "url must begin with https://; set allowInsecure for plain http",
            spec(json!({ "url": "http://pool.example/default" })),
        ),
        case(
            "url must not end with a slash",
            spec(json!({ "url": "https://dev.azure.com/contoso/" })),
        ),
        case(
            "without user, query or fragment",
            spec(json!({ "url": "https://user:word@dev.azure.com/contoso" })),
        ),
        case(
            "without user, query or fragment",
            spec(json!({ "url": "https://dev.azure.com/contoso?a=b" })),
        ),
        case(
            "without user, query or fragment",
            spec(json!({ "url": "ftp://dev.azure.com", "allowInsecure": true })),
        ),
        case(
            "exactly one credential must be given: personalAccessToken",
            spec(json!({ "credentials": { "personalAccessToken": null } })),
        ),
        case("spec.credentials", spec(json!({ "credentials": null }))),
        case("spec.url", spec(json!({ "url": null }))),
        case(
            "spec.allow[0].pools",
            spec(json!({ "allow": [{ "namespaces": ["ci"], "pools": [] }] })),
        ),
    ]
}

fn bad_pools() -> Vec<Case> {
    let long = "p".repeat(51);
    vec![
        case(
            "the name must not be longer than 50 characters",
            json!({ "metadata": { "name": long } }),
        ),
        case(
            "scaling.minIdle must not exceed scaling.maxAgents",
            spec(json!({ "scaling": { "minIdle": 5, "maxAgents": 4 } })),
        ),
        case(
            "pollInterval must be between 200ms and 5m",
            spec(json!({ "scaling": { "pollInterval": "100ms" } })),
        ),
        case(
            "idleTimeout must be at least 10s",
            spec(json!({ "scaling": { "idleTimeout": "9s" } })),
        ),
        case(
            "spec.scaling.idleTimeout",
            spec(json!({ "scaling": { "idleTimeout": "soon" } })),
        ),
        case(
            "startupTimeout must be at least 10s",
            spec(json!({ "lifecycle": { "startupTimeout": "1s" } })),
        ),
        case(
            "terminationGracePeriod must be at least 1s",
            spec(json!({ "lifecycle": { "terminationGracePeriod": "0s" } })),
        ),
        case(
            "maxIdleAge must be at least 1m",
            spec(json!({ "lifecycle": { "maxIdleAge": "59s" } })),
        ),
        case(
            "minAge must be at least 1m",
            spec(json!({ "orphanGC": { "minAge": "1s" } })),
        ),
        case(
            "spec.reserve.size",
            spec(json!({ "reserve": { "size": 0 } })),
        ),
        case(
            "spec.scaling.maxAgents",
            spec(json!({ "scaling": { "maxAgents": 5001 } })),
        ),
        case("spec.templates", spec(json!({ "templates": [] }))),
        case(
            "spec.templates[1]: Duplicate value",
            spec(json!({ "templates": [{ "name": "same" }, { "name": "same" }] })),
        ),
        case(
            "spec.templates[0].name",
            spec(json!({ "templates": [{ "name": "Upper_Case" }] })),
        ),
        case(
            "a name with token, secret or password is refused",
            template(json!({ "capabilities": { "my.API_Token": "x" } })),
        ),
        case(
            "a capability's name consists of letters, digits, '_' and '.'",
            template(json!({ "capabilities": { "two words": "x" } })),
        ),
        case(
            "capabilities that begin with Dayfly. are set by the operator",
            template(json!({ "capabilities": { "dayfly.Owner": "x" } })),
        ),
        case(
            "hostNetwork, hostPID and hostIPC need security.profile Privileged",
            pod_spec(json!({ "hostNetwork": true })),
        ),
        case(
            "hostNetwork, hostPID and hostIPC need security.profile Privileged",
            pod_spec(json!({ "hostPID": true })),
        ),
        case(
            "hostNetwork, hostPID and hostIPC need security.profile Privileged",
            pod_spec(json!({ "hostIPC": true })),
        ),
        case(
            "shareProcessNamespace is refused",
            pod_spec(json!({ "shareProcessNamespace": true })),
        ),
        case(
            "spec.security.profile",
            spec(json!({ "security": { "profile": "Anything" } })),
        ),
    ]
}

/// What the API server says to this object, without storing it.
async fn dry_run(object: &Value) -> Result<(bool, String)> {
    let arguments = ["create", "--dry-run=server", "-o", "name", "-f", "-"];
    let (accepted, output, complaint) = kubectl::attempt(&arguments, &object.to_string()).await?;
    Ok((accepted, if accepted { output } else { complaint }))
}

async fn refused(smallest: &Value, case: Case) -> Result<()> {
    let mut object = smallest.clone();
    merge(&mut object, case.change);
    let (accepted, said) = dry_run(&object).await?;
    ensure!(!accepted, "this was accepted: {object}");
    let says = case.says;
    ensure!(
        said.contains(says),
        "the refusal of {object} does not say {says:?} but {said:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_objects_are_accepted() -> Result<()> {
    for object in [smallest_connection(), smallest_pool()] {
        let (accepted, said) = dry_run(&object).await?;
        ensure!(accepted, "{object} was refused: {said}");
    }
    let mut plain = smallest_connection();
    let change = json!({ "url": "http://pool.example:8080/default", "allowInsecure": true });
    merge(&mut plain, spec(change));
    let (accepted, said) = dry_run(&plain).await?;
    ensure!(accepted, "{plain} was refused: {said}");
    let mut privileged = smallest_pool();
    merge(&mut privileged, pod_spec(json!({ "hostNetwork": true })));
    merge(
        &mut privileged,
        spec(json!({ "security": { "profile": "Privileged" } })),
    );
    let (accepted, said) = dry_run(&privileged).await?;
    ensure!(accepted, "{privileged} was refused: {said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_a_rule_is_refused_with_the_rules_words() -> Result<()> {
    for case in bad_connections() {
        refused(&smallest_connection(), case).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_breaks_a_rule_is_refused_with_the_rules_words() -> Result<()> {
    for case in bad_pools() {
        refused(&smallest_pool(), case).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_immutable_cannot_be_changed() -> Result<()> {
    let scenario = Scenario::prepare("immutable", "e2e-pat").await?;
    let outcome = async {
        scenario.put_agent_pool(json!({})).await?;
        let name = &scenario.name;
        for (namespace, kind, change, says) in [
            (
                name.as_str(),
                "agentpool",
                json!({ "connection": "other" }),
                "connection and pool are immutable; create another AgentPool",
            ),
            (
                name.as_str(),
                "agentpool",
                json!({ "pool": "other" }),
                "connection and pool are immutable; create another AgentPool",
            ),
            (
                OPERATOR_NAMESPACE,
                "poolconnection",
                json!({ "url": "http://other.example/default" }),
                "url is immutable; create another PoolConnection",
            ),
            (
                OPERATOR_NAMESPACE,
                "poolconnection",
                json!({ "url": "https://other.example/default", "allowInsecure": false }),
                "allowInsecure is immutable; create another PoolConnection",
            ),
        ] {
            let patch = spec(change).to_string();
            let arguments = [
                "-n",
                namespace,
                "patch",
                kind,
                name,
                "--type=merge",
                "-p",
                &patch,
            ];
            let (changed, _, said) = kubectl::attempt(&arguments, "").await?;
            ensure!(!changed, "{kind} was changed by {patch}");
            ensure!(
                said.contains(says),
                "the refusal of {patch} does not say {says:?} but {said:?}"
            );
        }
        // What may change does.
        let grow = spec(json!({ "scaling": { "maxAgents": 7 } })).to_string();
        let arguments = [
            "-n",
            name,
            "patch",
            "agentpool",
            name,
            "--type=merge",
            "-p",
            &grow,
        ];
        kubectl::run(&arguments).await.map(drop)
    }
    .await;
    scenario.conclude(outcome).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_its_connection_does_not_allow_says_so_and_nobody_is_asked_anything()
-> Result<()> {
    let Some(address) = address() else {
        return Ok(());
    };
    let scenario = Scenario::outline("denied").await?;
    let outcome = async {
        let service = Exposed::start(address, UNAUTHORIZED).await?;
        scenario
            .put_credential("e2e-pat", scenario.service.pat())
            .await?;
        // One grant for another namespace, one for another pool: never mixed.
        let manifest = json!({
            "apiVersion": "dayfly.dev/v1alpha1", "kind": "PoolConnection",
            "metadata": { "name": scenario.name, "namespace": OPERATOR_NAMESPACE },
            "spec": {
                "url": service.url, "allowInsecure": true,
                "credentials": { "personalAccessToken": { "secretName": "e2e-pat", "key": "pat" } },
                "allow": [
                    { "namespaces": ["elsewhere"], "pools": [scenario.name] },
                    { "namespaces": [scenario.name], "pools": ["another"] },
                ],
            },
        });
        kubectl::apply(&manifest.to_string()).await?;
        scenario.put_agent_pool(json!({})).await?;
        let found = scenario
            .wait_condition("ConnectionReady", "False", NOTICE_LIMIT)
            .await?;
        ensure!(found["reason"] == "NotAllowed", "it says {found}");
        ensure!(
            text(&found, "message").contains(&scenario.name),
            "the message names neither connection, namespace nor pool: {found}"
        );
        stays(QUIET, "no connection reached the service", || {
            service.connections() == 0
        })
        .await?;
        let pool = scenario.agent_pool().await?;
        let ready = condition(&pool, "Ready").is_some_and(|found| found["status"] == "True");
        ensure!(!ready, "the AgentPool says that it is ready");
        ensure!(
            scenario.secrets().await?.is_empty(),
            "keys were made for it"
        );
        Ok(())
    }
    .await;
    scenario.conclude(outcome).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_told_and_a_right_one_is_taken_up_without_a_restart() -> Result<()> {
    let secret = "e2e-pat-wrong";
    let scenario = Scenario::outline("wrong").await?;
    let outcome = async {
        let before = operator_pods(&scenario).await?;
        scenario
            .put_credential(secret, &"not-a-token-of-this-service".into())
            .await?;
        let own = [scenario.name.as_str()];
        scenario
            .put_connection(SERVICE_URL, secret, &own, &own)
            .await?;
        scenario.put_agent_pool(json!({})).await?;
        let found = scenario
            .wait_connection("CredentialsValid", "False", NOTICE_LIMIT)
            .await?;
        ensure!(found["reason"] == "CredentialRejected", "it says {found}");
        ensure!(!text(&found, "message").is_empty(), "it has no message");
        let ready = condition(&scenario.agent_pool().await?, "Ready");
        ensure!(
            ready.is_none_or(|ready| ready["status"] != "True"),
            "the AgentPool says that it is ready"
        );

        scenario
            .put_credential(secret, scenario.service.pat())
            .await?;
        scenario
            .wait_connection("CredentialsValid", "True", NOTICE_LIMIT)
            .await?;
        scenario.wait_reserved(1).await?;
        let after = operator_pods(&scenario).await?;
        ensure!(
            before == after,
            "the operator was restarted: {before:?} became {after:?}"
        );
        Ok(())
    }
    .await;
    scenario.conclude(outcome).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_refuses_the_token_is_not_hammered() -> Result<()> {
    let Some(address) = address() else {
        return Ok(());
    };
    let scenario = Scenario::outline("refusing").await?;
    let outcome = async {
        let service = Exposed::start(address, UNAUTHORIZED).await?;
        scenario
            .put_credential("e2e-pat", scenario.service.pat())
            .await?;
        let own = [scenario.name.as_str()];
        scenario
            .put_connection(&service.url, "e2e-pat", &own, &own)
            .await?;
        scenario.put_agent_pool(json!({})).await?;
        scenario
            .wait_connection("CredentialsValid", "False", NOTICE_LIMIT)
            .await?;
        let already = service.requests();
        ensure!(already > 0, "the service was never asked");
        stays(QUIET * 2, "at most ten requests in 20 s", || {
            service.requests() - already <= 10
        })
        .await
    }
    .await;
    scenario.conclude(outcome).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_answer_is_told() -> Result<()> {
    let Some(address) = address() else {
        return Ok(());
    };
    let scenario = Scenario::outline("closed").await?;
    let outcome = async {
        let url = closed_url(address).await?;
        scenario
            .put_credential("e2e-pat", scenario.service.pat())
            .await?;
        let own = [scenario.name.as_str()];
        scenario.put_connection(&url, "e2e-pat", &own, &own).await?;
        scenario.put_agent_pool(json!({})).await?;
        let found = scenario
            .wait_connection("Reachable", "False", NOTICE_LIMIT)
            .await?;
        ensure!(!text(&found, "message").is_empty(), "it has no message");
        scenario
            .wait_condition("Ready", "False", NOTICE_LIMIT)
            .await
            .map(drop)
    }
    .await;
    scenario.conclude(outcome).await
}

fn text<'a>(condition: &'a Value, member: &str) -> &'a str {
    condition[member].as_str().unwrap_or_default()
}

/// Looks again and again, for that long, whether something still holds.
async fn stays(how_long: Duration, what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let begun = Instant::now();
    until("the end of a quiet time", how_long * 2, || async {
        Ok((!holds() || begun.elapsed() >= how_long).then_some(()))
    })
    .await?;
    let elapsed = begun.elapsed().as_secs();
    ensure!(holds(), "it is not so that {what}; seen after {elapsed} s");
    Ok(())
}

/// The operator's pods and how often each was restarted.
async fn operator_pods(scenario: &Scenario) -> Result<BTreeMap<String, i32>> {
    let api: Api<Pod> = Api::namespaced(scenario.kube.clone(), OPERATOR_NAMESPACE);
    let mut pods = BTreeMap::new();
    for pod in api.list(&ListParams::default()).await?.items {
        let statuses = pod.status.and_then(|status| status.container_statuses);
        let restarts = statuses
            .into_iter()
            .flatten()
            .map(|container| container.restart_count)
            .sum();
        pods.insert(pod.metadata.uid.unwrap_or_default(), restarts);
    }
    Ok(pods)
}
