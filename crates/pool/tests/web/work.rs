//! What the tests of the page begin with.

use crate::browser::Browser;
use crate::common::{Fixture, OpenSession, Taken, TestAgent, capabilities};
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::RecordId;
use dayfly_wire::log::{FeedLines, LogReference};
use dayfly_wire::queue::QueuedJob;
use dayfly_wire::timeline::{Issue, IssueKind, Record, RecordState};
use jiff::Timestamp;
use std::time::Duration;

/// Long enough that a line which comes in a moment comes by waking the page, not by its asking again.
pub(crate) const HOLD: Duration = Duration::from_secs(20);

pub(crate) async fn start() -> Fixture {
    Fixture::with_poll_hold(HOLD).await
}

pub(crate) async fn signed_in(fixture: &Fixture) -> Browser {
    let browser = Browser::open(fixture.service.url()).await;
    browser.sign_in(fixture.pat.expose()).await;
    browser.see("h1", "Runs").await;
    browser
}

/// A job that a test works on in the agent's place.
pub(crate) struct Work<'a> {
    pub(crate) fixture: &'a Fixture,
    pub(crate) agent: TestAgent,
    pub(crate) session: OpenSession,
    pub(crate) queued: QueuedJob,
    pub(crate) taken: Taken,
}

impl<'a> Work<'a> {
    pub(crate) async fn begin(fixture: &'a Fixture, job: serde_json::Value) -> Self {
        let agent = fixture.register("builder-1").await;
        let session = agent
            .open_with(
                true,
                capabilities(&[("Agent.OS", "Linux"), ("docker", "27.1")]),
            )
            .await;
        let queued = fixture.queue_with(job).await;
        let taken = agent.take_job(&session).await;
        let work = Self {
            fixture,
            agent,
            session,
            queued,
            taken,
        };
        let job = Record {
            id: RecordId(work.taken.message.job_id.0),
            state: Some(RecordState::InProgress),
            start_time: Some(now()),
            ..Record::default()
        };
        work.record(job).await;
        work
    }

    pub(crate) fn step(&self, index: usize) -> RecordId {
        self.taken.message.steps[index].id
    }

    pub(crate) async fn record(&self, record: Record) {
        let worker = self.taken.client(self.fixture);
        let timeline = self.taken.message.timeline.id;
        worker
            .update_records(&self.taken.scope(), timeline, &[record])
            .await
            .unwrap();
    }

    pub(crate) async fn begin_step(&self, index: usize, name: &str) -> LogReference {
        let worker = self.taken.client(self.fixture);
        let log = worker.create_log(&self.taken.scope(), r"logs\step").await;
        let log = log.unwrap();
        self.record(Record {
            id: self.step(index),
            parent_id: Some(RecordId(self.taken.message.job_id.0)),
            kind: Some("Task".to_owned()),
            name: Some(name.to_owned()),
            state: Some(RecordState::InProgress),
            start_time: Some(now()),
            order: Some(i64::try_from(index).unwrap() + 1),
            log: Some(log.clone()),
            ..Record::default()
        })
        .await;
        log
    }

    pub(crate) async fn end_step(&self, index: usize, result: TaskResult, issues: Vec<Issue>) {
        self.record(Record {
            id: self.step(index),
            state: Some(RecordState::Completed),
            result: Some(result),
            finish_time: Some(now()),
            issues,
            ..Record::default()
        })
        .await;
    }

    /// Posts console lines, of which the first has a number.
    pub(crate) async fn live(&self, index: usize, first: i64, lines: &[&str]) {
        let worker = self.taken.client(self.fixture);
        let message = &self.taken.message;
        let lines = FeedLines {
            count: lines.len(),
            value: lines.iter().map(|line| (*line).to_owned()).collect(),
            step_id: Some(self.step(index)),
            start_line: Some(first),
        };
        worker
            .post_feed(
                &self.taken.scope(),
                message.timeline.id,
                message.job_id,
                &lines,
            )
            .await
            .unwrap();
    }

    pub(crate) async fn store(&self, log: &LogReference, text: String) {
        let worker = self.taken.client(self.fixture);
        let scope = self.taken.scope();
        worker
            .append_log(&scope, log.id, text.into())
            .await
            .unwrap();
    }

    pub(crate) fn view(&self) -> String {
        format!("runs/{}", self.queued.build_id)
    }
}

pub(crate) fn now() -> Timestamp {
    use dayfly_pool_service::clock::{Clock, SystemClock};
    SystemClock.now()
}

pub(crate) fn issue(kind: IssueKind, message: &str) -> Issue {
    Issue {
        kind,
        category: None,
        message: message.to_owned(),
        data: [("logFileLineNumber".to_owned(), "2".to_owned())].into(),
    }
}
