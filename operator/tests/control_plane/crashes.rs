//! The operator is killed right before and right after each write and each call that the life of an agent takes, and
//! started again: every job ran once, and nothing is left over.
//!
//! `make soak` does it at the first three times that each call is made, here only at the first (`DAYFLY_ROUNDS`).

use crate::support::installation::{FIRST, Installation, Setup};
use crate::support::proxy::{Fault, Side};
use crate::support::{DEADLINE, until};
use dayfly_wire::event::TaskResult;
use futures::future::join_all;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

use Side::{Cluster, Service};

/// What is written and asked while the reserve is filled for the first time.
const START: &[(Side, &str)] = &[
    (Cluster, "create secrets@system"),
    (Cluster, "create leases@system"),
    (Cluster, "update leases@system"),
    (Cluster, "patch pods@system"),
    (Cluster, "patch poolconnections/status@system"),
    (Cluster, "patch agentpools@ci"),
    (Cluster, "patch networkpolicies@ci"),
    (Cluster, "patch agentpools/status@ci"),
    (Cluster, "create secrets@identities"),
    (Service, "GET distributedtask/pools"),
    (Service, "POST agents"),
];
/// What the life of an agent takes that runs a job.
const LIFE: &[(Side, &str)] = &[
    (Cluster, "create secrets@identities"),
    (Cluster, "create pods@ci"),
    (Cluster, "create tokenreviews"),
    (Cluster, "delete secrets@identities"),
    (Cluster, "patch pods@ci"),
    (Cluster, "delete pods@ci"),
    (Cluster, "patch agentpools/status@ci"),
    (Cluster, "* events@ci"),
    (Cluster, "update leases@system"),
    (Service, "GET jobrequests"),
    (Service, "GET agents"),
    (Service, "POST agents"),
    (Service, "PATCH agents/#"),
    (Service, "DELETE agents/#"),
];
/// What it takes to end a job whose agent died.
const LOSS: &[(Side, &str)] = &[
    (Service, "DELETE jobrequests/#"),
    (Service, "DELETE agents/#"),
    (Cluster, "delete pods@ci"),
    (Cluster, "* events@ci"),
];
/// How long is waited for a call that is not made.
const PATIENCE: Duration = Duration::from_secs(8);
/// Installations at once: most of their time is spent waiting.
const AT_ONCE: usize = 6;

/// When the operator dies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    kind: &'static str,
    time: usize,
    after: bool,
}

