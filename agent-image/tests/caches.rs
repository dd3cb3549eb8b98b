//! What runs of a pipeline keep for each other on a cache volume.
#![allow(clippy::unwrap_used, clippy::panic)] // It is all test code.

mod support;

use dayfly_keys::content::ContentHasher;
use dayfly_wire::build::{BuildResult, DefinitionById, QueueBuild};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::path::PathBuf;
use support::pipelines::FILE;
use support::{PROJECT, World, give_away};
use tar::{Builder, EntryType, Header};

const PIPELINE: &str = r###"
trigger: none
pool: linux
steps:
- checkout: self
- task: Cache@2
  displayName: Modules
  inputs:
    key: 'npm | "$(Agent.OS)" | **/package-lock.json, !**/old/**'
    restoreKeys: |
      npm | "$(Agent.OS)"
      npm
    path: $(Pipeline.Workspace)/.npm
    cacheHitVar: HIT
- bash: |
    echo "hit is $(HIT)"
    cd $PIPELINE_WORKSPACE
    if [ -e .npm ]; then echo "found: $(cat .npm/bin/link)"; fi
    rm -rf .npm && mkdir -p .npm/bin && ln -s ../made .npm/bin/link
    echo "made of $(cat s/package-lock.json) on $BUILD_SOURCEBRANCH" > .npm/made
    chmod 500 .npm/bin
- bash: test ! -e fail
"###;

struct Pipeline<'a> {
    world: &'a World,
    definition: DefinitionById,
    runs: usize,
}

impl<'a> Pipeline<'a> {
    async fn define(world: &'a World) -> Self {
        let files = [
            (FILE, PIPELINE),
            ("package-lock.json", "lock 1"),
            ("x/old/package-lock.json", "-"),
        ];
        world.repository("app", &files).await;
        Self {
            world,
            definition: world.pipeline("app").await,
            runs: 0,
        }
    }

    /// Runs the pipeline on a branch in an agent of its own; its result, and all that was written.
    async fn run(&mut self, branch: &str) -> (Option<BuildResult>, String) {
        self.runs += 1;
        let world = self.world;
        let mut agent = world.agent(&format!("agent-{}", self.runs)).await;
        let asked = QueueBuild {
            definition: Some(DefinitionById {
                id: self.definition.id,
            }),
            source_branch: Some(branch.to_owned()),
            ..QueueBuild::default()
        };
        let run = world.admin.queue_build(PROJECT, &asked).await.unwrap();
        let (run, written) = world.ended_run(&run).await;
        assert_eq!(agent.exit().await.code(), Some(0));
        (run.result, written)
    }

    async fn expect(&mut self, branch: &str, result: BuildResult, there: &[&str], not: &[&str]) {
        let (its, written) = self.run(branch).await;
        assert_eq!(its, Some(result), "{written}");
        for text in there {
            assert!(written.contains(text), "{text:?} is missing in\n{written}");
        }
        for text in not {
            assert!(!written.contains(text), "{text:?} is in\n{written}");
        }
    }

    fn push_as(&self, reference: &str) {
        let world = self.world;
        let url = format!("{}/{PROJECT}/_git/app", world.pool.url());
        let url = url.replacen("://", &format!("://x:{}@", world.pat.expose()), 1);
        world.git("app", &["push", "-q", &url, &format!("HEAD:{reference}")]);
    }
}

/// The entries on the volume.
fn entries(world: &World) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![world.cache()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found
}

