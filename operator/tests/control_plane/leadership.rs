//! Two operators: one works, and the other takes over.

use crate::support::installation::{FIRST, Installation, SECOND, Setup};
use crate::support::proxy::Fault;
use crate::support::{DEADLINE, until};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// From the end of a leader to the next one that works.
const FAIL_OVER: Duration = Duration::from_secs(5);
/// Less than a Lease holds that was not released.
const HAND_OVER: Duration = Duration::from_millis(2500);

fn setup() -> Setup {
    Setup {
        pool: json!({
            "scaling": { "maxAgents": 6, "pollInterval": "200ms" },
            "reserve": { "size": 2 },
            "lifecycle": { "history": { "failed": 0 } },
            "templates": [{ "name": "default" }],
        }),
        ..Setup::default()
    }
}

async fn with_two_operators() -> Option<Installation> {
    let installation = Installation::start(setup()).await?;
    wait_for_leader(&installation, FIRST).await;
    installation.operators.start(SECOND);
    let ready = format!("{}/readyz", installation.operators.health_url(SECOND));
    until(
        "the second operator to be ready",
        DEADLINE,
        async || match reqwest::get(&ready).await {
            Ok(answer) if answer.status() == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    Some(installation)
}

async fn wait_for_leader(installation: &Installation, pod: &str) {
    until(
        "the leader's label",
        DEADLINE,
        async || match installation.leaders().await {
            leaders if leaders == [pod] => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
}

/// What the identity API of a pod's operator answers to a claim, and what its metrics say of the lead.
async fn claim_status(installation: &Installation, pod: &str) -> (u16, bool) {
    let port = installation.operators.identity_port(pod).unwrap();
    let http = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .unwrap();
    let claim = json!({ "identity": "nobody", "nonce": "0123456789abcdef" });
    let asked = http.post(format!("https://127.0.0.1:{port}/v1/claim"));
    let status = asked.json(&claim).send().await.unwrap().status();
    let metrics = format!("{}/metrics", installation.operators.health_url(pod));
    let metrics = reqwest::get(metrics).await.unwrap().text().await.unwrap();
    (status.as_u16(), metrics.contains("\ndayfly_leader 1\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_operator_takes_over_within_seconds_of_a_killed_leader_while_jobs_start() {
    let Some(installation) = with_two_operators().await else {
        return;
    };
    assert_eq!(claim_status(&installation, FIRST).await, (401, true));
    assert_eq!(claim_status(&installation, SECOND).await, (503, false));
    let queued = installation.queue(5).await;
    until("the first pod", DEADLINE, async || {
        let pods = installation.kubelet.ledger.pods.lock().unwrap().len();
        if pods > 0 {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    })
    .await;
    installation.operators.kill(FIRST);
    let killed = Instant::now();
    wait_for_leader(&installation, SECOND).await;
    let took = killed.elapsed();
    println!("fail-over after SIGKILL: {took:?}");
    assert!(took < FAIL_OVER, "{took:?}");
    installation.wait_until_ended(&queued, DEADLINE).await;
    installation.wait_until_settled().await;
    installation.assert_ran_once(&queued).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_told_to_stop_hands_over_at_once() {
    let Some(installation) = with_two_operators().await else {
        return;
    };
    let queued = installation.queue(3).await;
    installation.operators.signal(FIRST, "TERM");
    let told = Instant::now();
    wait_for_leader(&installation, SECOND).await;
    let took = told.elapsed();
    println!("hand-over after SIGTERM: {took:?}");
    assert!(took < HAND_OVER, "{took:?}: the lease was not released");
    let ended = until("the leader to end", DEADLINE, async || {
        let ended = installation.operators.ended(FIRST);
        ended.ok_or("it runs".to_owned())
    })
    .await;
    assert_eq!(ended, 0);
    installation.wait_until_ended(&queued, DEADLINE).await;
    installation.wait_until_settled().await;
    installation.assert_ran_once(&queued).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_slept_while_another_took_over_ends_itself() {
    let Some(installation) = with_two_operators().await else {
        return;
    };
    installation.operators.signal(FIRST, "STOP");
    wait_for_leader(&installation, SECOND).await;
    let queued = installation.queue(2).await;
    installation.operators.signal(FIRST, "CONT");
    let ended = until("the deposed leader to end", DEADLINE, async || {
        installation
            .operators
            .ended(FIRST)
            .ok_or("it runs".to_owned())
    })
    .await;
    assert_ne!(ended, 0);
    assert!(
        installation
            .operators
            .log(FIRST)
            .contains("failed to keep the lead")
    );
    assert_eq!(installation.leaders().await, [SECOND]);
    installation.wait_until_ended(&queued, DEADLINE).await;
    installation.wait_until_settled().await;
    installation.assert_ran_once(&queued).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_cannot_renew_begins_nothing_and_goes_on_when_it_can() {
    let Some(installation) = Installation::start(setup()).await else {
        return;
    };
    let process = installation.operators.id(FIRST);
    installation
        .to_cluster
        .judge(|call| match call.kind.as_str() {
            "update leases@system" => Fault::Answer(500, None),
            _ => Fault::Pass,
        });
    until(
        "the leader to doubt",
        DEADLINE,
        async || match claim_status(&installation, FIRST).await {
            (503, false) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    let before = installation.to_cluster.counts();
    let queued = installation.queue(2).await;
    let polls = installation.to_service.counts()["GET jobrequests"] + 5;
    until("the queue to be seen", DEADLINE, async || {
        let seen = installation.to_service.counts()["GET jobrequests"];
        if seen >= polls {
            Ok(())
        } else {
            Err(format!("{seen} looks"))
        }
    })
    .await;
    let created =
        |counts: &std::collections::BTreeMap<String, usize>| counts.get("create pods@ci").copied();
    assert_eq!(created(&installation.to_cluster.counts()), created(&before));
    installation.to_cluster.relent();
    installation.wait_until_ended(&queued, DEADLINE).await;
    installation.wait_until_settled().await;
    installation.assert_ran_once(&queued).await;
    assert_eq!(installation.operators.id(FIRST), process);
    assert!(
        installation.operators.runs(FIRST),
        "it did not have to begin anew"
    );
    // Whoever takes it by hand deposes it.
    let namespace = format!("system-{}", installation.mark);
    let leases: Api<Lease> = Api::namespaced(installation.kube.clone(), &namespace);
    let other = Patch::Merge(json!({ "spec": { "holderIdentity": "other" } }));
    let params = PatchParams::default();
    leases
        .patch("dayfly-operator", &params, &other)
        .await
        .unwrap();
    until("the deposed leader to end", DEADLINE, async || {
        installation
            .operators
            .ended(FIRST)
            .ok_or("it runs".to_owned())
    })
    .await;
}
