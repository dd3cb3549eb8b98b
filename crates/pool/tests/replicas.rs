//! Two replicas of one service on one PostgreSQL: it does not matter which of them is asked.
//!
//! `e2e/postgres.sh cargo test --workspace --locked --test replicas -- --include-ignored` runs them.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail like tests.

mod common;

use common::{Answer, DEADLINE, Fixture, TestAgent, agent_client, ask_token, client, http, within};
use dayfly_client::{Client, Credential};
use dayfly_pool_service::clock::{Clock, SystemClock};
use dayfly_pool_service::store::dialect::query_scalar;
use dayfly_pool_service::store::{Place, Store};
use dayfly_pool_service::testing::{PoolHandle, create_database};
use dayfly_wire::event::TaskResult;
use dayfly_wire::log::FeedLines;
use jiff::SignedDuration;
use sqlx::{AnyConnection, Connection, Executor};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A message must reach the other replica by a word, not by the look that happens every five seconds.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Ends every connection to a database, as its restart does.
async fn cut_connections(url: &str) {
    let mut conn = AnyConnection::connect(url).await.unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    conn.execute(cut).await.unwrap();
    conn.close().await.unwrap();
}

/// One service with two replicas.
struct Pair {
    one: Fixture,
    two: PoolHandle,
}

impl Pair {
    async fn start() -> Self {
        assert!(
            std::env::var("DAYFLY_TEST_POSTGRES").is_ok(),
            "run this under e2e/postgres.sh"
        );
        let one = Fixture::with_long_polls().await;
        let two = PoolHandle::builder().beside(&one.service).start();
        let two = two.await.unwrap();
        Self { one, two }
    }

    /// The agent as a client of the second replica; its tokens are for the service, whichever replica gave them.
    fn at_two(&self, agent: &TestAgent) -> TestAgent {
        TestAgent {
            key: Arc::clone(&agent.key),
            record: agent.record.clone(),
            client: agent_client(self.two.address(), &agent.record, Arc::clone(&agent.key)),
            pool: agent.pool,
        }
    }

    fn admin_of_two(&self) -> Client {
        let pat = self.one.pat.duplicate();
        client(self.two.address(), Credential::Pat(pat))
    }