fn points(kinds: &[(Side, &'static str)], times: usize) -> VecDeque<(Side, Point)> {
    let mut points = VecDeque::new();
    for (side, kind) in kinds {
        for time in 1..=times {
            for after in [false, true] {
                let point = Point { kind, time, after };
                points.push_back((*side, point));
            }
        }
    }
    points
}

fn times() -> usize {
    std::env::var("DAYFLY_ROUNDS").map_or(1, |_| 3)
}

fn setup() -> Setup {
    Setup {
        pool: json!({
            "scaling": { "maxAgents": 2, "pollInterval": "200ms" },
            "reserve": { "size": 1 },
            "lifecycle": { "history": { "failed": 0 } },
            "templates": [{ "name": "default" }],
        }),
        ..Setup::default()
    }
}

/// `*` is any verb: whether an Event is new or seen again is not up to the test.
fn is_of(kind: &str, seen: &str) -> bool {
    match kind.strip_prefix('*') {
        Some(rest) => seen.ends_with(rest),
        None => seen == kind,
    }
}

/// Lets the operator die at a point; says whether it has.
fn arm(installation: &Installation, side: Side, point: &Point) -> Arc<AtomicBool> {
    let fired = Arc::new(AtomicBool::new(false));
    let proxy = match side {
        Cluster => &installation.to_cluster,
        Service => &installation.to_service,
    };
    let (point, seen, armed) = (point.clone(), AtomicUsize::new(0), Arc::clone(&fired));
    proxy.judge(move |call| {
        if !call.by_operator || !is_of(point.kind, &call.kind) {
            return Fault::Pass;
        }
        if seen.fetch_add(1, Ordering::SeqCst) + 1 != point.time {
            return Fault::Pass;
        }
        armed.store(true, Ordering::SeqCst);
        if point.after {
            Fault::KillAfter
        } else {
            Fault::KillBefore
        }
    });
    fired
}

/// Starts the operator again when it has died; how long it took from then until all is well, if it died at all.
async fn converge(installation: &Installation, fired: &AtomicBool) -> Option<Duration> {
    let (begun, mut again) = (Instant::now(), None);
    until("nothing to be left over", 2 * DEADLINE, async || {
        if again.is_none() && fired.load(Ordering::SeqCst) && !installation.operators.runs(FIRST) {
            installation.to_cluster.relent();
            installation.to_service.relent();
            installation.operators.start(FIRST);
            again = Some(Instant::now());
        }
        installation.settled().await?;
        // What is written from time to time is waited for, and so is a death that has begun.
        let pending = fired.load(Ordering::SeqCst) || begun.elapsed() < PATIENCE;
        if again.is_none() && pending {
            return Err("the operator was not killed".to_owned());
        }
        Ok(())
    })
    .await;
    installation.to_cluster.relent();
    installation.to_service.relent();
    again.map(|again| again.elapsed())
}

/// Which points were met, and how long it took until all was well.
type Met = Mutex<BTreeMap<Point, Duration>>;

fn report(name: &str, met: &Met, kinds: &[(Side, &'static str)]) {
    let met = met.lock().unwrap();
    for (point, took) in met.iter() {
        let Point { kind, time, after } = point;
        let when = if *after { "after" } else { "before" };
        println!("{name}: killed {when} {kind} #{time}: well again after {took:?}");
    }
    for (_, kind) in kinds {
        for after in [false, true] {
            let point = Point {
                kind,
                time: 1,
                after,
            };
            assert!(met.contains_key(&point), "{name}: {point:?} was never met");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_runs_once_whenever_the_operator_is_killed() {
    let queue = Mutex::new(points(LIFE, times()));
    let (met, written) = (Met::default(), Mutex::new(BTreeSet::new()));
    let workers = (0..AT_ONCE).map(async |_| {
        let installation = Installation::start(setup()).await?;
        loop {
            let next = queue.lock().unwrap().pop_front();
            let Some((side, point)) = next else { break };
            let fired = arm(&installation, side, &point);
            let queued = installation.queue(2).await;
            let took = converge(&installation, &fired).await;
            installation.assert_ran_once(&queued).await;
            if let Some(took) = took {
                met.lock().unwrap().insert(point, took);
            }
        }
        written.lock().unwrap().extend(installation.writes());
        Some(())
    });
    if join_all(workers).await.contains(&None) {
        return;
    }
    report("life", &met, LIFE);
    let is_known = |seen: &&String| {
        let mut known = START.iter().chain(LIFE);
        known.any(|(_, kind)| is_of(kind, seen))
    };
    let written = written.lock().unwrap();
    let unknown: Vec<_> = written.iter().filter(|seen| !is_known(seen)).collect();
    assert!(
        unknown.is_empty(),
        "writes that nobody was killed at: {unknown:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_job_of_a_dead_agent_is_ended_whenever_the_operator_is_killed() {
    let Some(installation) = Installation::start(setup()).await else {
        return;
    };
    let met = Met::default();
    for (side, point) in points(LOSS, times()) {
        installation.kubelet.behave(|manner| manner.die = true);
        let fired = arm(&installation, side, &point);
        let lost = installation.queue(1).await[0];
        let took = converge(&installation, &fired).await;
        let result = installation.result(lost).await;
        assert!(
            matches!(result, Some(TaskResult::Failed | TaskResult::Abandoned)),
            "{result:?}"
        );
        assert_eq!(
            installation.kubelet.ledger.runs.lock().unwrap()[&lost].len(),
            1
        );
        if let Some(took) = took {
            met.lock().unwrap().insert(point, took);
        }
    }
    report("loss", &met, LOSS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reserve_is_filled_whenever_the_operator_is_killed_at_its_first_start() {
    let queue = Mutex::new(points(START, 1));
    let met = Met::default();
    let workers = (0..AT_ONCE).map(async |_| {
        loop {
            let next = queue.lock().unwrap().pop_front();
            let Some((side, point)) = next else {
                return Some(());
            };
            let installation = Installation::prepare(setup()).await?;
            let fired = arm(&installation, side, &point);
            installation.operators.start(FIRST);
            if let Some(took) = converge(&installation, &fired).await {
                met.lock().unwrap().insert(point, took);
            }
        }
    });
    if !join_all(workers).await.contains(&None) {
        report("start", &met, START);
    }
}
