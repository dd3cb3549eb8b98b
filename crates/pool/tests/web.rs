//! The web page in a real browser, with a test in the agent's place.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests fail like tests.

mod browser;
mod common;

use browser::Browser;
use common::{Fixture, OpenSession, Taken, TestAgent, capabilities};
use dayfly_wire::agent::Agent;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::RecordId;
use dayfly_wire::log::{FeedLines, LogReference};
use dayfly_wire::queue::QueuedJob;
use dayfly_wire::timeline::{Issue, IssueKind, Record, RecordState};
use jiff::Timestamp;
use serde_json::json;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Long enough that a line which comes in a moment comes by waking the page, not by its asking again.
const HOLD: Duration = Duration::from_secs(20);

async fn start() -> Fixture {
    Fixture::with_poll_hold(HOLD).await
}

async fn signed_in(fixture: &Fixture) -> Browser {
    let browser = Browser::open(fixture.service.url()).await;
    browser.sign_in(fixture.pat.expose()).await;
    browser.see("h1", "Runs").await;
    browser
}

/// A job that a test works on in the agent's place.
struct Work<'a> {
    fixture: &'a Fixture,
    agent: TestAgent,
    session: OpenSession,
    queued: QueuedJob,
    taken: Taken,
}

impl<'a> Work<'a> {
    async fn begin(fixture: &'a Fixture, job: serde_json::Value) -> Self {
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

    fn step(&self, index: usize) -> RecordId {
        self.taken.message.steps[index].id
    }

    async fn record(&self, record: Record) {
        let worker = self.taken.client(self.fixture);
        let timeline = self.taken.message.timeline.id;
        worker
            .update_records(&self.taken.scope(), timeline, &[record])
            .await
            .unwrap();
    }

    async fn begin_step(&self, index: usize, name: &str) -> LogReference {
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

    async fn end_step(&self, index: usize, result: TaskResult, issues: Vec<Issue>) {
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
    async fn live(&self, index: usize, first: i64, lines: &[&str]) {
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

    async fn store(&self, log: &LogReference, text: String) {
        let worker = self.taken.client(self.fixture);
        let scope = self.taken.scope();
        worker
            .append_log(&scope, log.id, text.into())
            .await
            .unwrap();
    }

    fn view(&self) -> String {
        format!("runs/{}", self.queued.build_id)
    }
}

fn now() -> Timestamp {
    use dayfly_pool_service::clock::{Clock, SystemClock};
    SystemClock.now()
}

fn issue(kind: IssueKind, message: &str) -> Issue {
    Issue {
        kind,
        category: None,
        message: message.to_owned(),
        data: [("logFileLineNumber".to_owned(), "2".to_owned())].into(),
    }
}

#[tokio::test]
async fn a_wrong_token_is_told_and_a_right_one_opens_the_page() {
    let fixture = start().await;
    let url = fixture.service.url();
    let browser = Browser::open(url).await;
    browser.go(url, "pools").await;
    browser.see("h1", "Sign in").await;
    browser.pictures("sign-in").await;
    browser.sign_in("nonsense").await;
    browser.see("#problem", "does not count").await;
    assert!(
        browser.focused().await.starts_with("INPUT"),
        "the field is at hand"
    );
    browser.sign_in(fixture.pat.expose()).await;
    browser.see("h1", "Pools").await;
    browser.see(".card", "linux").await;
    browser.client.refresh().await.unwrap();
    browser.see(".card", "linux").await;

    browser.press("Sign out").await;
    browser.see("h1", "Sign in").await;
    browser.client.refresh().await.unwrap();
    browser.see("h1", "Sign in").await;
    let kept = "return JSON.stringify({...localStorage, ...sessionStorage}) + document.cookie";
    let kept = browser.run(kept, vec![]).await;
    assert!(!kept.as_str().unwrap().contains(fixture.pat.expose()));
    browser.close().await;
}

#[tokio::test]
async fn a_revoked_token_ends_what_its_page_shows() {
    let fixture = start().await;
    let browser = signed_in(&fixture).await;
    browser.press("Pools").await;
    browser.see(".card", "linux").await;
    fixture.service.revoke("test").await.unwrap();
    browser.see(".message", "Your session is over").await;
    browser.see("h1", "Sign in").await;
    browser.close().await;
}

#[tokio::test]
async fn pools_and_agents_are_shown_as_they_stand() {
    let fixture = start().await;
    fixture.service.create_pool("windows").await.unwrap();
    fixture.register("sleeper-2").await;
    let work = Work::begin(&fixture, json!({"displayName": "Build it"})).await;
    let browser = signed_in(&fixture).await;
    browser.press("Pools").await;
    browser
        .see(".card", "1\nonline\n2\nagents\n1\nrunning")
        .await;
    browser.pictures("pools").await;
    browser.press("linux").await;
    browser.see(".row", "builder-1").await;
    browser.see(".row", "Busy").await;
    browser.see(".row", "runs Build it").await;
    browser.see(".row", "Offline").await;
    browser
        .see(
            ".summary",
            "2 agents: 1 busy, 0 idle, 1 offline, 0 disabled",
        )
        .await;
    browser.press("2 capabilities").await;
    browser.see(".pairs", "27.1").await;
    browser.pictures("agents").await;
    work.taken.complete(&fixture, TaskResult::Succeeded).await;
    browser.see(".summary", "0 busy, 1 idle, 1 offline").await;
    assert!(
        browser.shows(".pairs", "27.1").await,
        "what was opened stays open"
    );
    browser.close().await;
}

#[tokio::test]
async fn an_agent_is_disabled_and_removed_on_the_page() {
    let fixture = start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let browser = signed_in(&fixture).await;
    browser
        .go(fixture.service.url(), &format!("pools/{}", fixture.pool))
        .await;
    browser.press("Disable one").await;
    browser.see(".row", "Disabled").await;
    let read = || async { fixture.admin.agent(fixture.pool, agent.record.id).await };
    assert_eq!(read().await.unwrap().enabled, Some(false));
    browser.press("Enable one").await;
    browser.miss(".row", "Disabled").await;

    browser.press("Remove one").await;
    browser.see("dialog", "Remove one?").await;
    browser.press("Go back").await;
    assert!(read().await.is_ok());
    browser.press("Remove one").await;
    browser.press("Remove agent").await;
    browser.see(".empty", "No agents are registered").await;
    assert!(read().await.is_err());
    let polled = agent
        .client
        .next_message(fixture.pool, session.id, None)
        .await;
    assert!(polled.is_err(), "a removed agent is told, and stops");
    browser.close().await;
}

#[tokio::test]
async fn a_busy_agent_stays_and_the_page_says_why() {
    let fixture = start().await;
    let work = Work::begin(&fixture, json!({})).await;
    let browser = signed_in(&fixture).await;
    browser
        .go(fixture.service.url(), &format!("pools/{}", fixture.pool))
        .await;
    browser.press("Remove builder-1").await;
    browser.see("dialog", "Cancel the run first").await;
    browser.press("Remove agent").await;
    browser.see("dialog .problem", "cannot be deleted").await;
    work.taken.complete(&fixture, TaskResult::Succeeded).await;
    browser.press("Remove agent").await;
    browser.see(".empty", "No agents are registered").await;
    browser.close().await;
}

#[tokio::test]
async fn a_waiting_job_says_why_it_waits() {
    let fixture = start().await;
    fixture.register("one").await;
    fixture
        .queue_with(json!({"displayName": "First", "name": "nightly"}))
        .await;
    let second = fixture.queue_with(json!({"displayName": "Second"})).await;
    let browser = signed_in(&fixture).await;
    browser.press("Queue").await;
    browser
        .see(".reason", "The only agent that can take it is offline.")
        .await;
    browser.see("h2", "Waiting 2 jobs").await;
    let view = format!("runs/{}", second.build_id);
    browser.pictures("queue").await;
    browser.go(fixture.service.url(), &view).await;
    browser
        .see(".issues", "The only agent that can take it is offline.")
        .await;
    browser.pictures("run-waiting").await;
    browser.press("Cancel run").await;
    browser.see("dialog", "It cannot be taken back").await;
    browser.click("dialog button.danger").await;
    browser.see(".run-head", "Cancelled").await;
    browser.press("Queue").await;
    browser.see("h2", "Waiting 1 job").await;
    browser.close().await;
}

#[tokio::test]
async fn a_log_arrives_line_by_line_and_the_job_is_cancelled() {
    let fixture = start().await;
    let work = Work::begin(
        &fixture,
        json!({"displayName": "Build it", "name": "nightly"}),
    )
    .await;
    work.begin_step(0, "Compile").await;
    let browser = signed_in(&fixture).await;
    browser.see(".row", "nightly #").await;
    browser.go(fixture.service.url(), &work.view()).await;
    browser.see(".log-head", "Compile").await;
    for number in 1..=5 {
        let line = format!("line number {number}");
        let posted = Instant::now();
        work.live(0, number, &[&line]).await;
        browser.see(".line .text", &line).await;
        let took = posted.elapsed();
        assert!(took < HOLD / 2, "line {number} took {took:?}");
    }
    browser.see(".log-state", "5 lines").await;
    browser.press("Cancel run").await;
    browser.see("dialog", "Cancel nightly").await;
    browser.click("dialog button.danger").await;
    browser.see(".run-head", "Cancelling").await;
    work.agent.see_cancellation(&work.session).await;
    work.end_step(0, TaskResult::Canceled, Vec::new()).await;
    work.taken.complete(&fixture, TaskResult::Canceled).await;
    browser.see(".run-head .badge", "Cancelled").await;
    browser
        .see(".issues", "Cancelled on the web page with the token test.")
        .await;
    assert_eq!(
        browser.count("#cancel").await,
        0,
        "what is over cannot be cancelled"
    );
    browser.close().await;
}

/// A log with everything that is drawn in its own way.
const COLOURFUL: &str = "\
2026-01-02T03:04:05.1234567Z ##[section]Starting: Test
2026-01-02T03:04:05.2234567Z ##[group]Set up
2026-01-02T03:04:05.3234567Z fetched 12 packages
2026-01-02T03:04:05.4234567Z ##[endgroup]
2026-01-02T03:04:05.5234567Z ##[command]cargo test --workspace
2026-01-02T03:04:06.0000000Z \u{1b}[1m\u{1b}[32m   Compiling\u{1b}[0m dayfly-wire v0.1.0
2026-01-02T03:04:07.0000000Z test one ... \u{1b}[32mok\u{1b}[0m
2026-01-02T03:04:07.1000000Z test two ... \u{1b}[31;1mFAILED\u{1b}[0m, \u{1b}[38;5;208mslow\u{1b}[0m, \u{1b}[7minverse\u{1b}[0m
2026-01-02T03:04:08.0000000Z ##[warning]one test is slow
2026-01-02T03:04:09.0000000Z ##[error]Bash exited with code '101'.
2026-01-02T03:04:09.1000000Z ##[section]Finishing: Test
";

#[tokio::test]
async fn a_stored_log_has_colours_groups_links_and_a_search() {
    let fixture = start().await;
    let job = json!({"displayName": "Test", "name": "nightly", "steps": [
        {"script": "a"}, {"script": "b"}, {"script": "c"},
    ]});
    let work = Work::begin(&fixture, job).await;
    work.begin_step(0, "Checkout").await;
    work.end_step(0, TaskResult::Succeeded, Vec::new()).await;
    let log = work.begin_step(1, "Test").await;
    work.store(&log, COLOURFUL.to_owned()).await;
    let issues = vec![
        issue(IssueKind::Error, "Bash exited with code '101'."),
        issue(IssueKind::Warning, "one test is slow"),
    ];
    work.end_step(1, TaskResult::Failed, issues).await;
    work.begin_step(2, "Publish").await;
    work.end_step(2, TaskResult::Skipped, Vec::new()).await;
    work.taken.complete(&fixture, TaskResult::Failed).await;
    let browser = signed_in(&fixture).await;
    browser.see(".row", "Failed").await;
    browser.pictures("runs").await;
    browser.go(fixture.service.url(), &work.view()).await;
    browser.see(".log-head", "Test").await;
    browser.see(".line.is-error", "Bash exited").await;
    browser.see(".line.is-section", "Starting: Test").await;
    browser.see(".line .front-1.bold", "FAILED").await;
    browser
        .see(".issues .error", "Test: Bash exited with code '101'.")
        .await;
    browser.pictures("run-failed").await;

    assert!(
        !browser.shows(".line", "fetched").await,
        "an ended group is folded"
    );
    browser.press("▸Set up1 line").await;
    browser.see(".line", "fetched 12 packages").await;
    assert!(!browser.shows(".line", "endgroup").await);
    browser.press("▾Set up").await;
    browser.miss(".line", "fetched").await;
    browser.write(".log-tools input", "PACKAGES").await;
    browser.see(".matches", "1 of 1").await;
    browser.see(".line.target mark", "packages").await;
    browser.press("Times").await;
    browser.see(".line time", "03:04:07.100").await;

    browser
        .go(
            fixture.service.url(),
            &format!("{}/{}#L8", work.view(), work.step(1)),
        )
        .await;
    browser.see(".line.target", "FAILED").await;
    browser.click(".tree a.step").await;
    browser.see(".log-state", "This step wrote nothing.").await;
    let download = "return document.querySelector('a[download]').href";
    let download = browser.run(download, vec![]).await;
    let answer = fixture.call_url(download.as_str().unwrap()).await;
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    browser.close().await;
}

#[tokio::test]
async fn a_log_of_a_hundred_thousand_lines_stays_usable() {
    const LINES: usize = 100_000;
    let fixture = start().await;
    let work = Work::begin(&fixture, json!({"name": "long"})).await;
    let log = work.begin_step(0, "Talk").await;
    let mut text = String::new();
    for number in 1..=LINES {
        writeln!(text, "2026-01-02T03:04:05.1234567Z this is line {number}").unwrap();
    }
    work.store(&log, text).await;
    work.end_step(0, TaskResult::Succeeded, Vec::new()).await;
    work.taken.complete(&fixture, TaskResult::Succeeded).await;
    let browser = signed_in(&fixture).await;
    browser
        .go(
            fixture.service.url(),
            &format!("{}/{}#L99990", work.view(), work.step(0)),
        )
        .await;
    browser.see(".log-state", "100,000 lines").await;
    browser.see(".line.target", "this is line 99990").await;
    let drawn = browser.count(".line").await;
    assert!(drawn < 200, "{drawn} lines are in the document");
    browser.write(".log-tools input", "line 77777").await;
    browser.see(".line.target mark", "line 77777").await;
    let script = "const log = document.querySelector('.log'); const begin = performance.now(); \
         for (let at = 0; at < 100; at++) { log.scrollTop = at * 19999; log.dispatchEvent(new Event('scroll')); } \
         return performance.now() - begin";
    let took = browser.run(script, vec![]).await.as_f64().unwrap();
    assert!(took < 2000.0, "a hundred jumps took {took} ms");
    browser.close().await;
}

#[tokio::test]
async fn hostile_text_is_shown_and_does_nothing() {
    const EVIL: &str = "<img src=x onerror=\"window.hit=1\"><script>window.hit=1</script>\u{202e}";
    let fixture = start().await;
    let draft = Agent {
        user_capabilities: capabilities(&[(EVIL, EVIL)]),
        os_description: Some(EVIL.to_owned()),
        ..Agent::default()
    };
    fixture.register_as("evil", draft).await;
    let work = Work::begin(&fixture, json!({"displayName": EVIL, "name": EVIL})).await;
    let log = work.begin_step(0, EVIL).await;
    work.store(&log, format!("{EVIL}\n##[group]{EVIL}\n\u{1b}]8;;javascript:alert(1)\u{7}click\u{1b}]8;;\u{7}\n\u{1b}[38;2;1;2;3;\"><b>m\n")).await;
    work.live(0, 5, &[EVIL]).await;
    let issues = vec![issue(IssueKind::Error, EVIL)];
    work.end_step(0, TaskResult::Failed, issues).await;
    let browser = signed_in(&fixture).await;
    for (view, css) in [
        ("runs".to_owned(), ".row"),
        ("queue".to_owned(), ".row"),
        (format!("pools/{}", fixture.pool), ".row"),
        (work.view(), ".line .text"),
        (work.view(), ".issues"),
        (work.view(), ".tree"),
    ] {
        browser.go(fixture.service.url(), &view).await;
        browser.see(css, "<img src=x").await;
        assert_eq!(
            browser.count("main img, main script, main b").await,
            0,
            "{view}"
        );
    }
    browser.see(".line .text", "click").await;
    assert_eq!(browser.count(".log a[href^=javascript]").await, 0);
    browser.write(".log-tools input", "onerror").await;
    browser.see("mark", "onerror").await;
    assert!(browser.run("return window.hit", vec![]).await.is_null());
    // The browser itself refuses to make markup out of text on this page.
    let refused = "try { document.body.innerHTML = 'x'; return false } catch { return true }";
    assert_eq!(browser.run(refused, vec![]).await, true);
    work.taken.complete(&fixture, TaskResult::Failed).await;
    browser.client.clone().close().await.unwrap();
}

#[tokio::test]
async fn a_reading_token_sees_no_button_that_would_be_refused() {
    let fixture = start().await;
    let work = Work::begin(&fixture, json!({"displayName": "Build it"})).await;
    let reader = fixture.service.pat("agentpools,build").await.unwrap();
    let browser = Browser::open(fixture.service.url()).await;
    browser.sign_in(reader.expose()).await;
    browser.see(".row", "Build it").await;
    browser.go(fixture.service.url(), &work.view()).await;
    browser.see(".hint", "lacks build_execute").await;
    browser
        .go(fixture.service.url(), &format!("pools/{}", fixture.pool))
        .await;
    browser.see(".hint", "lacks agentpools_manage").await;
    assert_eq!(browser.count("#cancel, .actions, button.danger").await, 0);
    browser.close().await;

    let pools_only = fixture.service.pat("agentpools").await.unwrap();
    let browser = Browser::open(fixture.service.url()).await;
    browser.sign_in(pools_only.expose()).await;
    browser.see(".failure", "lacks the scope build").await;
    browser.press("Queue").await;
    browser.see(".row", "Build it").await;
    browser.close().await;
}

#[tokio::test]
async fn everything_is_reached_by_keyboard() {
    const TAB: &str = "\u{e004}";
    const ENTER: &str = "\u{e007}";
    const ESCAPE: &str = "\u{e00c}";
    let fixture = start().await;
    let work = Work::begin(
        &fixture,
        json!({"name": "nightly", "steps": [{"script": "a"}, {"script": "b"}]}),
    )
    .await;
    let log = work.begin_step(0, "Compile").await;
    work.store(&log, "one needle\ntwo\nthree needle\n".to_owned())
        .await;
    work.end_step(0, TaskResult::Succeeded, Vec::new()).await;
    work.begin_step(1, "Test").await;
    let browser = Browser::open(fixture.service.url()).await;
    browser.see("h1", "Sign in").await;
    browser.keys(fixture.pat.expose()).await;
    browser.keys(ENTER).await;
    browser.see(".row", "nightly").await;
    browser.client.refresh().await.unwrap();
    browser.see(".row", "nightly").await;
    browser.keys(TAB).await;
    assert_eq!(browser.focused().await, "BUTTON Skip to content");
    browser.keys(ENTER).await;
    browser.keys("j").await;
    assert!(browser.focused().await.starts_with("A nightly"));
    browser.keys(ENTER).await;
    browser.see(".log-head", "Test").await;
    browser.keys("k").await;
    assert!(browser.focused().await.contains("Compile"));
    browser.keys(ENTER).await;
    browser.see(".log-head", "Compile").await;
    browser.see(".log-state", "3 lines").await;
    browser.keys("/").await;
    browser.keys("needle").await;
    browser.see(".matches", "1 of 2").await;
    browser.keys(ENTER).await;
    browser.see(".matches", "2 of 2").await;
    browser.see(".line.target", "three needle").await;
    browser.keys(ESCAPE).await;
    browser.keys("?").await;
    browser.see("dialog", "Keyboard shortcuts").await;
    browser.pictures("shortcuts").await;
    browser.keys(ESCAPE).await;
    browser.miss("dialog", "Keyboard shortcuts").await;
    browser.keys("g").await;
    browser.keys("p").await;
    browser.see("h1", "Pools").await;
    let outline = "document.getElementById('sign-out').focus(); \
         return getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(
        browser.run(outline, vec![]).await,
        "solid",
        "the focus is visible"
    );
    browser.close().await;
}
