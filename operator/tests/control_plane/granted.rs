//! What the chart grants the operator, and what it does with it: everything that it does is granted, and what is granted
//! is done, by the API server's own account.

use crate::support::audit::{self, Entry};
use crate::support::installation::{FIRST, Installation, SECOND, Setup};
use crate::support::rights::Rights;
use crate::support::{DEADLINE, until};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::DeleteParams;
use std::collections::{BTreeMap, BTreeSet};

/// Granted and not done here: resource, verb, and what it is granted for.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("configmaps", "get", "the CA bundle of a PoolConnection"),
    (
        "secrets",
        "update",
        "rotating sealing keys, and a new authority when the old one ends",
    ),
    (
        "pods",
        "get",
        "why a job container ended, when an agent asks for it",
    ),
    (
        "agentpools/finalizers",
        "update",
        "owner references, where the cluster checks them",
    ),
    (
        "networkpolicies",
        "create",
        "an apply that makes one is checked for this too",
    ),
    ("events", "patch", "an Event that is seen again"),
    ("events", "create", "Events of PoolConnections"),
    (
        "poddisruptionbudgets",
        "*",
        "not made yet: spec.lifecycle has a place for it",
    ),
];

/// A right: where, the group, the resource and the verb.
type Right = (String, String, String, String);

fn rights_of(place: &str, rules: Option<Vec<PolicyRule>>) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for rule in rules.unwrap_or_default() {
        for verb in &rule.verbs {
            for path in rule.non_resource_urls.iter().flatten() {
                rights.insert((place.to_owned(), String::new(), path.clone(), verb.clone()));
            }
            for group in rule.api_groups.iter().flatten() {
                for resource in rule.resources.iter().flatten() {
                    let right = [place, group, resource, verb].map(str::to_owned);
                    rights.insert(right.into());
                }
            }
        }
    }
    rights
}

fn done(entry: &Entry) -> Right {
    match &entry.object_ref {
        Some(object) => (
            object.namespace.clone(),
            object.api_group.clone(),
            object.rule_resource(),
            entry.verb.clone(),
        ),
        None => (
            String::new(),
            String::new(),
            entry.uri.split('?').next().unwrap_or_default().to_owned(),
            entry.verb.clone(),
        ),
    }
}

/// Writes and calls for each agent, whatever they come to together.
fn per_agent(installation: &Installation, agents: usize) {
    let of_agents = |kind: &str| kind.ends_with("pods@ci") || kind.ends_with("secrets@identities");
    let is_write = |kind: &str| {
        !["get", "list", "watch"]
            .iter()
            .any(|verb| kind.starts_with(verb))
    };
    let counts = installation.to_cluster.counts();
    let writes: BTreeMap<_, _> = counts
        .iter()
        .filter(|(kind, _)| of_agents(kind) && is_write(kind))
        .collect();
    let calls = installation.to_service.counts();
    let calls: BTreeMap<_, _> = calls
        .iter()
        .filter(|(kind, _)| kind.contains("agents") && !kind.starts_with("GET"))
        .collect();
    println!("{agents} agents: API writes {writes:?}, calls of the service {calls:?}");
    let writes: usize = writes.values().copied().sum();
    // The first identity of the reserve is made too, and is not used.
    assert!(
        writes <= 5 * agents + 2,
        "{writes} writes for {agents} agents"
    );
    let calls: usize = calls.values().copied().sum();
    assert!(calls <= 4 * agents + 2, "{calls} calls for {agents} agents");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_right_is_used_and_none_is_missing() {
    let Some(installation) = Installation::start(Setup::default()).await else {
        return;
    };
    let queued = installation.queue(3).await;
    installation.wait_until_ended(&queued, DEADLINE).await;
    installation.wait_until_settled().await;
    let agents = installation.kubelet.ledger.pods.lock().unwrap().len();
    per_agent(&installation, agents);
    installation.kubelet.behave(|manner| manner.die = true);
    let lost = installation.queue(1).await;
    installation.wait_until_ended(&lost, DEADLINE).await;
    installation.wait_until_settled().await;
    installation.operators.signal(FIRST, "TERM");
    installation.operators.start(SECOND);
    until(
        "the second operator to lead",
        DEADLINE,
        async || match installation.leaders().await {
            leaders if leaders == [SECOND] => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    let (pools, name) = (installation.agent_pools(), installation.pool_name());
    pools.delete(name, &DeleteParams::default()).await.unwrap();
    until("the AgentPool to be gone", DEADLINE, async || {
        match pools.get_opt(name).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    compare(&installation).await;
}

async fn compare(installation: &Installation) {
    let entries = audit::entries(&installation.cluster.audit_log(), &installation.user());
    let refused: Vec<_> = entries.iter().filter(|entry| entry.code() == 403).collect();
    assert!(refused.is_empty(), "the chart does not grant {refused:?}");
    let done: BTreeSet<Right> = entries.iter().map(done).collect();
    let rights = Rights::of(installation.cluster, &installation.mark).await;
    let mut granted = BTreeSet::new();
    for role in rights.roles() {
        granted.extend(rights_of(&role.metadata.namespace.unwrap(), role.rules));
    }
    for role in rights.cluster_roles() {
        granted.extend(rights_of("", role.rules));
    }
    assert!(granted.len() > 20, "{granted:?}");
    let elsewhere = |(_, _, resource, verb): &Right| {
        ELSEWHERE
            .iter()
            .any(|(of, by, _)| of == resource && (by == verb || *by == "*"))
    };
    let unused: Vec<_> = granted
        .difference(&done)
        .filter(|right| !elsewhere(right))
        .collect();
    assert!(unused.is_empty(), "granted and never used: {unused:#?}");
    for (resource, verb, reason) in ELSEWHERE {
        let is_granted = granted
            .iter()
            .any(|(_, _, of, by)| of == resource && (by == verb || *verb == "*"));
        assert!(
            is_granted,
            "{verb} {resource} is not granted any more: {reason}"
        );
    }
}
