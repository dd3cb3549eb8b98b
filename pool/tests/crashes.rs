//! `kill -9` at any moment, under load: what the service acknowledged is there after it came back.
//!
//! A few rounds here; `make soak` plays a hundred (`DAYFLY_ROUNDS`).

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // Helpers of tests fail and speak like tests.

#[path = "crashes/ledger.rs"]
mod ledger;
#[path = "crashes/load.rs"]
mod load;
#[path = "crashes/processes.rs"]
mod processes;

use dayfly_client::{Client, Credential};
use dayfly_keys::agent_key::AgentKey;
use ledger::{Job, Ledger};
use load::{Load, repeat};
use processes::Processes;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The longest that anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
const ROUNDS: usize = 5;
const AGENTS: usize = 4;
const QUEUERS: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_service_is_killed_at_any_moment() {
    Trial::new(1, None).await.play().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: e2e/postgres.sh"]
async fn nothing_acknowledged_is_lost_when_a_replica_is_killed_at_any_moment() {
    let server = std::env::var("DAYFLY_TEST_POSTGRES").unwrap();
    Trial::new(2, Some(&server)).await.play().await;
}

struct Trial {
    processes: Processes,
    load: Arc<Load>,
    count: usize,
}

impl Trial {
    async fn new(count: usize, server: Option<&str>) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let processes = Processes::start(count, server).await;
        let token = processes.pat().await;
        let builder = Client::builder(&processes.url).credential(Credential::Pat(token.into()));
        let admin = builder.build().unwrap();
        let pool = admin.create_pool("linux").await.unwrap().id;
        let load = Load {
            url: processes.url.clone(),
            admin,
            pool,
            ledger: Ledger::default(),
            key: Arc::new(AgentKey::generate().unwrap()),
            draining: false.into(),
            over: false.into(),
            listening: 0.into(),
        };
        Self {
            processes,
            load: Arc::new(load),
            count,
        }
    }

    async fn play(mut self) {
        let rounds = std::env::var("DAYFLY_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
        let begun = Instant::now();
        let mut agents = JoinSet::new();
        for _ in 0..AGENTS {
            agents.spawn(Arc::clone(&self.load).keep_working());
        }
        self.wait_for_listeners().await;
        let mut queuers = JoinSet::new();
        for _ in 0..QUEUERS {
            queuers.spawn(Arc::clone(&self.load).keep_queueing());
        }
        for _ in 0..rounds {
            tokio::time::sleep(Duration::from_millis(random(20, 400))).await;
            let victim = usize::try_from(random(0, self.count as u64)).unwrap();
            self.processes.kill(victim).await;
            tokio::time::sleep(Duration::from_millis(random(0, 60))).await;
            self.processes.start_again(victim).await;
            self.check_locks().await;
        }
        self.load.draining.store(true, Ordering::Relaxed);
        queuers.join_all().await;
        self.wait_for_the_end().await;
        self.load.over.store(true, Ordering::Relaxed);
        agents.shutdown().await;
        self.check_all().await;
        self.report(rounds, begun);
    }

    /// Kills come after that: an agent whose session's answer was lost would hold a job that nobody can take.
    async fn wait_for_listeners(&self) {
        let until = Instant::now() + DEADLINE;
        while self.load.listening.load(Ordering::Relaxed) < AGENTS {
            assert!(Instant::now() < until, "the agents do not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// An agent has at most one job, a job that nobody has no lock, and a lock that holds is not taken away.
    async fn check_locks(&self) {
        let Load { admin, pool, .. } = &*self.load;
        let unfinished = repeat("list", || admin.unfinished_requests(*pool)).await;
        let mut busy = BTreeSet::new();
        for request in unfinished {
            let id = request.request_id;
            match request.reserved_agent {
                Some(agent) => {
                    assert!(busy.insert(agent.id), "agent {} has two jobs", agent.id);
                    assert!(
                        request.locked_until.is_some(),
                        "{id} has an agent and no lock"
                    );
                }
                None => assert!(request.locked_until.is_none(), "{id} is locked by nobody"),
            }
        }
    }

    /// Every job comes to its end, those too whose queueing was never acknowledged.
    async fn wait_for_the_end(&self) {
        let Load { admin, pool, .. } = &*self.load;
        // Longer than any call of a client may take.
        let until = Instant::now() + 3 * DEADLINE;
        loop {
            let left = repeat("list", || admin.unfinished_requests(*pool)).await;
            if left.is_empty() && self.load.ledger.open() == 0 {
                return;
            }
            assert!(
                Instant::now() < until,
                "jobs that never ended: {left:?}; the service said: {}",
                self.processes.errors()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn check_all(&self) {
        for (id, job) in self.load.ledger.all() {
            let Load { admin, pool, .. } = &*self.load;
            let seen = admin.request(*pool, id).await.unwrap();
            assert_eq!(seen.result, job.result, "{id}: the result");
            assert!(seen.locked_until.is_none(), "{id} has ended and is locked");
            assert_eq!(job.agents.len(), 1, "{id} went to {:?}", job.agents);
            assert_eq!(
                seen.reserved_agent.map(|agent| agent.id),
                job.agents.first().copied()
            );
            self.check_log(&job).await;
        }
    }

    async fn check_log(&self, job: &Job) {
        if let Some((scope, log)) = &job.log {
            let text = self.load.admin.log_text(scope, *log).await.unwrap();
            assert_eq!(
                job.fault_of_log(&text),
                None,
                "{text:?}, but told {:?}",
                job.told
            );
        }
    }

    fn report(&self, rounds: usize, begun: Instant) {
        let jobs = self.load.ledger.all();
        let queued = jobs.values().filter(|job| job.queued).count();
        let lines: usize = jobs.values().map(|job| job.told.len()).sum();
        println!(
            "{rounds} kills of {} process(es) in {:.1} s: {queued} jobs queued, {} ended, {lines} log lines acknowledged, nothing lost",
            self.count,
            begun.elapsed().as_secs_f64(),
            jobs.len(),
        );
        assert!(queued > 0, "there was no load");
    }
}

/// A number from `low` to below `high`, another one each time.
fn random(low: u64, high: u64) -> u64 {
    low + RandomState::new().hash_one(()) % (high - low)
}
