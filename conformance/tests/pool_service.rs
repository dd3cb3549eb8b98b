//! Our pool service against every scenario, over the network and with nothing of it used but its calls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use dayfly_conformance::suite::Options;
use dayfly_conformance::{Findings, Outcome, report, run};
use dayfly_pool_service::testing::{ALL_SCOPES, PoolHandle};
use dayfly_wire::secret::SecretText;
use std::time::Duration;

/// A question without a message is held for so long; that it is held for long is not what is tested here.
const HOLD: Duration = Duration::from_millis(300);

fn options(service: &PoolHandle, pat: SecretText, pool: Option<&str>) -> Options {
    Options {
        url: service.url().to_owned(),
        pat,
        pool: pool.map(str::to_owned),
        project: "conformance".to_owned(),
        ca_bundle: None,
    }
}

fn names(findings: &Findings, wanted: fn(&Outcome) -> bool) -> Vec<&str> {
    let rows = findings.rows.iter().filter(|row| wanted(&row.outcome));
    rows.map(|row| row.name).collect()
}

#[tokio::test]
async fn our_pool_service_passes_every_scenario_and_is_left_as_it_was() {
    let service = PoolHandle::builder().poll_hold(HOLD).start().await.unwrap();
    let pat = service.pat(ALL_SCOPES).await.unwrap();
    let pool = service.create_pool("linux").await.unwrap();
    let findings = run(&options(&service, pat.duplicate(), Some("linux")), None)
        .await
        .unwrap();
    let passed = names(&findings, |outcome| *outcome == Outcome::Passed);
    assert_eq!(
        passed.len(),
        findings.rows.len(),
        "{}",
        report::table(&findings)
    );
    assert!(findings.left.is_empty(), "{:?}", findings.left);
    let agents = service
        .service()
        .agents(
            &dayfly_pool_service::testing::administrator().unwrap(),
            pool,
            None,
            dayfly_pool_service::ops::agents::Wanted::default(),
        )
        .await
        .unwrap();
    assert!(agents.is_empty(), "{agents:?}");
}

#[tokio::test]
async fn a_token_that_does_not_count_ends_the_run_before_it_begins() {
    let service = PoolHandle::builder().poll_hold(HOLD).start().await.unwrap();
    let stop = run(&options(&service, "nothing".into(), None), None)
        .await
        .err()
        .unwrap();
    assert!(stop.to_string().contains("not accepted"), "{stop}");
}

#[tokio::test]
async fn a_token_that_may_only_read_fails_scenarios_and_leaves_nothing() {
    let service = PoolHandle::builder().poll_hold(HOLD).start().await.unwrap();
    let pat = service.pat("agentpools,build").await.unwrap();
    service.create_pool("linux").await.unwrap();
    let findings = run(&options(&service, pat, Some("linux")), Some("agents"))
        .await
        .unwrap();
    assert!(findings.differs(), "{}", report::table(&findings));
    assert!(findings.left.is_empty(), "{:?}", findings.left);
}
