//! Private keys at rest, and who can read what.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dayfly_e2e::jobs::{GONE_LIMIT, hold};
use dayfly_e2e::names::{
    CREDENTIAL_SECRETS, IDENTITIES_NAMESPACE, OPERATOR, OPERATOR_NAMESPACE, SERVICE_NAMESPACE,
};
use dayfly_e2e::scenario::{Scenario, name_of};
use dayfly_e2e::values::{PKCS8, PKCS8_TEXT, holds};
use dayfly_wire::event::TaskResult;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::Value;
use std::collections::BTreeSet;

const EVERY_VERB: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_sealed_at_rest_and_gone_once_its_agent_listens() -> Result<()> {
    Scenario::with("sealed", async |scenario| {
        scenario.wait_reserved(2).await?;
        for secret in scenario.secrets().await? {
            check_sealed(scenario, &secret)
                .with_context(|| format!("the Secret of {}", name_of(&secret.metadata)))?;
        }
        let job = scenario.queue(&[hold("echo done")]).await?;
        let identity = scenario.wait_holding(&job).await?;
        let left = scenario.left_of(&identity).await?;
        ensure!(
            left == ["pod", "registration"],
            "while the job runs there are: {left:?}"
        );
        // The pod had nothing to do with the Secret: it cannot even name it.
        let pod = scenario.pod(&identity).await?.context("no pod")?;
        let text = serde_json::to_string(&pod.spec)?;
        ensure!(
            !text.contains("secretKeyRef") && !text.contains("secretName"),
            "the pod refers to a Secret: {text}"
        );
        scenario.release(&identity).await?;
        scenario.expect(&job, TaskResult::Succeeded).await?;
        scenario.wait_gone(&identity, GONE_LIMIT).await
    })
    .await
}

fn check_sealed(scenario: &Scenario, secret: &Secret) -> Result<()> {
    let data = secret.data.as_ref().context("no data")?;
    ensure!(data.len() == 1, "it holds {:?}", data.keys());
    let blob = data.values().next().context("no value")?;
    let blob: Value = serde_json::from_slice(&blob.0)?;
    ensure!(
        members(&blob) == ["ciphertext", "header", "kek", "nonce", "v"].into(),
        "the blob has {:?}",
        members(&blob)
    );
    let header = &blob["header"];
    ensure!(
        members(header) == ["agentId", "name", "namespace", "poolUid"].into(),
        "the header has {:?}",
        members(header)
    );
    ensure!(header["name"] == name_of(&secret.metadata), "another name");
    ensure!(header["namespace"] == scenario.name, "another namespace");
    let ciphertext = STANDARD.decode(blob["ciphertext"].as_str().context("no ciphertext")?)?;
    ensure!(ciphertext.len() > 1000, "too short to hold a key");
    ensure!(
        !holds(&ciphertext, &PKCS8),
        "the ciphertext holds a key in the clear"
    );
    // Neither PEM, nor base64 of PKCS#8, however deep: not in the value, nor anywhere in the object.
    let object = serde_json::to_string(secret)?;
    let inner = String::from_utf8_lossy(&ciphertext);
    for text in [object.as_str(), &blob.to_string(), &inner] {
        for clear in ["PRIVATE KEY", "MIIEv", PKCS8_TEXT, "privateKey"] {
            ensure!(!text.contains(clear), "it holds {clear:?}");
        }
    }
    Ok(())
}

fn members(object: &Value) -> BTreeSet<&str> {
    let members = object.as_object();
    members
        .into_iter()
        .flat_map(|members| members.keys().map(String::as_str))
        .collect()
}

/// Asks the API server whether the operator's service account may do something.
struct Access {
    reviews: Api<SubjectAccessReview>,
}

impl Access {
    async fn allowed(&self, namespace: &str, verb: &str, resource: &str) -> Result<bool> {
        self.allowed_for(namespace, verb, resource, None).await
    }

