//! Pipeline files: queued by hand, and what their jobs are.

#![allow(clippy::unwrap_used, clippy::expect_used)] // Helpers of tests fail like tests.

mod common;
mod project;

use common::{Fixture, OpenSession, Taken, TestAgent, capabilities};
use dayfly_pool_service::ops::reach;
use dayfly_pool_service::rules::reach::Change;
use dayfly_wire::agent::Agent;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::RecordId;
use dayfly_wire::job::Step;
use dayfly_wire::timeline::{Record, RecordVariable};
use jiff::SignedDuration;
use project::{GREET, ON_MAIN, Project};
use serde_json::json;
use std::collections::BTreeMap;

fn value(taken: &Taken, name: &str) -> String {
    let variable = &taken.message.variables[name];
    variable.value.as_ref().unwrap().expose().to_owned()
}

/// A step sets output variables, as an agent reports it.
async fn output(fixture: &Fixture, taken: &Taken, step: &str, outputs: &[(&str, &str, bool)]) {
    let sent = taken
        .message
        .steps
        .iter()
        .find(|sent| sent.name.as_deref() == Some(step));
    let variables = outputs.iter().map(|(name, value, is_secret)| {
        let variable = RecordVariable {
            value: (!is_secret).then(|| (*value).to_owned()),
            is_secret: *is_secret,
        };
        ((*name).to_owned(), variable)
    });
    let record = Record {
        id: sent.unwrap().id,
        parent_id: Some(RecordId(taken.message.job_id.0)),
        kind: Some("Task".to_owned()),
        name: Some(step.to_owned()),
        ref_name: Some(step.to_owned()),
        variables: variables.collect(),
        ..Record::default()
    };
    let client = taken.client(fixture);
    let timeline = taken.message.timeline.id;
    client
        .update_records(&taken.scope(), timeline, &[record])
        .await
        .unwrap();
}

/// Ends a job and opens a new session, as an agent that said it leaves must.
async fn complete(
    fixture: &Fixture,
    agent: &TestAgent,
    session: OpenSession,
    taken: &Taken,
    result: TaskResult,
) -> OpenSession {
    taken.complete(fixture, result).await;
    agent.reopen(&session).await
}

#[tokio::test]
async fn jobs_run_in_order_with_outputs_of_earlier_ones_and_secrets_of_the_pipeline() {
    let project = Project::start().await;
    let fixture = &project.fixture;
    let file = "\
pool: linux
variables:
  flavour: plain
  tag: $[ format('{0}-{1}', variables['Build.SourceBranchName'], variables.flavour) ]
jobs:
- job: test
  dependsOn: build
  variables:
    version: $[ dependencies.build.outputs['setter.version'] ]
    hidden: $[ dependencies.build.outputs['setter.hidden'] ]
  steps:
  - checkout: self
- job: build
  displayName: Build it
  steps:
  - script: echo
    name: setter
- job: report
  dependsOn: [build, test]
  condition: failed()
  steps:
  - script: echo
- job: release
  dependsOn: build
  condition: and(succeeded(), eq(dependencies.build.outputs['setter.version'], '1.2.3'), eq(variables['Build.SourceBranch'], 'refs/heads/main'))
  steps:
  - script: echo
";
    let commit = project.commit(file, "one").await;
    project.push("main").await;
    let pipeline = project.pipeline().await;
    let secret = format!("/demo/_apis/dayfly/pipelines/{pipeline}/variables/Token");
    let set = project
        .call("PUT", &secret, Some(json!({"value": "s3cr3t-v4lue"})))
        .await;
    assert_eq!(set.status, 204, "{}", set.body);
    let agent = fixture.register("one").await;
    let session = agent.open().await;

    let parameters = json!({"flavour": "strong"}).to_string();
    let queued = project
        .queue(pipeline, json!({"parameters": parameters}))
        .await;
    assert_eq!(queued.status, 200, "{}", queued.body);
    let build = queued.json()["id"].as_i64().unwrap();

    let first = agent.take_job(&session).await;
    assert_eq!(first.message.job_name, "build");
    assert_eq!(first.message.job_display_name, "Build it");
    assert_eq!(value(&first, "tag"), "main-strong");
    assert!(first.message.variables["Token"].is_secret);
    assert_eq!(value(&first, "Token"), "s3cr3t-v4lue");
    let outputs = [("version", "1.2.3", false), ("hidden", "no", true)];
    output(fixture, &first, "setter", &outputs).await;
    let mut session = complete(fixture, &agent, session, &first, TaskResult::Succeeded).await;

    for _ in 0..2 {
        let next = agent.take_job(&session).await;
        match next.message.job_name.as_str() {
            "test" => {
                assert_eq!(value(&next, "version"), "1.2.3");
                assert_eq!(
                    value(&next, "hidden"),
                    "",
                    "secret outputs stay in their job"
                );
                let own = &next.message.resources.repositories[0].properties;
                assert_eq!(own.version, commit);
                assert_eq!(own.reference.as_deref(), Some("refs/heads/main"));
            }
            other => assert_eq!(other, "release"),
        }
        session = complete(fixture, &agent, session, &next, TaskResult::Succeeded).await;
    }
    let ended = project.build(build).await;
    assert_eq!(
        (ended["status"].as_str(), ended["result"].as_str()),
        (Some("completed"), Some("succeeded"))
    );
    assert_eq!(ended["sourceVersion"], commit.as_str());
    let timeline = project
        .call(
            "GET",
            &format!("/demo/_apis/build/builds/{build}/timeline"),
            None,
        )
        .await
        .json();
    let records = timeline["records"].as_array().unwrap();
    let report = records
        .iter()
        .find(|record| record["type"] == "Job" && record["name"] == "report");
    assert_eq!(report.unwrap()["result"], "skipped");
}

