//! A pipeline file from its repository to what the agent did of it.
#![allow(clippy::unwrap_used)] // It is all test code.

mod support;

use dayfly_wire::build::{Build, BuildResult, QueueBuild};
use support::pipelines::FILE;
use support::{PROJECT, World};

const PIPELINE: &str = r###"
trigger: none
pool: linux
variables:
  greeting: hello
jobs:
- job: build
  steps:
  - bash: |
      echo "##vso[task.setvariable variable=version;isOutput=true]1.2.3"
    name: setter
  - bash: |
      if [ -e ../tried ]; then echo "it is the second try"; else touch ../tried; exit 1; fi
    retryCountOnTaskFailure: 1
  - bash: |
      test ${#SYSTEM_ACCESSTOKEN} -gt 100 && what=it || what=nothing
      echo "mapped $what"
    env: {SYSTEM_ACCESSTOKEN: $(System.AccessToken)}
  - bash: |
      echo "unmapped it is [${SYSTEM_ACCESSTOKEN-}]"
  - bash: |
      exit 3
    continueOnError: true
  - bash: |
      echo "only when something failed"
    condition: failed()
- job: use
  dependsOn: build
  condition: and(succeeded(), eq(dependencies.build.result, 'SucceededWithIssues'))
  variables:
    got: $[ dependencies.build.outputs['setter.version'] ]
  steps:
  - checkout: self
  - script: |
      echo "$(greeting) $(got) of $(cat words)"
- job: report
  dependsOn: build
  condition: failed()
  steps:
  - bash: |
      echo never
"###;

const FILES: &str = r###"
trigger: none
pool: linux
jobs:
- job: make
  steps:
  - bash: |
      mkdir -p out/logs .git/inner && echo "made here" > out/words.txt && echo noise > out/logs/a.log
      printf '*.log\n!kept.log\n' > out/.artifactignore && echo kept > out/logs/kept.log
      echo old > $BUILD_ARTIFACTSTAGINGDIRECTORY/old.txt
  - publish: $(System.DefaultWorkingDirectory)/out
    artifact: words
  - publish: $(System.DefaultWorkingDirectory)
    artifact: everything
  - task: PublishBuildArtifacts@1
    inputs: {pathToPublish: $(Build.ArtifactStagingDirectory), artifactName: old, publishLocation: Container}
- job: use
  dependsOn: make
  steps:
  - checkout: none
  - download: current
    artifact: words
  - download: current
    artifact: everything
    patterns: '**/.git/**'
    path: $(Agent.TempDirectory)/everything
  - task: DownloadPipelineArtifact@2
    inputs: {artifactName: words, itemPattern: '**/*.txt', targetPath: $(Agent.TempDirectory)/picked}
  - task: DownloadBuildArtifacts@0
    inputs: {buildType: current, downloadType: single, artifactName: old, downloadPath: $(Agent.TempDirectory)/zero}
  - task: DownloadBuildArtifacts@1
    inputs: {buildType: current, downloadType: single, artifactName: old, downloadPath: $(Agent.TempDirectory)/one}
  - bash: |
      cd $PIPELINE_WORKSPACE && echo "content is $(cat words/words.txt)" && find words -type f | LC_ALL=C sort | tr '\n' ','
      cd $AGENT_TEMPDIRECTORY && find picked zero one everything -type f | LC_ALL=C sort | tr '\n' ','
"###;

/// A pipeline of a repository's file, queued.
async fn queue(world: &World, repository: &str) -> Build {
    let asked = QueueBuild {
        definition: Some(world.pipeline(repository).await),
        ..QueueBuild::default()
    };
    world.admin.queue_build(PROJECT, &asked).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_several_jobs_runs_with_outputs_tries_conditions_and_the_token_where_it_is_mapped()
 {
    let world = World::start().await;
    world
        .repository("app", &[(FILE, PIPELINE), ("words", "the commit")])
        .await;
    let mut agents = [world.agent("agent-1").await, world.agent("agent-2").await];
    let run = queue(&world, "app").await;
    let (run, written) = world.ended_run(&run).await;
    assert_eq!(
        run.result,
        Some(BuildResult::PartiallySucceeded),
        "{written}"
    );
    for line in [
        "it is the second try",
        "mapped it",
        "unmapped it is []",
        "hello 1.2.3 of the commit",
    ] {
        assert!(written.contains(line), "{line:?} is missing in\n{written}");
    }
    for line in ["mapped nothing", "only when something failed", "never"] {
        assert!(!written.contains(line), "{line:?} is in\n{written}");
    }
    for agent in &mut agents {
        assert_eq!(agent.exit().await.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_job_of_a_file_publishes_another_downloads() {
    let world = World::start().await;
    world.repository("app", &[(FILE, FILES)]).await;
    let mut agents = [world.agent("agent-1").await, world.agent("agent-2").await];
    let run = queue(&world, "app").await;
    let (run, written) = world.ended_run(&run).await;
    assert_eq!(run.result, Some(BuildResult::Succeeded), "{written}");
    for line in [
        "content is made here",
        "words/.artifactignore,words/logs/kept.log,words/words.txt,",
        "one/old/old.txt,picked/words.txt,zero/old/old.txt,",
        "Left out 1 files that .artifactignore",
    ] {
        assert!(written.contains(line), "{line:?} is missing in\n{written}");
    }
    for agent in &mut agents {
        assert_eq!(agent.exit().await.code(), Some(0));
    }
}

const RESTRICTED: &str = r###"
trigger: none
pool: linux
steps:
- bash: |
    echo '##vso[task.setvariable variable=allowed]yes'
    echo '##vso[task.uploadsummary]/etc/hostname'
    echo '##vso[build.updatebuildnumber]mine'
    echo '##vso[artifact.upload artifactname=a]/etc/hostname'
  target:
    commands: restricted
- bash: |
    echo '##vso[task.setvariable variable=Version.Major]1'
    echo '##vso[task.setvariable variable=other]2'
    echo '##vso[task.prependpath]/evil'
  target: {settableVariables: [version.*]}
- script: |
    echo '##vso[task.setvariable variable=nothing]3'
    echo '##vso[task.debug]this may be said'
  target: {commands: any, settableVariables: none}
- bash: |
    echo "[$ALLOWED] [$VERSION_MAJOR] [${OTHER-}] [${NOTHING-}]"
    case "$PATH" in /evil*) echo "the path is changed" ;; esac
"###;

#[tokio::test(flavor = "multi_thread")]
async fn a_step_s_output_says_no_more_than_its_target_lets_it() {
    let world = World::start().await;
    world.repository("app", &[(FILE, RESTRICTED)]).await;
    let mut agent = world.agent("agent-1").await;
    let run = queue(&world, "app").await;
    let (run, written) = world.ended_run(&run).await;
    assert_eq!(run.result, Some(BuildResult::Succeeded), "{written}");
    assert_ne!(run.build_number, "mine");
    for refused in [
        "##vso[task.uploadsummary] is not allowed in this step due to policy restrictions.",
        "##vso[build.updatebuildnumber] is not allowed",
        "##vso[artifact.upload] is not allowed",
        "Setting the variable 'other' is not allowed",
        "Setting the variable 'PATH' is not allowed",
        "Setting the variable 'nothing' is not allowed",
    ] {
        assert!(
            written.contains(refused),
            "{refused:?} is missing in\n{written}"
        );
    }
    assert!(written.contains("[yes] [1] [] []"), "{written}");
    assert!(!written.contains("the path is changed"), "{written}");
    assert_eq!(agent.exit().await.code(), Some(0));
}
