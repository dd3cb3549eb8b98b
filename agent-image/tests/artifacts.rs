//! Artifacts: what jobs publish and download.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)] // It is all test code.

mod support;

use dayfly_wire::artifact::ItemType;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::BuildId;
use dayfly_wire::job::builtin;
use dayfly_wire::queue::QueuedJob;
use serde_json::{Value, json};
use support::{Outcome, World};
use uuid::Uuid;

fn task(id: Uuid, display: &str, inputs: &Value) -> Value {
    json!({"task": {"id": id, "name": "Artifacts", "version": "1.250.0"}, "displayName": display,
        "condition": "succeededOrFailed()", "inputs": inputs})
}

fn publish(display: &str, inputs: &Value) -> Value {
    task(builtin::PUBLISH_ARTIFACT, display, inputs)
}

fn download(display: &str, inputs: &Value) -> Value {
    task(builtin::DOWNLOAD_ARTIFACT, display, inputs)
}

async fn ran(world: &World, name: &str, steps: Value) -> (QueuedJob, Outcome) {
    let mut agent = world.agent(name).await;
    let job = world.queue(json!({"steps": steps})).await;
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    (job, outcome)
}

async fn run_of(world: &World, job: &QueuedJob) -> BuildId {
    let request = world
        .admin
        .job(support::PROJECT, job.request_id)
        .await
        .unwrap();
    request.build_id
}

fn message<'a>(outcome: &'a Outcome, name: &str) -> &'a str {
    let issues = &outcome.record(name).issues;
    assert_eq!(issues.len(), 1, "{name}: {}", outcome.log);
    &issues[0].message
}