#[tokio::test]
async fn a_file_that_is_not_taken_is_refused_with_its_place_and_nothing_is_queued() {
    let project = Project::start().await;
    project
        .commit("pool: linux\nsteps:\n- script: x\n  colour: red\n", "one")
        .await;
    project.push("main").await;
    let pipeline = project.pipeline().await;
    for (file, place) in [
        (None, "azure-pipelines.yml:4:3: steps[0].colour: "),
        (
            Some("pool: linux\nsteps:\n- task: Gradle@9\n"),
            "azure-pipelines.yml:3:3: steps[0].task: there is no task Gradle@9",
        ),
        (
            Some("pool: nowhere\nsteps:\n- script: x\n"),
            "azure-pipelines.yml:1:7: pool: there is no agent pool \"nowhere\"",
        ),
        (
            Some("pool: linux\nsteps:\n- checkout: none\n- checkout: lib\n"),
            "azure-pipelines.yml:4:3: steps[1].checkout: there is no repository \"lib\" in project \"demo\"",
        ),
        (
            Some(
                "pool: linux\njobs:\n- job: a\n  variables: {Build.BuildId: 7}\n  steps:\n  - script: x\n",
            ),
            "azure-pipelines.yml:3:3: jobs[0]: variables.Build.BuildId: the service sets this variable itself",
        ),
    ] {
        if let Some(file) = file {
            project
                .commit(&format!("{file}\ntrigger: none\n"), "next")
                .await;
            project.push("main").await;
        }
        let queued = project.queue(pipeline, json!({})).await;
        assert!((400..500).contains(&queued.status), "{}", queued.body);
        let message = queued.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(place), "{message}");
    }
    let queued = project
        .queue(pipeline, json!({"sourceBranch": "refs/heads/gone"}))
        .await;
    assert!(queued.body.contains("refs/heads/gone"), "{}", queued.body);
    assert!(project.runs().await.is_empty());
}

#[tokio::test]
async fn secret_variables_are_stored_sealed_and_never_answered() {
    let project = Project::start().await;
    project.commit(ON_MAIN, "one").await;
    project.push("main").await;
    let pipeline = project.pipeline().await;
    let variables = format!("/demo/_apis/dayfly/pipelines/{pipeline}/variables");
    for (name, body, status) in [
        ("Token", json!({"value": "never-on-disk"}), 204),
        ("token", json!({"value": "never-on-disk"}), 204),
        ("Build.BuildId", json!({"value": "x"}), 400),
        ("empty", json!({"value": ""}), 400),
    ] {
        let set = project
            .call("PUT", &format!("{variables}/{name}"), Some(body))
            .await;
        assert_eq!(set.status, status, "{name}: {}", set.body);
        assert!(!set.body.contains("never-on-disk"));
    }
    let names = project.call("GET", &variables, None).await.json();
    assert_eq!(names["value"], json!(["token"]));
    let mut found = 0;
    for (name, bytes) in project.fixture.service.at_rest().await.unwrap() {
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
        assert!(!holds(b"never-on-disk"), "{name}");
        found += usize::from(holds(b"azure-pipelines.yml"));
    }
    assert!(found > 0, "what was searched holds the pipeline");
    let reader = project.fixture.service.pat("build").await.unwrap();
    let path = format!("{variables}/other");
    let refused = project
        .fixture
        .call("PUT", &path, Some(&reader), Some(json!({"value": "x"})))
        .await;
    assert_eq!(refused.status, 403);
    let gone = project
        .call("DELETE", &format!("{variables}/TOKEN"), None)
        .await;
    assert_eq!(gone.status, 204);
    let gone = project
        .call("DELETE", &format!("{variables}/token"), None)
        .await;
    assert_eq!(gone.status, 404);
}

