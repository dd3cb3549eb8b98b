//! An undisturbed life.

use crate::support::DEADLINE;
use crate::support::installation::{Installation, Setup};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_queued_jobs_run_once_each_and_nothing_is_left() {
    let Some(installation) = Installation::start(Setup::default()).await else {
        return;
    };
    let queued = installation.queue(3).await;
    installation.wait_until_ended(&queued, DEADLINE).await;
    installation.wait_until_settled().await;
    installation.assert_ran_once(&queued).await;
    let agents = installation.kubelet.ledger.pods.lock().unwrap().len();
    assert_eq!(agents, 3, "an agent runs one job");
}
