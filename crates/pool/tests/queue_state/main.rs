//! Whatever happens to a pool, in whatever order: no job is lost, none is with two agents, none with one that may not
//! have it, and none that ended changes.
//!
//! `DAYFLY_QUEUE_SECONDS` says for how long histories are made up; a broken law is shown with the shortest history
//! that breaks it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod history;
mod laws;
mod operation;
mod world;

use history::{Fault, happen};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Enough for what the histories of every day can show; `make soak` says more.
const SECONDS: u64 = 20;

fn budget() -> Duration {
    let seconds = std::env::var("DAYFLY_QUEUE_SECONDS").ok();
    let seconds = seconds.map_or(SECONDS, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

/// Answers how many jobs agents took.
fn run(steps: &[operation::Step]) -> Result<usize, TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(happen(steps)).map_err(|fault| {
        TestCaseError::fail(match fault {
            Fault::Broken(broken) => broken.to_string(),
            Fault::Failed(error) => format!("the service failed: {error}"),
        })
    })
}

#[test]
fn no_job_is_lost_doubled_misplaced_or_changed_whatever_happens() {
    let until = Instant::now() + budget();
    let (mut histories, taken) = (0, Cell::new(0));
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::default()
    });
    while histories == 0 || Instant::now() < until {
        let history = operation::history().new_tree(&mut runner).unwrap();
        let outcome = runner.run_one(history, |steps| {
            taken.set(taken.get() + run(&steps)?);
            Ok(())
        });
        match outcome {
            Ok(_) => histories += 1,
            Err(TestError::Fail(reason, steps)) => panic!("{reason}\n{steps:#?}"),
            Err(TestError::Abort(reason)) => panic!("{reason}"),
        }
    }
    println!("{histories} histories, {} jobs taken", taken.get());
    // Histories in which nothing happens would keep every law.
    assert!(
        taken.get() * 3 > histories,
        "agents took {} jobs",
        taken.get()
    );
}