    async fn allowed_for(
        &self,
        namespace: &str,
        verb: &str,
        resource: &str,
        name: Option<&str>,
    ) -> Result<bool> {
        let text = |text: &str| Some(text.to_owned());
        let (resource, subresource) = match resource.split_once('/') {
            Some((resource, subresource)) => (resource, text(subresource)),
            None => (resource, None),
        };
        let (group, resource) = match resource.split_once('.') {
            Some((resource, group)) => (text(group), text(resource)),
            None => (None, text(resource)),
        };
        let group_of = |what: &str| format!("system:serviceaccounts{what}");
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(format!(
                    "system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR}"
                )),
                groups: Some(vec![
                    group_of(""),
                    group_of(&format!(":{OPERATOR_NAMESPACE}")),
                    "system:authenticated".to_owned(),
                ]),
                resource_attributes: Some(ResourceAttributes {
                    namespace: text(namespace),
                    verb: text(verb),
                    group,
                    resource,
                    subresource,
                    name: name.map(str::to_owned),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let answer = self.reviews.create(&PostParams::default(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_may_do_what_it_needs_and_nothing_with_other_secrets() -> Result<()> {
    let scenario = Scenario::outline("rights").await?;
    let outcome = async {
        let access = Access {
            reviews: Api::all(scenario.kube.clone()),
        };
        nothing_with_secrets(&access, &scenario.name).await?;
        nothing_beyond(&access, &scenario.name).await?;
        what_it_needs(&access, &scenario.name).await
    }
    .await;
    scenario.conclude(outcome).await
}

async fn nothing_with_secrets(access: &Access, pool_namespace: &str) -> Result<()> {
    for namespace in [pool_namespace, SERVICE_NAMESPACE, "default", "kube-system"] {
        for verb in EVERY_VERB {
            let allowed = access.allowed(namespace, verb, "secrets").await?;
            ensure!(!allowed, "it may {verb} Secrets in {namespace}");
        }
    }
    for verb in [
        "get",
        "list",
        "watch",
        "update",
        "patch",
        "delete",
        "deletecollection",
    ] {
        let allowed = access.allowed(OPERATOR_NAMESPACE, verb, "secrets").await?;
        ensure!(!allowed, "it may {verb} every Secret in its own namespace");
        let some = Some("somebody-elses");
        let allowed = access
            .allowed_for(OPERATOR_NAMESPACE, verb, "secrets", some)
            .await?;
        ensure!(!allowed, "it may {verb} a Secret that nobody named to it");
    }
    for verb in ["update", "patch", "delete"] {
        let pat = Some("e2e-pat");
        let allowed = access
            .allowed_for(OPERATOR_NAMESPACE, verb, "secrets", pat)
            .await?;
        ensure!(!allowed, "it may {verb} a credential");
    }
    Ok(())
}

/// Each of these would be a way around the rights above.
async fn nothing_beyond(access: &Access, pool_namespace: &str) -> Result<()> {
    for (verb, resource) in [
        ("create", "pods/exec"),
        ("create", "pods/attach"),
        ("create", "pods/portforward"),
        ("patch", "pods/ephemeralcontainers"),
        ("create", "serviceaccounts/token"),
        ("create", "serviceaccounts"),
        ("impersonate", "serviceaccounts"),
        ("create", "rolebindings.rbac.authorization.k8s.io"),
        ("escalate", "roles.rbac.authorization.k8s.io"),
        ("bind", "roles.rbac.authorization.k8s.io"),
        ("create", "deployments.apps"),
        ("create", "poolconnections.dayfly.dev"),
    ] {
        for namespace in [pool_namespace, OPERATOR_NAMESPACE, IDENTITIES_NAMESPACE] {
            let allowed = access.allowed(namespace, verb, resource).await?;
            ensure!(!allowed, "it may {verb} {resource} in {namespace}");
        }
    }
    Ok(())
}

async fn what_it_needs(access: &Access, pool_namespace: &str) -> Result<()> {
    for verb in ["get", "list", "watch", "create", "delete"] {
        let allowed = access
            .allowed(IDENTITIES_NAMESPACE, verb, "secrets")
            .await?;
        ensure!(allowed, "it may not {verb} identities");
        let allowed = access.allowed(pool_namespace, verb, "pods").await?;
        ensure!(allowed, "it may not {verb} pods");
    }
    for secret in CREDENTIAL_SECRETS {
        let allowed = access
            .allowed_for(OPERATOR_NAMESPACE, "get", "secrets", Some(secret))
            .await?;
        ensure!(allowed, "it may not read the credential {secret}");
    }
    for verb in ["list", "watch"] {
        let resource = "agentpools.dayfly.dev";
        ensure!(
            access.allowed(pool_namespace, verb, resource).await?,
            "it may not {verb} AgentPools"
        );
    }
    Ok(())
}