const EVERY_STEP: &str = "\
trigger: none
pool:
  name: linux
  demands: [docker, Agent.OS -equals Linux]
steps:
- checkout: self
  fetchDepth: 1
- script: one
  name: first
  displayName: The first
  workingDirectory: src
  condition: always()
  enabled: false
  continueOnError: true
  timeoutInMinutes: 7
  retryCountOnTaskFailure: 2
  env: {TOKEN: $(token)}
  target: {commands: restricted}
- bash: two
- pwsh: three
- task: greet@1
  inputs: {Who: everybody}
- download: current
  artifact: packages
  patterns: '*.deb'
- download: current
- publish: out
  artifact: packages
- task: PublishPipelineArtifact@1
  inputs: {targetPath: out, artifact: more, publishLocation: pipeline}
";

/// A step's task and inputs.
fn sent(step: &Step) -> (String, BTreeMap<&str, &str>) {
    let inputs = step.inputs.iter();
    (
        format!("{} {}", step.reference.id, step.reference.name),
        inputs
            .map(|(name, value)| (name.as_str(), value.expose()))
            .collect(),
    )
}

#[tokio::test]
async fn every_kind_of_step_reaches_the_agent_as_azure_devops_sends_it() {
    let project = Project::start().await;
    let fixture = &project.fixture;
    for version in [[1, 2, 3], [1, 10, 0], [2, 0, 0]] {
        project.upload_task(version).await;
    }
    project.commit(EVERY_STEP, "one").await;
    project.push("main").await;
    let pipeline = project.pipeline().await;
    fixture.register("without").await;
    let able = Agent {
        system_capabilities: capabilities(&[("docker", "1"), ("Agent.OS", "Linux")]),
        ..Agent::default()
    };
    let agent = fixture.register_as("able", able).await;
    let session = agent.open().await;
    let queued = project.queue(pipeline, json!({})).await;
    assert_eq!(queued.status, 200, "{}", queued.body);
    let taken = agent.take_job(&session).await;

    let steps: Vec<_> = taken.message.steps.iter().map(sent).collect();
    let checkout = "6d15af64-176c-496d-b583-fd2ae21d4df4 Checkout".to_owned();
    let script = "d9bafed4-0b18-4f58-968d-86655b4d2ce9 CmdLine".to_owned();
    let bash = "6c731c3c-3c68-459a-a5c9-bde6e6595b5b Bash".to_owned();
    let pwsh = "e213ff0f-5d5c-4791-802d-52ea3e7be1f1 PowerShell".to_owned();
    let download = "61f2a582-95ae-4948-b34d-a1b3c4f6a737 DownloadPipelineArtifact".to_owned();
    let publish = "ecdc45f6-832d-4ad9-b52b-ee49e94659be PublishPipelineArtifact".to_owned();
    let expected: Vec<(String, BTreeMap<&str, &str>)> = vec![
        (
            checkout,
            [("fetchDepth", "1"), ("repository", "self")].into(),
        ),
        (
            script,
            [("script", "one"), ("workingDirectory", "src")].into(),
        ),
        (bash, [("script", "two"), ("targetType", "inline")].into()),
        (
            pwsh,
            [
                ("pwsh", "true"),
                ("script", "three"),
                ("targetType", "inline"),
            ]
            .into(),
        ),
        (format!("{GREET} Greet"), [("whom", "everybody")].into()),
        (
            download.clone(),
            [
                ("artifact", "packages"),
                ("path", "$(Pipeline.Workspace)/packages"),
                ("patterns", "*.deb"),
                ("source", "current"),
            ]
            .into(),
        ),
        (download, [("source", "current")].into()),
        (
            publish.clone(),
            [("artifactName", "packages"), ("path", "out")].into(),
        ),
        (
            publish,
            [
                ("artifactName", "more"),
                ("artifactType", "pipeline"),
                ("path", "out"),
            ]
            .into(),
        ),
    ];
    assert_eq!(steps, expected);
    assert_eq!(
        taken.message.steps[4].reference.version, "1.10.0",
        "the newest"
    );

    let step = &taken.message.steps[1];
    let texts = (step.name.as_deref(), step.display_name.as_deref());
    assert_eq!(texts, (Some("first"), Some("The first")));
    assert_eq!(step.condition.as_deref(), Some("always()"));
    assert!(!step.enabled && step.continue_on_error);
    assert_eq!(
        (step.timeout_in_minutes, step.retry_count_on_task_failure),
        (7, 2)
    );
    assert_eq!(step.environment["TOKEN"].expose(), "$(token)");
    let target = step.target.as_ref().unwrap();
    assert_eq!(target.commands.as_deref(), Some("restricted"));
}

