//! Tasks that the service serves, run by the node of this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // It is all test code.

mod support;

use dayfly_wire::event::TaskResult;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use support::tasks::{TASK, archive, definition, step, with_all_parts};
use support::{AgentProcesses, Outcome, World, agent_program, give_away};

async fn agent_with(world: &World, set: impl FnOnce(&mut Command, &Path)) -> AgentProcesses {
    let identity = world.identity("agent-1", false).await;
    let directory = world.agent_directory("agent-1");
    let file = directory.join("identity.json");
    std::fs::write(&file, serde_json::to_vec(&identity).unwrap()).unwrap();
    let mut command = Command::new(agent_program());
    command.arg("listen").arg("--identity-file").arg(&file);
    set(&mut command, &directory);
    world.start_agent("agent-1", command)
}

/// Runs one job of these steps on an agent of its own.
async fn ran(world: &World, steps: Value) -> Outcome {
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({"steps": steps, "variables": {
            "user": "you", "plain": "a $(user)", "pw": {"value": "hunter2-secret", "isSecret": true}}}))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    outcome
}

fn has(outcome: &Outcome, text: &str) {
    assert!(
        outcome.log.contains(text),
        "{text:?} is missing in\n{}",
        outcome.log
    );
}

fn has_not(outcome: &Outcome, text: &str) {
    assert!(
        !outcome.everything.contains(text),
        "{text:?} is in\n{}",
        outcome.log
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_finds_what_the_library_of_tasks_looks_for_and_is_obeyed() {
    let world = World::start().await;
    world.upload(&with_all_parts(TASK)).await;
    let task = step(
        TASK,
        "everything",
        &json!({
        "name": "probe", "env": {"MAPPED": "with $(pw)"},
        "inputs": {"WHOM": "me and $(user)", "file": "sub/x", "multi": "a\nb"}}),
    );
    let outcome = ran(&world, json!([
        {"script": "echo first"},
        task,
        {"bash": "echo got $(probe.named) $(probe.declared) $PLAINSET [$SECRETSET] $(secretSet)", "displayName": "After"}
    ]))
    .await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    assert_eq!(
        outcome.names(),
        [
            "Initialize job",
            "Pre-job: Probe everything",
            "CmdLine",
            "Probe everything",
            "After",
            "Post-job: Probe everything",
            "Finalize Job"
        ]
    );
    for text in [
        "Downloading task: Probe (1.2.3)",
        "Task         : Probe the agent",
        "before the steps, who=me and you",
        "who=me and you loud=true",
        "/1/s/sub/x multi=a|b",
        "plain=a you debug=undefined",
        "secret=*** backwards=terces-2retnuh",
        "pre said the pre-job part",
        "scheme=OAuth",
        "mapped=with *** job=Succeeded",
        "child sees []",
        "got as output by task.json from the task [] ***",
        "after the steps, the pre-job part and the main part",
        "Cleaning up task key",
    ] {
        has(&outcome, text);
    }
    has(&outcome, &format!("service={}/", world.pool.url()));
    has_not(&outcome, "hunter2-secret");
    has_not(&outcome, "uncovered1");
    let record = outcome.record("Probe everything");
    assert_eq!(record.warning_count, Some(1));
    assert_eq!(
        record.current_operation.as_deref(),
        Some("bash ended with 0")
    );
    assert!(record.variables.contains_key("named") && record.variables.contains_key("declared"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_task_is_given_can_be_read_by_nobody_else_of_its_user() {
    let world = World::start().await;
    world.upload(&definition(TASK)).await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({
            "variables": {"pw": {"value": "hunter2-secret", "isSecret": true}},
            "steps": [step(TASK, "expose", &json!({
                "env": {"MAPPED": "$(pw)"}, "inputs": {"file": "$(Agent.TempDirectory)/out", "who": "$(pw)"}}))]
        }))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    assert_eq!(agent.exit().await.code(), Some(0));
    let out = agent.directory.join("volume/work/_temp/out");
    let token = std::fs::read_to_string(out.join("token")).unwrap();
    let readable =
        String::from_utf8_lossy(&std::fs::read(out.join("readable")).unwrap()).into_owned();
    assert!(readable.contains("AGENT_NAME="), "{readable}");
    for secret in [token.trim(), "hunter2-secret"] {
        assert!(!readable.contains(secret), "{secret:?} is in\n{readable}");
    }
    // The library's key to what it keeps in memory does not stay.
    assert!(!agent.directory.join("volume/work/_temp/.taskkey").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_setting_decides_which_tasks_are_given_the_token() {
    const LISTED: &str = "0b0f01ed-7dde-43ff-9cbb-e48954daf9b1";
    let world = World::start().await;
    world.upload(&definition(TASK)).await;
    world.upload(&definition(LISTED)).await;
    let steps = json!([
        step(TASK, "token", &json!({"displayName": "Other"})),
        step(LISTED, "token", &json!({"displayName": "Listed"})),
        step(
            TASK,
            "token",
            &json!({"displayName": "Asks", "inputs": {"who": "$(System.AccessToken)"}})
        ),
    ]);
    for (setting, other, listed) in [
        ("installed", true, true),
        ("listed", false, true),
        ("none", false, false),
    ] {
        let mut agent = agent_with(&world, |listen, _| {
            listen.env("DAYFLY_TOKEN_FOR_TASKS", setting);
        })
        .await;
        let job = world.queue(json!({"steps": steps})).await;
        let outcome = world.outcome(&job).await;
        assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
        assert_eq!(agent.exit().await.code(), Some(0));
        for (name, given) in [("Other", other), ("Listed", listed), ("Asks", other)] {
            let text = world.log_of(&job, &outcome, name).await;
            assert_eq!(
                text.contains("token of 3 parts"),
                given,
                "{setting} {name}\n{text}"
            );
            assert_eq!(
                text.contains("variable too"),
                given,
                "{setting} {name}\n{text}"
            );
            assert_eq!(
                text.contains(&format!("tokenForTasks is '{setting}'")),
                !given,
                "{setting} {name}\n{text}"
            );
            assert_eq!(
                text.contains("asked for and given"),
                name == "Asks",
                "{text}"
            );
        }
        world.forget("agent-1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_task_says_of_its_end_and_how_it_ends_decide() {
    let world = World::start().await;
    world.upload(&definition(TASK)).await;
    let always = |action: &str, more: Value| {
        let mut more = more;
        more["condition"] = "always()".into();
        step(TASK, action, &more)
    };
    let outcome = ran(
        &world,
        json!([
            step(TASK, "issues", &json!({})),
            step(TASK, "once", &json!({"retryCountOnTaskFailure": 2})),
            step(TASK, "done", &json!({})),
            step(
                TASK,
                "fail",
                &json!({"continueOnError": true, "displayName": "Tolerated"})
            ),
            step(TASK, "fail", &json!({})),
            step(TASK, "issues", &json!({"displayName": "Skipped"})),
            always("crash", json!({})),
        ]),
    )
    .await;
    assert_eq!(outcome.result, TaskResult::Failed);
    let result = |name: &str| outcome.record(name).result;
    assert_eq!(
        result("Probe issues"),
        Some(TaskResult::SucceededWithIssues)
    );
    assert_eq!(
        result("Probe once"),
        Some(TaskResult::Succeeded),
        "{}",
        outcome.log
    );
    assert_eq!(result("Probe done"), Some(TaskResult::Succeeded));
    assert_eq!(result("Tolerated"), Some(TaskResult::SucceededWithIssues));
    assert_eq!(result("Probe fail"), Some(TaskResult::Failed));
    assert_eq!(result("Skipped"), Some(TaskResult::Skipped));
    assert_eq!(result("Probe crash"), Some(TaskResult::Failed));
    let messages = |name: &str| -> Vec<String> {
        let issues = outcome.record(name).issues.iter();
        issues.map(|issue| issue.message.clone()).collect()
    };
    assert_eq!(messages("Probe fail"), ["it did not work"]);
    assert!(
        messages("Probe crash")[0].starts_with("Exit code 7 returned from process: file name '")
    );
    has(&outcome, "will retry (attempt #: 1 out of 2) after 1000 ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_hangs_ends_with_its_job() {
    let world = World::start().await;
    world.upload(&with_all_parts(TASK)).await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({"steps": [step(TASK, "hang", &json!({}))]}))
        .await;
    world.line(&job, "hanging").await;
    world
        .admin
        .cancel_job(support::PROJECT, job.request_id, None)
        .await
        .unwrap();
    let outcome = world.outcome(&job).await;
    assert_eq!(outcome.result, TaskResult::Canceled);
    assert_eq!(
        outcome.record("Probe hang").result,
        Some(TaskResult::Canceled)
    );
    // What comes after is never left out.
    assert_eq!(
        outcome.record("Post-job: Probe hang").result,
        Some(TaskResult::Succeeded),
        "{}",
        outcome.log
    );
    assert_eq!(agent.exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_cannot_run_says_why_and_what_to_do() {
    const WINDOWS: &str = "44444444-4444-4444-8444-444444444444";
    let world = World::start().await;
    let mut windows = definition(WINDOWS);
    windows["execution"] =
        json!({"PowerShell3": {"target": "x.ps1"}, "Process": {"target": "x.exe"}});
    world.upload(&windows).await;
    let outcome = ran(
        &world,
        json!([
            step(WINDOWS, "fail", &json!({"condition": "false"})),
            step(WINDOWS, "fail", &json!({"displayName": "Windows"}))
        ]),
    )
    .await;
    assert_eq!(
        outcome.record("Probe fail").result,
        Some(TaskResult::Skipped)
    );
    let message = &outcome.record("Windows").issues[0].message;
    assert!(message.contains("PowerShell3, Process"), "{message}");
    world.forget("agent-1").await;

    let outcome = ran(&world, json!([step(TASK, "fail", &json!({}))])).await;
    assert_eq!(outcome.result, TaskResult::Failed);
    let message = &outcome.record("Initialize job").issues[0].message;
    assert!(
        message.contains("Probe (1.2.3) is not in the service's catalogue"),
        "{message}"
    );
    assert_eq!(
        outcome.record("Probe fail").result,
        Some(TaskResult::Skipped)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_node_is_told_to_have_one() {
    let world = World::start().await;
    world.upload(&definition(TASK)).await;
    let directory = world.agent_directory("agent-1");
    std::fs::create_dir(directory.join("bin")).unwrap();
    std::os::unix::fs::symlink("/bin/bash", directory.join("bin/bash")).unwrap();
    let identity = world.identity("agent-1", false).await;
    let mut agent = world.agent_in_image(&identity, |step_host| {
        step_host.env("PATH", directory.join("bin"));
    });
    let job = world
        .queue(json!({"steps": [{"script": "echo scripts run"}, step(TASK, "fail", &json!({}))]}))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    has(&outcome, "scripts run");
    let issues = &outcome.record("Probe fail").issues;
    assert_eq!(issues.len(), 1);
    assert!(
        issues[0]
            .message
            .contains("the job's image has no 'node' in its PATH. Set the image"),
        "{issues:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_a_step_changed_is_not_run() {
    let world = World::start().await;
    world.upload(&definition(TASK)).await;
    // In a pod the directory is read-only for the job; here it is not, and the change is noticed all the same.
    let outcome = ran(&world, json!([
        {"bash": format!("echo 'console.log(\"evil\")' >\"$AGENT_WORKFOLDER/../tasks/{TASK}/1.2.3/main.js\"")},
        step(TASK, "token", &json!({})),
    ]))
    .await;
    let message = &outcome.record("Probe token").issues[0].message;
    assert!(
        message.contains("are not what the service served"),
        "{message}"
    );
    has_not(&outcome, "evil\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_cannot_choose_what_code_tasks_load() {
    let world = World::start().await;
    world.upload(&definition(TASK)).await;
    let outcome = ran(&world, json!([
        {"bash": "echo 'console.log(\"loaded \" + \"by force\")' >$AGENT_TEMPDIRECTORY/evil.js\nmkdir -p $AGENT_TEMPDIRECTORY/bin\nprintf '#!/bin/sh\\necho own node' >$AGENT_TEMPDIRECTORY/bin/node; chmod +x $AGENT_TEMPDIRECTORY/bin/node\necho \"##vso[task.prependpath]$AGENT_TEMPDIRECTORY/bin\"\necho \"##vso[task.setvariable variable=NODE_OPTIONS]--require=$AGENT_TEMPDIRECTORY/evil.js\""},
        step(TASK, "token", &json!({})),
    ]))
    .await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    has(&outcome, "token of 3 parts");
    has(&outcome, "The variable 'NODE_OPTIONS' was set by a step");
    has_not(&outcome, "loaded by force");
    has_not(&outcome, "own node\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_may_restrict_its_own_output() {
    let world = World::start().await;
    let mut restricted = definition(TASK);
    restricted["restrictions"] =
        json!({"commands": {"mode": "restricted"}, "settableVariables": {"allowed": ["allowed*"]}});
    world.upload(&restricted).await;
    let outcome = ran(
        &world,
        json!([
            step(TASK, "forbidden", &json!({})),
            {"bash": "echo [$ALLOWEDONE] [$OTHER]"},
        ]),
    )
    .await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    has(&outcome, "[yes] []");
    assert_eq!(outcome.record("Probe forbidden").warning_count, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_fork_are_given_no_connection_and_no_secure_file_where_the_service_says_so() {
    let world = World::start().await;
    let mut wants = definition(TASK);
    let inputs = wants["inputs"].as_array_mut().unwrap();
    inputs.push(json!({"name": "where", "type": "connectedService:Generic"}));
    world.upload(&wants).await;
    for (agent, fork, where_to, result) in [
        ("agent-1", "True", TASK, TaskResult::Skipped),
        ("agent-2", "False", TASK, TaskResult::Succeeded),
        ("agent-3", "True", "", TaskResult::Succeeded),
    ] {
        let mut agent = world.agent(agent).await;
        let inputs = json!({"inputs": {"where": where_to}, "displayName": "Wants"});
        let job = world
            .queue(json!({"steps": [step(TASK, "token", &inputs)],
                "variables": {"system.restrictSecrets": "true", "system.pullRequest.isFork": fork}}))
            .await;
        let outcome = world.outcome(&job).await;
        assert_eq!(agent.exit().await.code(), Some(0));
        assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
        let record = outcome.record("Wants");
        assert_eq!(record.result, Some(result), "{fork} {where_to}");
        let reason = record.result_code.as_deref().unwrap_or_default();
        assert_eq!(
            reason.contains("come from a fork"),
            result == TaskResult::Skipped
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_serves_archives_and_they_are_looked_through_like_others() {
    let world = World::start().await;
    let cached = |bytes: Vec<u8>| {
        agent_with(&world, move |listen, directory| {
            let cache = directory.join("cache");
            std::fs::create_dir_all(&cache).unwrap();
            std::fs::write(cache.join(format!("{TASK}_1.2.3.zip")), bytes).unwrap();
            give_away(&cache);
            listen.env("DAYFLY_TASK_CACHE", cache);
        })
    };
    let steps = json!({"steps": [step(TASK, "token", &json!({}))]});
    let mut agent = cached(archive(&definition(TASK))).await;
    let outcome = world.outcome(&world.queue(steps.clone()).await).await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    has(&outcome, "Task Probe is taken from the cache.");
    agent.exit().await;
    world.forget("agent-1").await;

    let mut agent = cached(hostile()).await;
    let outcome = world.outcome(&world.queue(steps).await).await;
    agent.exit().await;
    assert_eq!(outcome.result, TaskResult::Failed);
    let message = &outcome.record("Initialize job").issues[0].message;
    assert!(
        message.contains("\"../../escaped\", which leads out of the archive"),
        "{message}"
    );
    let escaped = agent.directory.join("volume/tasks/escaped");
    assert!(!escaped.exists() && !agent.directory.join("volume/escaped").exists());
}

fn hostile() -> Vec<u8> {
    use std::io::Write;
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive
        .start_file("../../escaped", zip::write::SimpleFileOptions::default())
        .unwrap();
    archive.write_all(b"x").unwrap();
    archive.finish().unwrap().into_inner()
}
