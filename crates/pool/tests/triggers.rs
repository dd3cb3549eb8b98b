//! Pushes of the real git and schedules queue pipelines.

#![allow(clippy::unwrap_used)] // Helpers of tests fail like tests.

mod common;
mod project;

use common::Fixture;
use dayfly_client::Credential;
use dayfly_pool_service::clock::{Clock, ManualClock, SystemClock};
use dayfly_pool_service::ops::reach;
use dayfly_pool_service::rules::reach::Change;
use dayfly_pool_service::testing::PoolHandle;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use project::{ON_MAIN, Project};
use std::sync::Arc;

#[tokio::test]
async fn a_push_queues_what_its_trigger_matches_once_for_each_update() {
    let project = Project::start().await;
    project.fixture.register("one").await;
    project.commit(ON_MAIN, "before the pipeline").await;
    project.push("main").await;
    project.pipeline().await;
    assert!(
        project.checked_in().await.is_empty(),
        "what was there before triggers nothing"
    );

    let second = project.commit(ON_MAIN, "second").await;
    project.push("main").await;
    let runs = project.wait_for_runs(1).await;
    let main = || "refs/heads/main".to_owned();
    assert_eq!(runs, [("individualCI".to_owned(), main(), second.clone())]);

    project.commit(ON_MAIN, "third [skip ci]").await;
    project.push("main").await;
    project.push("HEAD:refs/heads/other").await;
    project.push("HEAD:refs/tags/release/1").await;
    assert_eq!(project.checked_in().await.len(), 1);

    // A new branch at a commit that another branch had before, and a branch that is set back.
    project
        .push(&format!("{second}:refs/heads/release/1"))
        .await;
    project.wait_for_runs(2).await;
    project.push(&format!("{second}:refs/heads/main")).await;
    let runs = project.wait_for_runs(3).await;
    assert_eq!(runs[1].1, "refs/heads/release/1");
    assert_eq!((&runs[2].1, &runs[2].2), (&main(), &second));
    // A branch that goes queues nothing, and comes back as a new one.
    project.push(":refs/heads/release/1").await;
    assert_eq!(project.checked_in().await.len(), 3);
    project
        .push(&format!("{second}:refs/heads/release/1"))
        .await;
    project.wait_for_runs(4).await;
    assert_eq!(project.checked_in().await.len(), 4);
}

#[tokio::test]
async fn a_push_of_a_wrong_file_queues_nothing_and_says_why_until_it_is_mended() {
    let project = Project::start().await;
    project.fixture.register("one").await;
    project.pipeline().await;
    project.commit("steps: 7\n", "wrong").await;
    project.push("main").await;
    assert!(project.checked_in().await.is_empty());
    let problem = project.problem().await.unwrap();
    assert!(problem.starts_with("azure-pipelines.yml:1:"), "{problem}");
    project.commit(ON_MAIN, "right").await;
    project.push("main").await;
    project.wait_for_runs(1).await;
    assert_eq!(project.problem().await, None);
}

