//! What clients were told, and so must find for ever.

use dayfly_client::PlanScope;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{AgentId, LogId, RequestId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

/// What is known of a job.
#[derive(Clone, Default)]
pub(crate) struct Job {
    /// Its queueing was acknowledged.
    pub(crate) queued: bool,
    /// The agents that got its message.
    pub(crate) agents: BTreeSet<AgentId>,
    /// Where its log is.
    pub(crate) log: Option<(PlanScope, LogId)>,
    /// Lines whose appending was acknowledged, in order.
    pub(crate) told: Vec<String>,
    /// Lines that were sent.
    pub(crate) sent: BTreeSet<String>,
    /// The result that was acknowledged.
    pub(crate) result: Option<TaskResult>,
}

/// What is known of all jobs.
#[derive(Default)]
pub(crate) struct Ledger {
    jobs: Mutex<BTreeMap<RequestId, Job>>,
}

impl Ledger {
    /// Writes something down about a job.
    pub(crate) fn note<T>(&self, id: RequestId, change: impl FnOnce(&mut Job) -> T) -> T {
        change(self.jobs().entry(id).or_default())
    }

    /// All jobs as they are known now.
    pub(crate) fn all(&self) -> BTreeMap<RequestId, Job> {
        self.jobs().clone()
    }

    /// How many jobs are queued and have not ended.
    pub(crate) fn open(&self) -> usize {
        self.jobs()
            .values()
            .filter(|job| job.result.is_none())
            .count()
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<RequestId, Job>> {
        self.jobs.lock().unwrap()
    }
}

impl Job {
    /// What is wrong with the text of the job's log: every acknowledged line is there, once, in order, and no line that
    /// was not sent.
    pub(crate) fn fault_of_log(&self, text: &str) -> Option<String> {
        let lines: Vec<&str> = text.lines().collect();
        let mut rest = lines.iter();
        if let Some(lost) = self.told.iter().find(|told| !rest.any(|line| line == told)) {
            return Some(format!("line {lost:?} is lost or out of order"));
        }
        let distinct: BTreeSet<&&str> = lines.iter().collect();
        if distinct.len() != lines.len() {
            return Some("a line is there twice".to_owned());
        }
        let foreign = lines.iter().find(|line| !self.sent.contains(**line));
        foreign.map(|line| format!("line {line:?} was never sent"))
    }
}

#[test]
fn a_fault_of_a_log_is_found() {
    let job = Job {
        told: vec!["1".to_owned(), "3".to_owned()],
        sent: ["1", "2", "3"].map(str::to_owned).into(),
        ..Job::default()
    };
    for good in ["1\n3\n", "1\n2\n3\n"] {
        assert_eq!(job.fault_of_log(good), None);
    }
    for bad in ["1\n", "3\n1\n", "1\n1\n3\n", "1\n3\n4\n", ""] {
        assert!(job.fault_of_log(bad).is_some(), "{bad:?}");
    }
}
