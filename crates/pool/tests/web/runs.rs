//! The queue, and a run with its jobs.

use crate::browser::Browser;
use crate::common::Fixture;
use crate::project::Project;
use crate::work::{HOLD, now, signed_in, start};
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::RecordId;
use dayfly_wire::timeline::{Record, RecordState};
use jiff::SignedDuration;
use serde_json::json;

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

const TWO_JOBS: &str = "\
trigger: none
pool: linux
jobs:
- job: build
  displayName: Build it
  steps:
  - script: make
    displayName: Compile
- job: report
  displayName: Report it
  dependsOn: build
  condition: failed()
  steps:
  - script: mail
- job: release
  displayName: Release it
  dependsOn: build
  steps:
  - script: ship
";

/// A pipeline of two jobs has run: the first took a minute and five seconds, of which its step took seven seconds.
async fn run_of_two_jobs(project: &Project) -> (i64, String) {
    let fixture = &project.fixture;
    let commit = project.commit(TWO_JOBS, "one").await;
    project.push("main").await;
    let pipeline = project.pipeline().await;
    let agent = fixture.register("one").await;
    let mut session = agent.open().await;
    let given = json!({"parameters": json!({"colour": "red"}).to_string()});
    let queued = project.queue(pipeline, given).await;
    assert_eq!(queued.status, 200, "{}", queued.body);
    for (job_seconds, step_seconds) in [(65, 7), (3, 2)] {
        let taken = agent.take_job(&session).await;
        let begun = now() - SignedDuration::from_secs(job_seconds);
        let ended = |seconds| begun + SignedDuration::from_secs(seconds);
        let job = RecordId(taken.message.job_id.0);
        let record = |id, seconds| Record {
            id,
            state: Some(RecordState::Completed),
            result: Some(TaskResult::Succeeded),
            start_time: Some(begun),
            finish_time: Some(ended(seconds)),
            ..Record::default()
        };
        let sent = &taken.message.steps[0];
        let step = Record {
            parent_id: Some(job),
            kind: Some("Task".to_owned()),
            name: sent.display_name.clone(),
            order: Some(1),
            ..record(sent.id, step_seconds)
        };
        let records = [record(job, job_seconds), step];
        let worker = taken.client(fixture);
        let timeline = taken.message.timeline.id;
        let updated = worker
            .update_records(&taken.scope(), timeline, &records)
            .await;
        updated.unwrap();
        taken.complete(fixture, TaskResult::Succeeded).await;
        session = agent.reopen(&session).await;
    }
    (queued.json()["id"].as_i64().unwrap(), commit)
}

#[tokio::test]
async fn a_run_of_several_jobs_is_a_tree_with_durations_and_is_run_again() {
    let project = Project::on(Fixture::with_poll_hold(HOLD).await).await;
    let (run, commit) = run_of_two_jobs(&project).await;
    let url = project.fixture.service.url();
    let browser = signed_in(&project.fixture).await;
    browser.see(".row", "2 jobs").await;
    browser.go(url, &format!("runs/{run}")).await;
    browser.see(".run-head .badge", "Succeeded").await;
    browser.see(".tree .job", "Report it").await;
    let rows = "return [...document.querySelectorAll('.tree .step')].map((each) =>\
        `${each.querySelector('.name').innerText}${each.querySelector('.hidden').textContent}: \
${each.querySelector('.time').innerText}`)";
    let rows = browser.run(rows, vec![]).await;
    let expected = json!([
        "Build it, Succeeded: 1 min 5 s",
        "Compile, Succeeded: 7 s",
        "Report it, Skipped: ",
        "Release it, Succeeded: 3 s",
        "CmdLine, Succeeded: 2 s",
    ]);
    assert_eq!(rows, expected);
    browser.pictures("run-jobs").await;

    browser.press("Run again").await;
    let runs = project.wait_for_runs(2).await;
    assert_eq!(runs.len(), 2);
    assert_eq!((&runs[1].0, &runs[1].2), (&"manual".to_owned(), &commit));
    let again = project.build(run + 1).await;
    assert_eq!(again["parameters"], json!({"colour": "red"}).to_string());
    let number = again["buildNumber"].as_str().unwrap();
    browser.see("h1", &format!("#{number}")).await;
    browser.see(".run-head", "Cancel run").await;
    assert_eq!(browser.count("#again").await, 0, "it has not ended");
    browser.close().await;

    let reader = project.fixture.service.pat("build").await.unwrap();
    let browser = Browser::open(url).await;
    browser.sign_in(reader.expose()).await;
    browser.see(".row", "ci").await;
    browser.go(url, &format!("runs/{run}")).await;
    browser.see(".run-head .badge", "Succeeded").await;
    assert_eq!(browser.count("#again").await, 0, "a reader queues nothing");
    browser.close().await;
}