    async fn wait_for_a_poll_at_two(&self) {
        within("a parked poll at the second replica", async {
            while self.two.service().wakes.waiting() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_message_wakes_the_poll_that_is_parked_at_another_replica() {
    let pair = Pair::start().await;
    let agent = pair.at_two(&pair.one.register("a").await);
    let session = agent.open().await;
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let polling = async {
            let taken = agent.see_job(&session).await;
            (Instant::now(), taken)
        };
        let queueing = async {
            pair.wait_for_a_poll_at_two().await;
            let begun = Instant::now();
            pair.one.queue().await;
            begun
        };
        let ((woken, taken), begun) = tokio::join!(polling, queueing);
        slowest = slowest.max(woken - begun);
        agent.acknowledge(&session, taken.envelope.message_id).await;
        let event = taken.completed(TaskResult::Succeeded);
        let worker = taken.client(&pair.one);
        let mut event = event;
        event.agent_shutting_down = false;
        worker.raise_event(&taken.scope(), &event).await.unwrap();
    }
    assert!(slowest < AT_ONCE, "it took {slowest:?}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn any_replica_takes_any_call_of_a_job() {
    let pair = Pair::start().await;
    let agent = pair.one.register("a").await;
    let elsewhere = pair.at_two(&agent);
    let session = agent.open().await;
    let queued = pair.one.queue().await;
    let taken = elsewhere.see_job(&session).await;
    agent.acknowledge(&session, taken.envelope.message_id).await;
    let renewed = elsewhere
        .client
        .renew_request(agent.pool, queued.request_id);
    assert!(renewed.await.unwrap().locked_until.is_some());
    let token = || Credential::Bearer(taken.token.duplicate());
    let workers = [
        client(pair.one.service.address(), token()),
        client(pair.two.address(), token()),
    ];
    let log = workers[0].create_log(&taken.scope(), "logs\\a").await;
    let log = log.unwrap().id;
    for (number, worker) in workers.iter().cycle().take(6).enumerate() {
        let line = format!("line {number}\n");
        let scope = taken.scope();
        let appended = worker.append_log(&scope, log, line.into());
        appended.await.unwrap();
    }
    let text = workers[1].log_text(&taken.scope(), log).await.unwrap();
    let expected: String = (0..6).map(|number| format!("line {number}\n")).collect();
    assert_eq!(text, expected);
    let done = taken.completed(TaskResult::Succeeded);
    workers[1].raise_event(&taken.scope(), &done).await.unwrap();
    let seen = pair.one.request(queued.request_id).await;
    assert_eq!(seen.result, Some(TaskResult::Succeeded));
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_job_is_followed_at_one_replica_while_it_writes_to_the_other() {
    let pair = Pair::start().await;
    let agent = pair.one.register("a").await;
    let session = agent.open().await;
    let queued = pair.one.queue().await;
    let taken = agent.take_job(&session).await;
    let admin = pair.admin_of_two();
    let following = admin.follow_job("demo", queued.request_id, 0);
    let writing = async {
        within("a parked follower at the second replica", async {
            while pair.two.service().followers.waiting() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        let lines = FeedLines {
            value: vec!["hello".to_owned(), "world".to_owned()],
            ..FeedLines::default()
        };
        let (timeline, job) = (taken.message.timeline.id, taken.message.job_id);
        let worker = taken.client(&pair.one);
        let scope = taken.scope();
        let posted = worker.post_feed(&scope, timeline, job, &lines);
        posted.await.unwrap();
    };
    let both = async { tokio::join!(following, writing) };
    let (page, ()) = tokio::time::timeout(AT_ONCE, both).await.unwrap();
    let page = page.unwrap();
    let lines: Vec<_> = page.value.iter().map(|entry| &entry.line).collect();
    assert_eq!(lines, ["hello", "world"]);
    taken.complete(&pair.one, TaskResult::Succeeded).await;
    let last = admin.follow_job("demo", queued.request_id, page.next).await;
    assert_eq!(last.unwrap().result, Some(TaskResult::Succeeded));
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn many_jobs_are_each_delivered_to_one_agent_whichever_replica_it_asks() {
    const AGENTS: usize = 6;
    const JOBS: usize = 60;
    let pair = Arc::new(Pair::start().await);
    let done = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..AGENTS {
        let agent = pair.one.register(&format!("agent-{number}")).await;
        let agent = if number % 2 == 0 {
            agent
        } else {
            pair.at_two(&agent)
        };
        let (pair, done) = (Arc::clone(&pair), Arc::clone(&done));
        tasks.spawn(async move {
            let session = agent.open().await;
            loop {
                let taken = agent.take_job(&session).await;
                let mut event = taken.completed(TaskResult::Succeeded);
                event.agent_shutting_down = false;
                let worker = taken.client(&pair.one);
                worker.raise_event(&taken.scope(), &event).await.unwrap();
                done.lock().unwrap().push(taken.message.request_id);
            }
        });
    }
    let two = pair.admin_of_two();
    let mut queued = Vec::new();
    for number in 0..JOBS {
        let admin = if number % 2 == 0 {
            &pair.one.admin
        } else {
            &two
        };
        let job = serde_json::json!({"pool": "linux", "steps": [{"script": "true"}]});
        let job = serde_json::from_value(job).unwrap();
        queued.push(admin.queue_job("demo", &job).await.unwrap().request_id);
    }
    let all = async {
        while done.lock().unwrap().len() < JOBS {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        // No agent ends but by failing.
        ended = tasks.join_next() => panic!("an agent ended: {ended:?}"),
        waited = tokio::time::timeout(DEADLINE * 3, all) => waited.unwrap(),
    }
    let left = two.unfinished_requests(pair.one.pool).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    let mut done = done.lock().unwrap().clone();
    done.sort();
    assert_eq!(done, queued, "each job once");
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn an_assertion_that_is_repeated_at_another_replica_gets_the_same_token_and_later_none() {
    let clock = SystemClock.now();
    let one = PoolHandle::builder().manual_clock(clock);
    let one = Fixture::on(one.start().await.unwrap()).await;
    let two = PoolHandle::builder()
        .beside(&one.service)
        .manual_clock(clock);
    let two = two.start().await.unwrap();
    let agent = one.register("a").await;
    let authorization = agent.record.authorization.as_ref().unwrap();
    let audience = authorization.authorization_url.as_ref().unwrap();
    let client = authorization.client_id.unwrap();
    let assertion = agent
        .key
        .sign_assertion(client, audience, Uuid::new_v4(), clock)
        .unwrap();
    let at = |replica: &PoolHandle| format!("{}/_apis/oauth2/token", replica.address());
    let (at_one, at_two) = (at(&one.service), at(&two));
    let (first, second) = tokio::join!(
        ask_token(&at_one, assertion.expose()),
        ask_token(&at_two, assertion.expose())
    );
    assert_eq!(first.0, 200, "{}", first.1);
    assert_eq!(first, second, "both at once");
    let step = SignedDuration::from_secs(29);
    for replica in [&one.service, &two] {
        replica.advance(step).await.unwrap();
    }
    assert_eq!(ask_token(&at_two, assertion.expose()).await, first);
    for replica in [&one.service, &two] {
        replica.advance(SignedDuration::from_secs(2)).await.unwrap();
    }
    for url in [&at_one, &at_two] {
        let (status, answer) = ask_token(url, assertion.expose()).await;
        assert_eq!((status, &answer["error"]), (400, &"invalid_client".into()));
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_session_of_the_web_page_counts_at_every_replica_and_ends_at_every_replica() {
    let pair = Pair::start().await;
    let (one, two) = (pair.one.service.address(), pair.two.address());
    let origin = pair.one.service.url().trim_end_matches("/default");
    let session = |method: &str, address: &str| {
        http()
            .request(method.parse().unwrap(), format!("{address}/_web/session"))
            .header("origin", origin)
    };
    let token = serde_json::json!({"token": pair.one.pat.expose()});
    let signed_in = Answer::of(session("POST", one).json(&token)).await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.body);
    let cookie = signed_in.headers["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap();
    let look = async |address: &str| {
        let url = format!("{address}/_apis/distributedtask/pools");
        Answer::of(http().get(url).header("cookie", cookie))
            .await
            .status
    };
    assert_eq!((look(one).await, look(two).await), (200, 200));
    let left = Answer::of(session("DELETE", two).header("cookie", cookie)).await;
    assert!(left.status < 300, "{} {}", left.status, left.body);
    assert_eq!((look(one).await, look(two).await), (401, 401));
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_text_that_the_database_cannot_keep_is_the_callers_fault() {
    let fixture = Fixture::start().await;
    fixture.register("a").await;
    let queued = fixture.queue().await;
    let cancel = |reason: &str| {
        let path = format!("/demo/_apis/dayfly/jobs/{}/cancel", queued.request_id);
        let body = serde_json::json!({"reason": reason});
        let fixture = &fixture;
        async move {
            fixture
                .call("POST", &path, Some(&fixture.pat), Some(body))
                .await
        }
    };
    let refused = cancel("a\u{0}b").await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(refused.body.contains("NUL"), "{}", refused.body);
    let cancelled = cancel("a b").await;
    assert!(cancelled.status < 300, "{}", cancelled.body);
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_replica_with_other_keys_does_not_start() {
    let pair = Pair::start().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let url = pair.one.service.directory().join("database-url");
    std::fs::copy(url, elsewhere.path().join("database-url")).unwrap();
    let refused = PoolHandle::builder().directory(elsewhere.path()).start();
    let Err(refused) = refused.await else {
        panic!("it started");
    };
    assert!(
        refused.to_string().contains("every replica needs the keys"),
        "{refused}"
    );
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn replicas_hear_each_other_again_after_the_database_cut_them_off() {
    let pair = Pair::start().await;
    let agent = pair.at_two(&pair.one.register("a").await);
    let session = agent.open().await;
    let url = std::fs::read_to_string(pair.one.service.directory().join("database-url")).unwrap();
    cut_connections(&url).await;
    let begun = Instant::now();
    let polling = tokio::time::timeout(DEADLINE, agent.see_job(&session));
    let (taken, _) = tokio::join!(polling, async {
        pair.wait_for_a_poll_at_two().await;
        pair.one.queue().await
    });
    taken.unwrap();
    assert!(begun.elapsed() < DEADLINE);
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn the_database_is_reached_by_tls_and_its_certificate_is_checked() {
    common::install_tls();
    let server = std::env::var("DAYFLY_TEST_POSTGRES").unwrap();
    let authority = std::env::var("DAYFLY_TEST_POSTGRES_CA").unwrap();
    let plain = create_database(&server).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let open = async |parameter: &str| {
        let file = directory.path().join("database-url");
        std::fs::write(&file, plain.replace("sslmode=disable", parameter)).unwrap();
        Store::open(&Place::UrlFile(file)).await
    };
    let store = open(&format!("sslrootcert={authority}")).await.unwrap();
    let mut conn = store.read().await.unwrap();
    let encrypted = "SELECT COUNT(*) FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl";
    let encrypted: i64 = query_scalar(encrypted).fetch_one(&mut conn).await.unwrap();
    assert_eq!(encrypted, 1);
    let Err(refused) = open("").await else {
        panic!("a certificate that nobody vouches for was taken");
    };
    assert!(refused.to_string().contains("certificate"), "{refused}");
}
