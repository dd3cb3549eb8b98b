//! The live check, against the pool service.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests are not tests to the lints.

use dayfly_client::{AgentQuery, Client, Credential};
use dayfly_operator::check::live;
use dayfly_operator::check::report::{Outcome, Report};
use dayfly_operator::connection::{Endpoint, Link};
use dayfly_pool_service::testing::{ALL_SCOPES, PoolHandle};
use dayfly_wire::agent::AgentStatus;
use dayfly_wire::secret::SecretText;
use std::time::Duration;

/// How long the service holds a poll when nothing comes.
const HOLD: Duration = Duration::from_millis(200);
/// The rows that need a job.
const JOB: [&str; 6] = [
    "placeholder",
    "delivery",
    "receive-time",
    "busy-disable",
    "busy-delete",
    "finish",
];

async fn service() -> PoolHandle {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let service = PoolHandle::builder().poll_hold(HOLD).start().await.unwrap();
    service.create_pool("linux").await.unwrap();
    service
}

fn link(service: &PoolHandle, pat: SecretText) -> Link {
    let url = service.url().to_owned();
    Link {
        client: Client::builder(&url)
            .credential(Credential::Pat(pat))
            .build()
            .unwrap(),
        endpoint: Endpoint {
            url,
            ca_bundle: None,
            proxy: None,
        },
    }
}

/// Waits until the check's agent is seen so.
async fn see(link: &Link, status: AgentStatus) {
    let pool = link.client.find_pool("linux").await.unwrap().unwrap();
    loop {
        let agents = link.client.agents(pool.id, &AgentQuery::default()).await;
        let mut agents = agents.unwrap().into_iter();
        if agents.any(|one| one.name.starts_with(live::PREFIX) && one.status == Some(status)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn names(link: &Link) -> Vec<String> {
    let pool = link.client.find_pool("linux").await.unwrap().unwrap();
    let agents = link.client.agents(pool.id, &AgentQuery::default()).await;
    agents
        .unwrap()
        .into_iter()
        .map(|agent| agent.name)
        .collect()
}

fn outcomes(report: &Report, of: Outcome) -> Vec<&str> {
    let findings = report.findings.iter();
    let found = findings.filter(|finding| finding.outcome == of);
    found.map(|finding| finding.id.as_str()).collect()
}

#[tokio::test]
async fn a_faithful_service_is_as_assumed_and_nothing_is_left() {
    let service = service().await;
    let link = link(&service, service.pat(ALL_SCOPES).await.unwrap());
    let report = live::check(&link, "linux", None).await;
    assert!(report.is_good(), "{}", report.table());
    assert_eq!(outcomes(&report, Outcome::Unknown), JOB);
    assert!(names(&link).await.is_empty());
}

#[tokio::test]
async fn what_a_job_shows_is_looked_at_when_somebody_queues_one() {
    let service = service().await;
    let link = link(&service, service.pat(ALL_SCOPES).await.unwrap());
    let check = live::check(&link, "linux", Some(Duration::from_secs(20)));
    let queue = async {
        for status in [AgentStatus::Online, AgentStatus::Offline] {
            let waited = tokio::time::timeout(Duration::from_secs(20), see(&link, status)).await;
            waited.unwrap_or_else(|_| panic!("waited 20 s for the agent to be {status:?}"));
        }
        let job = serde_json::json!({"pool": "linux", "steps": [{"script": "true"}]});
        service.queue_json(job).await.unwrap()
    };
    let (report, queued) = tokio::join!(check, queue);
    assert!(report.is_good(), "{}", report.table());
    assert!(
        outcomes(&report, Outcome::Unknown).is_empty(),
        "{}",
        report.table()
    );
    let pool = link.client.find_pool("linux").await.unwrap().unwrap();
    let request = service.request(pool.id, queued.request_id).await.unwrap();
    assert!(request.result.is_some(), "the job was ended");
    assert!(names(&link).await.is_empty());
}

#[tokio::test]
async fn a_credential_that_may_only_read_is_told_what_it_lacks_and_makes_nothing() {
    let service = service().await;
    let link = link(&service, service.pat("agentpools").await.unwrap());
    let report = live::check(&link, "linux", None).await;
    assert_eq!(
        outcomes(&report, Outcome::No),
        ["registration"],
        "{}",
        report.table()
    );
    let nobody = self::link(&service, "expired".into());
    let report = live::check(&nobody, "linux", None).await;
    assert_eq!(outcomes(&report, Outcome::No), ["credential"]);
    let report = live::check(&link, "no-such-pool", None).await;
    assert_eq!(outcomes(&report, Outcome::No), ["credential"]);
    assert!(names(&link).await.is_empty());
}