#[tokio::test]
async fn a_push_that_the_service_did_not_come_to_is_worked_off_after_its_restart() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        PoolHandle::builder()
            .poll_hold(common::HOLD)
            .directory(directory.path())
            .start()
    };
    let project = Project::on(Fixture::on(start().await.unwrap()).await).await;
    project.fixture.register("one").await;
    project.commit(ON_MAIN, "one").await;
    project.push("main").await;
    project.pipeline().await;
    let mut fixture = project.fixture;
    fixture.service.stop().await.unwrap();

    // As git leaves it when the service is killed before it looks.
    let project = Project { fixture, ..project };
    let commit = project.commit(ON_MAIN, "two").await;
    let bare = std::fs::read_dir(directory.path().join("repositories"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    project
        .git(&["push", "--quiet", bare.to_str().unwrap(), "main"])
        .await;

    let service = start().await.unwrap();
    let credential = Credential::Pat(project.fixture.pat.duplicate());
    let fixture = Fixture {
        admin: common::client(service.url(), credential),
        service,
        ..project.fixture
    };
    let project = Project { fixture, ..project };
    let runs = project.wait_for_runs(1).await;
    assert_eq!(runs[0].2, commit);
    assert_eq!(project.checked_in().await.len(), 1, "once");
}

#[tokio::test]
async fn schedules_queue_once_when_they_are_due_and_branches_without_a_change_wait() {
    let project = Project::on(Fixture::with_manual_clock().await).await;
    project.fixture.register("one").await;
    let file = "\
trigger: none
schedules:
- cron: '0 * * * *'
  timeZone: Asia/Kolkata
pool: linux
steps:
- script: echo
";
    let first = project.commit(file, "one").await;
    project.push("main").await;
    project.pipeline().await;
    let service = project.fixture.service.service();
    let hour = SignedDuration::from_hours(1);

    // Whatever the minute is, an hour has one full hour of that zone in it.
    service.run_schedules().await.unwrap();
    assert!(project.runs().await.is_empty(), "not due yet");
    project.fixture.service.advance(hour).await.unwrap();
    service.run_schedules().await.unwrap();
    service.run_schedules().await.unwrap();
    let main = || "refs/heads/main".to_owned();
    assert_eq!(
        project.runs().await,
        [("schedule".to_owned(), main(), first)]
    );

    project.fixture.service.advance(hour).await.unwrap();
    service.run_schedules().await.unwrap();
    assert_eq!(project.runs().await.len(), 1, "nothing has changed");

    let second = project.commit(file, "two").await;
    project.push("main").await;
    project.checked_in().await;
    // Of the hours that were missed one is made up for.
    project.fixture.service.advance(hour * 5).await.unwrap();
    service.run_schedules().await.unwrap();
    let runs = project.runs().await;
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[1].2, second);

    let changed = file.replace("timeZone", "always: true\n  timeZone");
    project.commit(&changed, "three").await;
    project.push("main").await;
    project.checked_in().await;
    for expected in [3, 4] {
        project.fixture.service.advance(hour).await.unwrap();
        service.run_schedules().await.unwrap();
        assert_eq!(project.runs().await.len(), expected);
    }
}

#[tokio::test]
async fn a_job_that_pushes_to_its_own_repository_queues_nothing() {
    let project = Project::start().await;
    let fixture = &project.fixture;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    project.commit(ON_MAIN, "one").await;
    project.push("main").await;
    project.pipeline().await;
    let service = fixture.service.service();
    let now = service.now();
    let change = Change {
        pushes: Some(true),
        ..Change::default()
    };
    let allowed = reach::change(&service.store, "demo", "ci", change, now).await;
    assert!(allowed.unwrap().pushes);

    project.commit(ON_MAIN, "two").await;
    project.push("main").await;
    project.wait_for_runs(1).await;
    let taken = agent.take_job(&session).await;
    let by_job = project.commit(ON_MAIN, "by the job").await;
    assert!(project.push_with(&taken.token, "HEAD:main").await);
    let arrived = project
        .git(&["ls-remote", &project.url, "refs/heads/main"])
        .await;
    assert!(arrived.starts_with(&by_job), "{arrived}");
    assert_eq!(project.checked_in().await.len(), 1, "it would never end");

    // What a person pushes on top of it counts as ever.
    let by_person = project.commit(ON_MAIN, "by a person").await;
    project.push("main").await;
    let runs = project.wait_for_runs(2).await;
    assert_eq!(runs[1].2, by_person);
    assert_eq!(project.checked_in().await.len(), 2);
}

#[tokio::test]
async fn a_time_that_came_while_the_service_was_down_is_made_up_for_within_the_hour() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let start = || {
        let builder = PoolHandle::builder()
            .poll_hold(common::HOLD)
            .clock(clock.clone());
        builder.directory(directory.path()).start()
    };
    let project = Project::on(Fixture::on(start().await.unwrap()).await).await;
    project.fixture.register("one").await;
    let minute = (clock.now() + SignedDuration::from_mins(10))
        .to_zoned(TimeZone::UTC)
        .minute();
    let file = ON_MAIN.replace(
        "pool:",
        &format!("schedules: [{{cron: '{minute} * * * *', always: true}}]\npool:"),
    );
    project.commit(&file, "one").await;
    project.push("main").await;
    project.pipeline().await;

    let mut project = project;
    for (minutes, expected) in [(15, 1), (40, 1), (300, 2)] {
        project.fixture.service.stop().await.unwrap();
        clock.advance(SignedDuration::from_mins(minutes));
        let service = start().await.unwrap();
        let credential = Credential::Pat(project.fixture.pat.duplicate());
        let fixture = Fixture {
            admin: common::client(service.url(), credential),
            service,
            ..project.fixture
        };
        project = Project { fixture, ..project };
        // The service looks by itself when it starts, and may have done so already.
        project
            .fixture
            .service
            .service()
            .run_schedules()
            .await
            .unwrap();
        let runs = project.wait_for_runs(expected).await;
        assert_eq!(runs.len(), expected, "{minutes} minutes later");
    }
}
