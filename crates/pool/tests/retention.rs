//! What is kept of finished runs, and for how long.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail like tests.

mod common;

use common::Fixture;
use dayfly_pool_service::clock::{Clock, SystemClock};
use dayfly_pool_service::testing::PoolHandle;
use dayfly_wire::ids::{BuildId, RequestId};
use jiff::SignedDuration;
use serde_json::json;

/// A service that keeps two finished runs of each pipeline.
async fn keeping_two() -> Fixture {
    common::install_tls();
    let builder = PoolHandle::builder()
        .manual_clock(SystemClock.now())
        .retained_runs(2);
    let fixture = Fixture::on(builder.start().await.unwrap()).await;
    fixture.register("one").await;
    fixture
}

/// Queues a run of a pipeline and ends it.
async fn finished(fixture: &Fixture, pipeline: &str) -> (RequestId, BuildId) {
    let queued = fixture.queue_with(json!({"name": pipeline})).await;
    fixture.service.cancel(queued.request_id).await.unwrap();
    (queued.request_id, queued.build_id)
}

async fn is_there(fixture: &Fixture, run: BuildId) -> bool {
    let path = format!("/demo/_apis/build/builds/{run}");
    let answer = fixture.call("GET", &path, Some(&fixture.pat), None).await;
    assert!(matches!(answer.status, 200 | 404), "{}", answer.body);
    answer.status == 200
}

#[tokio::test]
async fn the_newest_finished_runs_of_each_pipeline_are_kept_and_what_is_kept_for_ever_or_runs() {
    let fixture = keeping_two().await;
    let waiting = fixture.queue_with(json!({"name": "nightly"})).await;
    let mut nightly = Vec::new();
    for _ in 0..5 {
        nightly.push(finished(&fixture, "nightly").await.1);
    }
    let other = finished(&fixture, "other").await.1;
    let path = format!("/demo/_apis/build/builds/{}", nightly[0]);
    let kept = fixture
        .call(
            "PATCH",
            &path,
            Some(&fixture.pat),
            Some(json!({"keepForever": true})),
        )
        .await;
    assert_eq!(kept.status, 200, "{}", kept.body);

    assert_eq!(fixture.service.service().tidy().await.unwrap(), 2);
    let mut left = Vec::new();
    for run in &nightly {
        left.push(is_there(&fixture, *run).await);
    }
    assert_eq!(left, [true, false, false, true, true]);
    assert!(is_there(&fixture, other).await);
    assert!(
        is_there(&fixture, waiting.build_id).await,
        "it has not ended"
    );
    assert_eq!(fixture.service.service().tidy().await.unwrap(), 0);

    // Age counts too, whatever the number.
    let service = &fixture.service;
    service
        .advance(SignedDuration::from_hours(31 * 24))
        .await
        .unwrap();
    assert_eq!(service.service().tidy().await.unwrap(), 3);
    assert!(is_there(&fixture, nightly[0]).await);
    assert!(!is_there(&fixture, other).await);
}

#[tokio::test]
async fn jobs_are_queued_while_many_runs_are_removed() {
    const RUNS: usize = 120;
    let fixture = keeping_two().await;
    for _ in 0..RUNS {
        finished(&fixture, "nightly").await;
    }
    let service = std::sync::Arc::clone(fixture.service.service());
    let tidying = tokio::spawn(async move { service.tidy().await.unwrap() });
    // Each of these writes; were it one transaction that removes, the first would come after all of it.
    let mut between = 0;
    while !tidying.is_finished() {
        fixture.queue_with(json!({"name": "urgent"})).await;
        between += 1;
    }
    assert_eq!(tidying.await.unwrap(), RUNS - 2);
    assert!(between > 2, "{between} jobs were queued meanwhile");
}
