//! Jobs that run to their end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // It is all test code.

mod support;

use dayfly_wire::event::TaskResult;
use serde_json::json;
use support::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_checks_out_runs_its_steps_and_is_reported() {
    let world = World::start().await;
    let commit = world
        .repository("demo", &[("src/hello.txt", "hello from git\n")])
        .await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({
            "repository": "demo",
            "steps": [
                {"checkout": "self"},
                {"script": "cat src/hello.txt; git status --porcelain; git log --format=%s; cat .git/config"},
                {"bash": "pwd\necho branch $BUILD_SOURCEBRANCH", "displayName": "Where"}
            ]
        }))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(
        outcome.result,
        TaskResult::Succeeded,
        "{}",
        outcome.everything
    );
    assert_eq!(agent.exit().await.code(), Some(0));

    assert_eq!(
        outcome.names(),
        [
            "Initialize job",
            "Checkout demo@main to s",
            "CmdLine",
            "Where",
            "Post-job: Checkout demo@main to s",
            "Finalize Job"
        ]
    );
    for text in [
        "hello from git",
        "the first commit",
        "branch refs/heads/main",
        &commit,
    ] {
        assert!(
            outcome.log.contains(text),
            "{text:?} is missing in\n{}",
            outcome.log
        );
    }
    // The sources know where they come from, and no credential.
    assert!(outcome.log.contains("/demo/_git/demo"));
    assert!(!outcome.log.to_lowercase().contains("extraheader"));
    assert!(!outcome.log.contains("credential.helper"));
    // Every line has a time; every record is complete.
    assert!(
        outcome
            .log
            .lines()
            .all(|line| line.len() > 28 && line.as_bytes()[27] == b'Z'),
        "{}",
        outcome.log
    );
    for record in &outcome.records {
        assert!(record.result.is_some(), "{record:#?}");
    }
    let request = world
        .admin
        .request(world.pool_id, job.request_id)
        .await
        .unwrap();
    assert!(request.receive_time.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_fails_the_job_and_conditions_decide_what_follows() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({
            "steps": [
                {"script": "echo before; exit 3", "displayName": "Fails"},
                {"script": "echo never", "displayName": "Skipped"},
                {"script": "echo rescue $AGENT_JOBSTATUS", "displayName": "Rescue", "condition": "failed()"},
                {"script": "exit 1", "displayName": "Tolerated", "condition": "always()", "continueOnError": true}
            ]
        }))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Failed);
    assert_eq!(agent.exit().await.code(), Some(0));
    let result = |name: &str| outcome.record(name).result;
    assert_eq!(result("Fails"), Some(TaskResult::Failed));
    assert_eq!(result("Skipped"), Some(TaskResult::Skipped));
    assert_eq!(result("Rescue"), Some(TaskResult::Succeeded));
    assert_eq!(result("Tolerated"), Some(TaskResult::SucceededWithIssues));
    assert_eq!(
        outcome.record("Fails").issues[0].message,
        "Bash exited with code '3'."
    );
    assert!(outcome.log.contains("rescue Failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_set_variables_outputs_results_and_path() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({
            "variables": {"greeting": "hi $(who)", "who": "there"},
            "steps": [
                {"bash": "mkdir -p $AGENT_TEMPDIRECTORY/bin; printf '#!/bin/sh\\necho from the tool' > $AGENT_TEMPDIRECTORY/bin/my-tool; chmod +x $AGENT_TEMPDIRECTORY/bin/my-tool\necho \"##vso[task.prependpath]$AGENT_TEMPDIRECTORY/bin\"\necho '##vso[task.setvariable variable=later;isOutput=true]made earlier'\necho '##vso[task.setvariable variable=plain]plain value'\necho '##vso[task.logissue type=warning]take care'\necho '##vso[bogus.thing]'", "name": "maker"},
                {"bash": "my-tool; echo \"$(greeting), $(maker.later), $PLAIN\""},
                {"bash": "echo '##vso[task.complete result=SucceededWithIssues;]so so'"}
            ]
        }))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    assert_eq!(
        outcome.result,
        TaskResult::SucceededWithIssues,
        "{}",
        outcome.log
    );
    assert!(outcome.log.contains("from the tool"), "{}", outcome.log);
    assert!(
        outcome.log.contains("hi there, made earlier, plain value"),
        "{}",
        outcome.log
    );
    let maker = outcome
        .records
        .iter()
        .find(|record| record.ref_name.as_deref() == Some("maker"))
        .unwrap();
    assert_eq!(
        maker.variables["later"].value.as_deref(),
        Some("made earlier")
    );
    assert_eq!(maker.warning_count, Some(2));
    assert!(
        maker
            .issues
            .iter()
            .any(|issue| issue.message == "take care")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_not_known_fails_the_job_at_once_and_says_which() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({
            "steps": [
                {"script": "echo never"},
                {"task": {"id": "00000000-0000-0000-0000-0000000000aa", "name": "Gradle", "version": "3.1.2"}}
            ]
        }))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Failed);
    assert_eq!(agent.exit().await.code(), Some(0));
    let initialize = outcome.record("Initialize job");
    assert_eq!(initialize.result, Some(TaskResult::Failed));
    assert!(
        initialize.issues[0]
            .message
            .contains("Gradle (3.1.2) is not in the service's catalogue")
    );
    assert!(!outcome.log.contains("never"));
    assert_eq!(outcome.record("CmdLine").result, Some(TaskResult::Skipped));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_job_is_left_to_another_agent() {
    let world = World::start().await;
    let mut first = world.agent("agent-1").await;
    let one = world
        .queue(json!({"steps": [{"script": "echo one"}]}))
        .await;
    let two = world
        .queue(json!({"steps": [{"script": "echo two"}]}))
        .await;
    assert_eq!(world.outcome(&one).await.result, TaskResult::Succeeded);
    assert_eq!(first.exit().await.code(), Some(0));
    let waiting = world.admin.job("demo", two.request_id).await.unwrap();
    assert_eq!(waiting.result, None);
    let mut second = world.agent("agent-2").await;
    world
        .admin
        .set_agent_enabled(world.pool_id, world.agent_id("agent-1").await, false)
        .await
        .unwrap();
    let outcome = world.outcome(&two).await;
    assert_eq!(outcome.result, TaskResult::Succeeded);
    assert_eq!(second.exit().await.code(), Some(0));
    assert!(
        !first
            .agent_log()
            .contains(&format!("request={}", two.request_id))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_is_stored_whole_and_in_order() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({"steps": [{"bash": "seq -f 'line %g' 1 30000; head -c 3000000 /dev/zero | tr '\\0' z; echo; echo the end"}]}))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Succeeded);
    assert_eq!(agent.exit().await.code(), Some(0));
    let numbers: Vec<u32> = outcome
        .log
        .lines()
        .filter_map(|line| line.split_once(" line ")?.1.parse().ok())
        .collect();
    assert!(
        numbers.iter().copied().eq(1..=30_000),
        "{} lines",
        numbers.len()
    );
    let zs = outcome.log.bytes().filter(|byte| *byte == b'z').count();
    assert!(zs >= 3_000_000, "{zs}");
    assert!(outcome.log.contains(" the end"));
}