const MAIN: &str = "refs/heads/main";
const GOOD: BuildResult = BuildResult::Succeeded;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_kept_later_ones_find_by_key_or_its_beginning() {
    let world = World::start().await;
    world.with_cache();
    let mut pipeline = Pipeline::define(&world).await;
    let miss = ["hit is false", "There is a cache miss", "Cache saved"];
    pipeline.expect(MAIN, GOOD, &miss, &["found:"]).await;
    let exact = [
        "hit is true",
        "found: made of lock 1 on refs/heads/main",
        "Nothing to save",
    ];
    pipeline.expect(MAIN, GOOD, &exact, &["Cache saved"]).await;
    assert_eq!(entries(&world).len(), 1);

    world.commit("app", "package-lock.json", "lock 2").await;
    world.commit("app", "fail", "").await;
    let failed = [
        "hit is inexact",
        "found: made of lock 1",
        "job status was not 'Succeeded'",
    ];
    pipeline
        .expect(MAIN, BuildResult::Failed, &failed, &["Cache saved"])
        .await;
    assert_eq!(entries(&world).len(), 1);
    world.git("app", &["rm", "-q", "fail"]);
    world
        .commit("app", "x/old/package-lock.json", "does not count")
        .await;
    pipeline
        .expect(MAIN, GOOD, &["hit is inexact", "Cache saved"], &[])
        .await;
    pipeline
        .expect(MAIN, GOOD, &["hit is true", "found: made of lock 2"], &[])
        .await;
    assert_eq!(entries(&world).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_reads_the_default_branch_s_entries_and_writes_only_its_own() {
    let world = World::start().await;
    world.with_cache();
    let mut pipeline = Pipeline::define(&world).await;
    pipeline
        .expect(MAIN, GOOD, &["hit is false", "Cache saved"], &[])
        .await;
    world.git("app", &["checkout", "-q", "-b", "topic"]);
    let directory = world.directory.path().join("source-app");
    // The step tries to be of the default branch.
    let changed = PIPELINE.replace("- bash: test", "- bash: 'echo \"##vso[task.setvariable variable=build.sourceBranch]refs/heads/main\"'\n  continueOnError: true\n- bash: test");
    std::fs::write(directory.join("package-lock.json"), "lock of topic").unwrap();
    world.git("app", &["commit", "-q", "-a", "-m", "topic"]);
    for reference in ["refs/heads/topic", "refs/heads/other"] {
        pipeline.push_as(reference);
    }
    let topic = "refs/heads/topic";
    let there = [
        "hit is inexact",
        "found: made of lock 1 on refs/heads/main",
        "for refs/heads/topic",
    ];
    pipeline.expect(topic, GOOD, &there, &[]).await;
    pipeline
        .expect(
            topic,
            GOOD,
            &["hit is true", "found: made of lock of topic on"],
            &[],
        )
        .await;
    let not = ["lock of topic on refs/heads/topic"];
    pipeline
        .expect(
            "refs/heads/other",
            GOOD,
            &["hit is inexact", "found: made of lock 1"],
            &not,
        )
        .await;

    std::fs::write(directory.join(FILE), changed).unwrap();
    std::fs::write(directory.join("package-lock.json"), "planted").unwrap();
    world.git("app", &["commit", "-q", "-a", "-m", "plants"]);
    pipeline.push_as(topic);
    let there = [
        "Overwriting readonly variable",
        "job status was not 'Succeeded'",
    ];
    pipeline
        .expect(
            topic,
            BuildResult::PartiallySucceeded,
            &there,
            &["Cache saved"],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_volume_one_line_says_so_and_the_job_goes_on() {
    let world = World::start().await;
    let mut pipeline = Pipeline::define(&world).await;
    let there = [
        "This agent has no cache volume, so nothing is restored or saved.",
        "hit is false",
    ];
    pipeline
        .expect(MAIN, GOOD, &there, &["##[error]", "##[warning]"])
        .await;
}

/// Exchanges the archive of an entry for another, with all that makes it look whole.
fn exchange(world: &World, archive: &[u8]) {
    let path = entries(world).remove(0);
    let whole = std::fs::read(&path).unwrap();
    let end = whole.len() - 12;
    let length = u32::from_le_bytes(whole[end..end + 4].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&whole[end - length..end]).unwrap();
    let mut hasher = ContentHasher::default();
    hasher.update(archive);
    header["hash"] = json!(hasher.name());
    header["length"] = json!(archive.len());
    let header = serde_json::to_vec(&header).unwrap();
    let length = u32::try_from(header.len()).unwrap().to_le_bytes();
    let made = [archive, &header, &length, b"DFCACHE1"].concat();
    std::fs::write(&path, made).unwrap();
    give_away(&world.cache());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_was_damaged_or_made_to_do_harm_does_none() {
    let world = World::start().await;
    world.with_cache();
    let mut pipeline = Pipeline::define(&world).await;
    pipeline.expect(MAIN, GOOD, &["Cache saved"], &[]).await;
    let path = entries(&world).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let there = ["issue: The entry is damaged", "hit is false", "Cache saved"];
    pipeline.expect(MAIN, GOOD, &there, &["found:"]).await;

    let outside = world.directory.path().join("stolen");
    let mut archive = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut link = Header::new_gnu();
    link.set_entry_type(EntryType::Symlink);
    link.set_size(0);
    archive
        .append_link(&mut link, "0/way", world.directory.path())
        .unwrap();
    let mut file = Header::new_gnu();
    file.set_mode(0o644);
    file.set_size(1);
    archive
        .append_data(&mut file, "0/way/stolen", &b"x"[..])
        .unwrap();
    exchange(&world, &archive.into_inner().unwrap().finish().unwrap());
    let there = ["Failed to restore the cache entry: 0/way/stolen"];
    pipeline
        .expect(MAIN, BuildResult::Failed, &there, &["hit is"])
        .await;
    assert!(!outside.exists());
}
