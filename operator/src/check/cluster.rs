//! Whether the cluster is as the operator needs it: reached, the definitions served, the rights granted. Changes nothing.

use super::report::{Outcome, Report};
use crate::args::CheckArgs;
use crate::deadline::within;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

const CLAIMS: &[(&str, &str)] = &[
    ("api-server", "the API server answers"),
    ("agentpools", "AgentPools are served"),
    ("poolconnections", "PoolConnections are served"),
    ("rights", "the operator may do what it does"),
    (
        "no-secrets",
        "the operator may not read Secrets where pods run",
    ),
];

/// A right: API group, resource, subresource, verbs.
type Right = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
);

const IN_POOL_NAMESPACES: &[Right] = &[
    ("dayfly.dev", "agentpools", "", &["list", "watch", "patch"]),
    ("dayfly.dev", "agentpools", "status", &["patch"]),
    (
        "",
        "pods",
        "",
        &["list", "watch", "create", "delete", "patch"],
    ),
    (
        "networking.k8s.io",
        "networkpolicies",
        "",
        &["create", "patch", "delete"],
    ),
    ("events.k8s.io", "events", "", &["create"]),
];
const IN_ITS_OWN: &[Right] = &[
    ("dayfly.dev", "poolconnections", "", &["list", "watch"]),
    ("dayfly.dev", "poolconnections", "status", &["patch"]),
    ("", "configmaps", "", &["get"]),
    ("", "secrets", "", &["create"]),
    ("", "pods", "", &["list", "patch"]),
];
const IN_IDENTITIES: &[Right] = &[("", "secrets", "", &["list", "watch", "create", "delete"])];

/// Looks at everything.
pub async fn check(kube: &Client, args: &CheckArgs) -> Report {
    let mut report = Report::of(CLAIMS);
    match within(kube.apiserver_version()).await {
        Ok(version) => report.found("api-server", Outcome::Yes, version.git_version),
        Err(error) => {
            report.found("api-server", Outcome::No, error.to_string());
            return report;
        }
    }
    definitions(kube, &mut report).await;
    rights(kube, args, &mut report).await;
    report
}

async fn definitions(kube: &Client, report: &mut Report) {
    let served = within(kube.list_api_group_resources("dayfly.dev/v1alpha1")).await;
    for kind in ["agentpools", "poolconnections"] {
        match &served {
            Ok(list) if list.resources.iter().any(|one| one.name == kind) => {
                report.found(kind, Outcome::Yes, "dayfly.dev/v1alpha1");
            }
            Ok(_) => report.found(kind, Outcome::No, "not among those of dayfly.dev/v1alpha1"),
            Err(error) => report.found(kind, Outcome::No, error.to_string()),
        }
    }
}

async fn rights(kube: &Client, args: &CheckArgs, report: &mut Report) {
    let mut missing = Vec::new();
    let mut asked = 0;
    let watched = args.watched();
    let pools = watched
        .iter()
        .map(|one| (one.as_deref(), IN_POOL_NAMESPACES));
    let own = [
        (Some(args.namespace.as_str()), IN_ITS_OWN),
        (Some(args.identities_namespace.as_str()), IN_IDENTITIES),
        (
            None,
            &[("authentication.k8s.io", "tokenreviews", "", &["create"][..])][..],
        ),
    ];
    for (namespace, rights) in pools.chain(own) {
        for (group, resource, subresource, verbs) in rights {
            for verb in *verbs {
                asked += 1;
                match may(kube, namespace, group, resource, subresource, verb).await {
                    Ok(true) => {}
                    Ok(false) => missing.push(format!(
                        "{verb} {resource}{}{subresource} in {}",
                        if subresource.is_empty() { "" } else { "/" },
                        namespace.unwrap_or("every namespace")
                    )),
                    Err(error) => {
                        report.found("rights", Outcome::No, format!("cannot ask: {error}"));
                        return;
                    }
                }
            }
        }
    }
    if missing.is_empty() {
        report.found("rights", Outcome::Yes, format!("{asked} looked at"));
    } else {
        report.found("rights", Outcome::No, format!("not {}", missing.join(", ")));
    }
    for namespace in &watched {
        match may(kube, namespace.as_deref(), "", "secrets", "", "get").await {
            Ok(false) => report.found("no-secrets", Outcome::Yes, ""),
            Ok(true) => {
                let place = namespace.as_deref().unwrap_or("every namespace");
                report.found("no-secrets", Outcome::No, format!("it may in {place}"));
                return;
            }
            Err(error) => report.found("no-secrets", Outcome::Unknown, error.to_string()),
        }
    }
}

async fn may(
    kube: &Client,
    namespace: Option<&str>,
    group: &str,
    resource: &str,
    subresource: &str,
    verb: &str,
) -> Result<bool, kube::Error> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: namespace.map(str::to_owned),
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource: Some(subresource.to_owned()).filter(|name| !name.is_empty()),
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(kube.clone());
    let answer = within(api.create(&PostParams::default(), &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
