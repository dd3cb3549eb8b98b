//! A service in trouble: slow, full, failing, forgetful. Nothing is lost, nothing is doubled, and it is not made worse.

use crate::support::installation::{Installation, Setup};
use crate::support::proxy::{Call, Fault};
use crate::support::{DEADLINE, until};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// What is done to what the operator asks.
const TO_THE_OPERATOR: [Fault; 9] = [
    Fault::Answer(500, None),
    Fault::LoseAnswer,
    Fault::Delay(Duration::from_millis(300)),
    Fault::Stale,
    Fault::Reset,
    Fault::Twice,
    Fault::HalfAnswer,
    Fault::Answer(503, None),
    Fault::Answer(429, Some(1)),
];
/// What is done to what agents ask: a session whose answer is lost stays in its agent's way for minutes, and would only
/// show that the service keeps to its own rules.
const TO_AGENTS: [Fault; 4] = [
    Fault::Delay(Duration::from_millis(300)),
    Fault::Answer(503, None),
    Fault::Reset,
    Fault::Answer(500, None),
];
/// One call in so many is met.
const EVERY: usize = 5;
/// How long the operator is told to wait.
const WAIT: Duration = Duration::from_secs(3);

/// What happens to the next call: everything comes in turn.
fn trouble() -> impl Fn(&Call) -> Fault + Send + Sync {
    let (seen, operator, agents) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    move |call| {
        if seen.fetch_add(1, Ordering::Relaxed) % EVERY != 0 {
            return Fault::Pass;
        }
        let next = |faults: &[Fault], turn: &AtomicUsize| {
            faults[turn.fetch_add(1, Ordering::Relaxed) % faults.len()].clone()
        };
        if call.by_operator {
            next(&TO_THE_OPERATOR, &operator)
        } else {
            next(&TO_AGENTS, &agents)
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_in_trouble_loses_and_doubles_no_job() {
    let Some(installation) = Installation::start(Setup::default()).await else {
        return;
    };
    let before: usize = installation.to_service.counts().values().sum();
    let begun = Instant::now();
    installation.to_service.judge(trouble());
    let queued = installation.queue(4).await;
    installation.wait_until_ended(&queued, 2 * DEADLINE).await;
    let (took, calls) = (begun.elapsed(), installation.to_service.counts());
    installation.to_service.relent();
    installation.wait_until_settled().await;
    installation.assert_ran_once(&queued).await;
    let calls: usize = calls.values().sum::<usize>() - before;
    println!("{calls} calls in {took:?} of trouble");
    // Two lists at each look, five looks a second, and what the agents took.
    let budget = 10 * (1 + usize::try_from(took.as_secs()).unwrap()) + 40 * queued.len();
    assert!(calls <= budget, "{calls} calls in {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_in_trouble_loses_and_doubles_no_job() {
    let Some(installation) = Installation::start(Setup::default()).await else {
        return;
    };
    let seen = AtomicUsize::new(0);
    installation.to_cluster.judge(move |call| {
        // Who cannot renew does nothing: that is another test's.
        if call.kind.contains("leases") {
            return Fault::Pass;
        }
        let faults = [
            Fault::Answer(500, None),
            Fault::LoseAnswer,
            Fault::Reset,
            Fault::Answer(429, Some(1)),
            Fault::Delay(Duration::from_millis(200)),
            Fault::HalfAnswer,
        ];
        match seen.fetch_add(1, Ordering::Relaxed) {
            turn if turn % 4 == 0 && !call.kind.starts_with("watch") => {
                faults[turn / 4 % faults.len()].clone()
            }
            _ => Fault::Pass,
        }
    });
    let queued = installation.queue(4).await;
    installation.wait_until_ended(&queued, 2 * DEADLINE).await;
    installation.to_cluster.relent();
    installation.wait_until_settled().await;
    installation.assert_ran_once(&queued).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_asks_to_wait_is_left_alone() {
    let Some(installation) = Installation::start(Setup::default()).await else {
        return;
    };
    let calls = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&calls);
    installation.to_service.judge(move |call| {
        if !call.by_operator {
            return Fault::Pass;
        }
        noted
            .lock()
            .unwrap()
            .push((Instant::now(), call.kind.clone()));
        Fault::Answer(429, Some(WAIT.as_secs()))
    });
    let queued = installation.queue(1).await;
    until("the service to be asked again", DEADLINE, async || {
        let calls = calls.lock().unwrap();
        match (calls.first(), calls.last()) {
            (Some((first, _)), Some((last, _))) if last.duration_since(*first) >= WAIT => Ok(()),
            _ => Err(format!("{calls:?}")),
        }
    })
    .await;
    {
        let calls = calls.lock().unwrap();
        let first = calls[0].0;
        // What was under way when the first was told.
        let under_way = Duration::from_millis(500);
        let meanwhile = |at: &Instant| (under_way..WAIT).contains(&at.duration_since(first));
        let early: Vec<_> = calls.iter().filter(|(at, _)| meanwhile(at)).collect();
        assert!(
            early.is_empty(),
            "told to wait {WAIT:?}, it asked {early:?}"
        );
    }
    installation.to_service.relent();
    installation.wait_until_ended(&queued, DEADLINE).await;
    installation.wait_until_settled().await;
    installation.assert_ran_once(&queued).await;
}
