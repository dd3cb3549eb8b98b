//! What Prometheus reads, after calls and jobs that a test knows.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail like tests.

mod common;

use common::Fixture;
use jiff::SignedDuration;
use std::collections::BTreeSet;

struct Scrape(String);

impl Scrape {
    async fn of(fixture: &Fixture) -> Self {
        let root = fixture.service.url().strip_suffix("/default").unwrap();
        let answer = common::call_at(&format!("{root}/metrics"), "GET", None, None).await;
        assert_eq!(answer.status, 200);
        let kind = answer.headers["content-type"].to_str().unwrap().to_owned();
        assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
        assert!(answer.body.ends_with("# EOF\n"));
        Self(answer.body)
    }

    fn value(&self, series: &str) -> Option<f64> {
        let line = self
            .0
            .lines()
            .find(|line| line.split_once(' ').is_some_and(|(name, _)| name == series))?;
        line.split(' ').nth(1)?.parse().ok()
    }

    /// Dates are kept in milliseconds, so that times may be a little longer.
    #[track_caller]
    fn takes(&self, series: &str, seconds: f64) {
        let said = self.value(series).unwrap_or(-1.0);
        assert!((seconds..seconds + 0.01).contains(&said), "{series} {said}");
    }

    #[track_caller]
    fn says(&self, series: &str, value: f64) {
        let said = self.value(series);
        assert_eq!(said, Some(value), "{series} in\n{}", self.0);
    }
}

#[tokio::test]
async fn calls_are_counted_by_route_and_code_and_no_path_becomes_a_label() {
    let fixture = Fixture::start().await;
    let pool = format!("/_apis/DistributedTask/pools/{}", fixture.pool);
    for _ in 0..2 {
        fixture.call("GET", &pool, Some(&fixture.pat), None).await;
    }
    fixture.call("GET", &pool, None, None).await;
    let missing = "/_apis/distributedtask/pools/77";
    fixture.call("GET", missing, Some(&fixture.pat), None).await;
    for number in 0..20 {
        let path = format!("/made-up-{number}");
        fixture.call("GET", &path, None, None).await;
        fixture.call("PURGE", &pool, None, None).await;
    }
    let scrape = Scrape::of(&fixture).await;
    let series = |code| {
        format!(
            "dayfly_pool_http_requests_total{{method=\"GET\",route=\"/_apis/distributedtask/pools/{{pool}}\",code=\"{code}\"}}"
        )
    };
    scrape.says(&series(200), 2.0);
    scrape.says(&series(401), 1.0);
    scrape.says(&series(404), 1.0);
    scrape.says(
        "dayfly_pool_http_request_seconds_count{method=\"GET\",route=\"/_apis/distributedtask/pools/{pool}\"}",
        4.0,
    );
    assert!(!scrape.0.contains("made-up"), "a path is a label");
    assert!(!scrape.0.contains("PURGE"), "a method is a label");
    let known: BTreeSet<String> = fixture
        .service
        .routes()
        .iter()
        .filter_map(|route| route.split_once(' '))
        .map(|(_, path)| path.strip_prefix("/default").unwrap_or(path).to_owned())
        .collect();
    let labels = scrape.0.lines().filter_map(|line| {
        let (_, rest) = line.split_once("route=\"")?;
        rest.split_once('"')
    });
    let labels: BTreeSet<_> = labels.map(|(route, _)| route.to_owned()).collect();
    let made_up: Vec<_> = labels.difference(&known).collect();
    assert!(made_up.is_empty(), "{made_up:?} are no routes");
}

#[tokio::test]
async fn the_queue_of_each_pool_its_oldest_job_and_what_delivery_took_are_told() {
    let fixture = Fixture::with_manual_clock().await;
    let other = fixture.service.create_pool("quiet").await.unwrap();
    let agent = fixture.register("one").await;
    fixture.queue().await;
    let thirty = SignedDuration::from_secs(30);
    fixture.service.advance(thirty).await.unwrap();
    fixture.queue().await;
    let pool = fixture.pool;
    let scrape = Scrape::of(&fixture).await;
    scrape.says(
        &format!("dayfly_pool_requests_waiting{{pool=\"{pool}\"}}"),
        2.0,
    );
    scrape.says(
        &format!("dayfly_pool_requests_assigned{{pool=\"{pool}\"}}"),
        0.0,
    );
    scrape.says(
        &format!("dayfly_pool_oldest_waiting_seconds{{pool=\"{pool}\"}}"),
        30.0,
    );
    scrape.says(
        &format!("dayfly_pool_requests_waiting{{pool=\"{other}\"}}"),
        0.0,
    );
    scrape.says(
        &format!("dayfly_pool_oldest_waiting_seconds{{pool=\"{other}\"}}"),
        0.0,
    );
    scrape.says("dayfly_pool_sessions", 0.0);
    scrape.says("dayfly_pool_delivery_seconds_count", 0.0);
    assert!(
        !scrape.0.contains("linux") && !scrape.0.contains("quiet"),
        "everybody may read this: no names"
    );

    let session = agent.open().await;
    // Seen twice and acknowledged once: delivered once.
    agent.see_job(&session).await;
    agent.take_job(&session).await;
    let scrape = Scrape::of(&fixture).await;
    scrape.says(
        &format!("dayfly_pool_requests_waiting{{pool=\"{pool}\"}}"),
        1.0,
    );
    scrape.says(
        &format!("dayfly_pool_requests_assigned{{pool=\"{pool}\"}}"),
        1.0,
    );
    scrape.says(
        &format!("dayfly_pool_oldest_waiting_seconds{{pool=\"{pool}\"}}"),
        0.0,
    );
    scrape.says("dayfly_pool_sessions", 1.0);
    scrape.says("dayfly_pool_delivery_seconds_count", 1.0);
    scrape.takes("dayfly_pool_delivery_seconds_sum", 30.0);
    scrape.says("dayfly_pool_handover_seconds_count", 1.0);
    scrape.takes("dayfly_pool_handover_seconds_sum", 0.0);
}

#[tokio::test]
async fn the_time_that_the_database_takes_is_told() {
    let fixture = Fixture::start().await;
    let before = Scrape::of(&fixture).await;
    fixture.queue().await;
    let after = Scrape::of(&fixture).await;
    for name in ["database_seconds", "database_wait_seconds"] {
        for operation in ["read", "write"] {
            let count = format!("dayfly_pool_{name}_count{{operation=\"{operation}\"}}");
            let counted = |scrape: &Scrape| scrape.value(&count).unwrap();
            assert!(counted(&after) > counted(&before), "{count}");
        }
    }
    let spent = after.value("dayfly_pool_database_seconds_sum{operation=\"write\"}");
    assert!(spent.unwrap() > 0.0);
}