#[tokio::test(flavor = "multi_thread")]
async fn script_files_standard_error_and_directories() {
    let world = World::start().await;
    world
        .repository(
            "demo",
            &[("tools/run.sh", "echo ran with \"$1\" in $(basename $PWD)\n")],
        )
        .await;
    let mut agent = world.agent("agent-1").await;
    let bash = "6c731c3c-3c68-459a-a5c9-bde6e6595b5b";
    let job = world
        .queue(json!({
            "repository": "demo",
            "steps": [
                {"checkout": "self"},
                {"task": {"id": bash, "name": "Bash", "version": "3.250.0"},
                 "inputs": {"targetType": "filePath", "filePath": "tools/run.sh", "arguments": "'two words'", "workingDirectory": "tools"}},
                {"bash": "echo harmless; echo complaint >&2", "inputs": {"failOnStderr": "true"}, "displayName": "Strict"},
                {"bash": "echo x", "workingDirectory": "nowhere", "condition": "failed()", "displayName": "Nowhere"}
            ]
        }))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Failed);
    assert_eq!(agent.exit().await.code(), Some(0));
    assert!(
        outcome.log.contains("ran with two words in tools"),
        "{}",
        outcome.log
    );
    let issues = |name: &str| {
        let record = outcome.record(name);
        record
            .issues
            .iter()
            .map(|issue| issue.message.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        issues("Strict"),
        [
            "Bash wrote one or more lines to the standard error stream.",
            "complaint"
        ]
    );
    assert!(issues("Nowhere")[0].contains("nowhere does not exist"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flaky_step_is_tried_again() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({"steps": [
            {"bash": "test -e ../second && exit 0; touch ../second; exit 5", "displayName": "Flaky", "retryCountOnTaskFailure": 2}
        ]}))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    assert_eq!(agent.exit().await.code(), Some(0));
    assert!(outcome.log.contains("will retry (attempt #: 1 out of 2)"));
}