const MAKE: &str = "cd $PIPELINE_WORKSPACE && mkdir -p made/deep/er && cd made
head -c 5000000 /dev/urandom >deep/large.bin; : >empty; echo text >'deep/er/with space and ü.txt'; echo '#!/bin/sh' >run.sh
echo map >deep/a.map; ln -s deep/a.map link; mkfifo pipe; ln -s /etc directory
echo one >$BUILD_ARTIFACTSTAGINGDIRECTORY/one.txt";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_publishes_it_and_later_jobs_download() {
    let world = World::start().await;
    let (first, outcome) = ran(&world, "agent-1", json!([
        {"bash": MAKE},
        publish("Publish", &json!({"targetPath": "$(Pipeline.Workspace)/made", "artifactName": "made"})),
        task(builtin::PUBLISH_BUILD_ARTIFACTS, "Publish staging", &json!({})),
        {"bash": "echo \"##vso[artifact.upload artifactname=by-command;containerfolder=logs/x]$PIPELINE_WORKSPACE/made/run.sh\""},
        download("Download", &json!({"artifactName": "made", "targetPath": "$(Pipeline.Workspace)/back"})),
        {"bash": "cd $PIPELINE_WORKSPACE && rm made/pipe made/directory && diff -r made back && echo all is the same"},
    ]))
    .await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    for text in [
        "all is the same",
        "Uploading 6 files",
        "Published 1 files as the artifact 'drop'",
    ] {
        assert!(
            outcome.log.contains(text),
            "{text:?} is missing in\n{}",
            outcome.log
        );
    }
    let run = run_of(&world, &first).await;
    let artifacts = world.admin.artifacts(first.project_id, run).await.unwrap();
    let mut names: Vec<_> = artifacts.iter().map(|it| it.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["by-command", "drop", "made"]);

    let (_, outcome) = ran(&world, "agent-2", json!([
        task(builtin::DOWNLOAD_BUILD_ARTIFACTS, "Build artifacts", &json!({
            "buildType": "specific", "project": "demo", "buildVersionToDownload": "specific", "buildId": run.to_string(),
            "downloadType": "specific", "itemPattern": "made/**\n!**/*.map\n!**/*.bin", "downloadPath": "$(Agent.TempDirectory)"})),
        download("All", &json!({"buildType": "specific", "runId": run.to_string(), "itemPattern": "*/run.sh\ndrop/*"})),
        {"bash": "cd $AGENT_TEMPDIRECTORY && find made -type f | LC_ALL=C sort | tr '\\n' ','; echo; cd $PIPELINE_WORKSPACE && find made drop by-command -type f | LC_ALL=C sort | tr '\\n' ','"},
    ]))
    .await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    for text in [
        "made/deep/er/with space and ü.txt,made/empty,made/link,made/run.sh,",
        "by-command/run.sh,drop/one.txt,made/run.sh,",
    ] {
        assert!(
            outcome.log.contains(text),
            "{text:?} is missing in\n{}",
            outcome.log
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_published_or_downloaded_says_why() {
    let world = World::start().await;
    let (_, outcome) = ran(&world, "agent-1", json!([
        {"bash": "mkdir $AGENT_TEMPDIRECTORY/nothing"},
        publish("Nothing there", &json!({"targetPath": "/not/there", "artifactName": "a"})),
        publish("Empty", &json!({"targetPath": "$(Agent.TempDirectory)/nothing", "artifactName": "a"})),
        publish("Share", &json!({"targetPath": "/tmp", "artifactName": "a", "publishLocation": "filepath"})),
        publish("Name", &json!({"targetPath": "/tmp", "artifactName": "../a"})),
        download("Unknown", &json!({"artifactName": "unknown"})),
        download("Other project", &json!({"buildType": "specific", "project": "other", "runId": "1", "artifactName": "x"})),
        download("Latest", &json!({"buildType": "specific", "artifactName": "x"})),
        {"bash": "echo '##vso[artifact.upload]/tmp'", "condition": "always()", "displayName": "No name"},
    ]))
    .await;
    assert_eq!(outcome.result, TaskResult::Failed);
    assert_eq!(
        message(&outcome, "Nothing there"),
        "The path /not/there does not exist."
    );
    assert!(message(&outcome, "Empty").contains("has no files; nothing was added"));
    assert_eq!(
        outcome.record("Empty").result,
        Some(TaskResult::SucceededWithIssues)
    );
    assert!(message(&outcome, "Share").contains("a file share is not supported"));
    assert!(message(&outcome, "Name").contains("'../a' cannot be the name"));
    assert!(message(&outcome, "Unknown").contains("has no artifact 'unknown'"));
    assert!(message(&outcome, "Other project").contains("reads its own project only"));
    assert!(message(&outcome, "Latest").contains("named by its id"));
    assert!(message(&outcome, "No name").contains("needs artifactname"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_that_the_job_itself_cannot_read() {
    let world = World::start().await;
    let upload = |path: &str, display: &str| {
        json!({"bash": format!("echo '##vso[artifact.upload artifactname=stolen]{path}'"),
            "displayName": display, "condition": "always()"})
    };
    let (job, outcome) = ran(&world, "agent-1", json!([
        {"bash": "mkdir -p $AGENT_TEMPDIRECTORY/tree && ln -s ../../../../agent.log $AGENT_TEMPDIRECTORY/tree/out && ls -lL $AGENT_TEMPDIRECTORY/tree/out"},
        upload("/proc/self/environ", "Environment"),
        upload("/proc/1/environ", "Another's"),
        upload("$(Agent.TempDirectory)/tree", "Link"),
        upload("/dev/zero", "Device"),
    ]))
    .await;
    assert_eq!(outcome.result, TaskResult::Failed);
    for (name, why) in [
        ("Environment", ""),
        ("Another's", ""),
        ("Link", "Failed to read out"),
        ("Device", "neither a file nor a directory"),
    ] {
        assert!(
            message(&outcome, name).contains(why),
            "{name}: {}",
            message(&outcome, name)
        );
        assert_eq!(
            outcome.record(name).result,
            Some(TaskResult::Failed),
            "{name}"
        );
    }
    let run = run_of(&world, &job).await;
    assert!(
        world
            .admin
            .artifacts(job.project_id, run)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_what_is_said_of_an_artifact() {
    const SECRET: &str = "correct-horse-battery";
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({
            "variables": {"pw": {"value": SECRET, "isSecret": true}},
            "steps": [{"bash": "set +x\nmkdir -p $PIPELINE_WORKSPACE/with-$P\necho x >$PIPELINE_WORKSPACE/with-$P/file-$P.txt\necho \"##vso[artifact.upload artifactname=up;containerfolder=in-$P;my-$P=is-$P]$PIPELINE_WORKSPACE/with-$P\"\necho \"##vso[artifact.associate artifactname=as;artifacttype=filepath]//server/$P\"\necho \"##vso[artifact.associate artifactname=no-$P]//server/x\"", "continueOnError": true, "displayName": "Names", "env": {"P": "$(pw)"}}],
        }))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    // The service does not take what stands for the secret as a name.
    let refused = message(&outcome, "Names");
    assert!(
        refused.contains("publish the artifact 'no-***'"),
        "{refused}"
    );
    let run = run_of(&world, &job).await;
    let artifacts = world.admin.artifacts(job.project_id, run).await.unwrap();
    let items = world
        .admin
        .container_items(job.project_id, run, "in-***")
        .await
        .unwrap();
    let said = serde_json::to_string(&(&artifacts, &items)).unwrap();
    for text in ["//server/***", "my-***", "is-***", "in-***/file-***.txt"] {
        assert!(said.contains(text), "{text:?} is missing in {said}");
    }
    assert!(!said.contains(SECRET), "{said}");
    assert!(
        !outcome.everything.contains(SECRET),
        "{}",
        outcome.everything
    );
}

/// Links come and go while the files are read; what they lead to is never published.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_put_in_the_way_while_files_are_published_is_not_followed() {
    const FLIP: &str = "cd $PIPELINE_WORKSPACE; mkdir -p outside race/deep; for i in 1 2 3 4 5 6 7 8; do echo outside >outside/f$i; echo inside >race/f$i; echo inside >race/deep/f$i; done
cp -r race/deep kept
(while :; do for i in 1 2 3 4 5 6 7 8; do ln -sfn ../outside/f$i race/l$i; mv -T race/l$i race/f$i; echo inside >race/n$i; mv -T race/n$i race/f$i; done; mv race/deep race/away; ln -s ../outside race/deep; rm race/deep; mv race/away race/deep; done) >/dev/null 2>&1 &";
    let world = World::start().await;
    let command = "echo \"##vso[artifact.upload artifactname=race]$PIPELINE_WORKSPACE/race\"";
    let mut steps = vec![json!({"bash": FLIP})];
    for number in 0..15 {
        let name = command.replace("=race", &format!("=race{number}"));
        steps.push(json!({"bash": name, "condition": "always()", "continueOnError": true}));
    }
    let (job, outcome) = ran(&world, "agent-1", json!(steps)).await;
    assert_ne!(outcome.result, TaskResult::Canceled, "{}", outcome.log);
    let run = run_of(&world, &job).await;
    let mut published = 0;
    for number in 0..15 {
        let folder = format!("race{number}");
        let items = world
            .admin
            .container_items(job.project_id, run, &folder)
            .await;
        for item in items.unwrap_or_default() {
            if item.item_type != ItemType::File {
                continue;
            }
            let length = u64::try_from(item.file_length).unwrap();
            let opened = world
                .admin
                .open_container_file(job.project_id, run, &item.path, length);
            // What changed on its way was begun, and is not there.
            let Ok(mut body) = opened.await else { continue };
            let mut content = Vec::new();
            while let Some(piece) = body.next().await.unwrap() {
                content.extend_from_slice(&piece);
            }
            assert_eq!(content, b"inside\n", "{}", item.path);
            published += 1;
        }
    }
    println!("{published} files were published");
}