#[tokio::test]
async fn the_times_of_the_file_are_kept_by_the_service() {
    let project = Project::on(Fixture::with_manual_clock().await).await;
    let file = "\
trigger: none
pool: linux
jobs:
- job: slow
  timeoutInMinutes: 3
  cancelTimeoutInMinutes: 2
  steps:
  - script: sleep
";
    project.commit(file, "one").await;
    project.push("main").await;
    let pipeline = project.pipeline().await;
    let agent = project.fixture.register("one").await;
    let session = agent.open().await;
    let queued = project.queue(pipeline, json!({})).await;
    assert_eq!(queued.status, 200, "{}", queued.body);
    agent.take_job(&session).await;
    let service = &project.fixture.service;
    service
        .advance(SignedDuration::from_secs(3 * 60 + 1))
        .await
        .unwrap();
    let cancellation = agent.see_cancellation(&session).await;
    assert_eq!(cancellation.timeout, "00:02:00");
}

#[tokio::test]
async fn a_run_is_queued_again_at_its_commit_with_its_values() {
    let project = Project::start().await;
    let fixture = &project.fixture;
    let file = |colour: &str| {
        format!(
            "trigger: none\npool: linux\nvariables: {{colour: {colour}, size: 1}}\nsteps:\n- script: x\n"
        )
    };
    let first = project.commit(&file("red"), "one").await;
    project.push("main").await;
    let pipeline = project.pipeline().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let given = json!({"parameters": "{\"size\":\"2\"}"});
    let queued = project.queue(pipeline, given).await.json();
    let taken = agent.take_job(&session).await;
    let session = complete(fixture, &agent, session, &taken, TaskResult::Failed).await;
    project.commit(&file("green"), "two").await;
    project.push("main").await;

    // As clients do: what the run says goes into the next one.
    let id = queued["id"].as_i64().unwrap();
    let before = project.build(id).await;
    assert_eq!(before["parameters"], "{\"size\":\"2\"}");
    let members = ["sourceBranch", "sourceVersion", "parameters"]
        .map(|name| (name.to_owned(), before[name].clone()));
    let again = project.queue(pipeline, members.into_iter().collect()).await;
    assert_eq!(again.status, 200, "{}", again.body);
    let again = again.json();
    assert_eq!(again["sourceVersion"], first.as_str());
    assert_eq!(again["sourceBranch"], "refs/heads/main");
    let taken = agent.take_job(&session).await;
    assert_eq!(
        taken.message.plan.plan_id.to_string(),
        again["orchestrationPlan"]["planId"]
    );
    assert_eq!(
        (value(&taken, "colour"), value(&taken, "size")),
        ("red".to_owned(), "2".to_owned())
    );
}

#[tokio::test]
async fn jobs_say_whether_scripts_see_their_token_as_the_pipeline_has_it() {
    let project = Project::start().await;
    let fixture = &project.fixture;
    project.commit(ON_MAIN, "one").await;
    project.push("main").await;
    let pipeline = project.pipeline().await;
    let agent = fixture.register("one").await;
    let mut session = agent.open().await;
    let service = fixture.service.service();
    for (scripts, said) in [
        (None, "SecretVariable"),
        (Some(true), "true"),
        (Some(false), "SecretVariable"),
    ] {
        let change = Change {
            scripts,
            ..Change::default()
        };
        let changed = reach::change(&service.store, "demo", "ci", change, service.now()).await;
        assert_eq!(changed.unwrap().scripts, scripts.unwrap_or_default());
        let queued = project.queue(pipeline, json!({})).await;
        assert_eq!(queued.status, 200, "{}", queued.body);
        let taken = agent.take_job(&session).await;
        assert_eq!(value(&taken, "system.enableAccessToken"), said);
        let token = &taken.message.variables["system.accessToken"];
        assert!(token.is_secret, "agents open it, not the service");
        session = complete(fixture, &agent, session, &taken, TaskResult::Succeeded).await;
    }
}
