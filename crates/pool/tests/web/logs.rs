//! The log of a step, live and stored.

use crate::work::{HOLD, Work, issue, signed_in, start};
use dayfly_wire::event::TaskResult;
use dayfly_wire::timeline::IssueKind;
use serde_json::json;
use std::fmt::Write;
use std::time::Instant;

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
