//! What steps can do: PowerShell, commands in their output, and how far both go.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // It is all test code.

mod support;

use dayfly_wire::attachment::{FILE, SUMMARY};
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::LogId;
use dayfly_wire::job::builtin;
use dayfly_wire::queue::QueuedJob;
use dayfly_wire::timeline::{IssueKind, Record};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use support::{Outcome, PROJECT, World, agent_program, give_away};

/// Stands in for PowerShell, which is not on every machine that runs the tests: it shows what it is given.
const STAND_IN: &str = r#"#!/bin/bash
for argument in "${@:1:$#-1}"; do printf '<%s>' "$argument"; done; echo
last="${!#}"
case "$last" in [.\&]\ \'*\') ;; *) echo "not a call: $last"; exit 99 ;; esac
file="${last#*\'}"; file="${file%\'}"
echo "operator ${last%% *} mark $(head -c 3 "$file" | od -An -tx1 | tr -d ' ')"
tail -c +4 "$file" | sed 's/##vso/(vso/' | sed 's/^/| /'
echo "in $(basename "$PWD") with $MAPPED"
if grep -q complain "$file"; then echo a complaint >&2; fi
if grep -q 'exit 7' "$file"; then exit 7; fi
"#;

fn power_shell(display: &str, inputs: &Value) -> Value {
    json!({"task": {"id": builtin::POWER_SHELL, "name": "PowerShell", "version": "2.250.0"},
        "displayName": display, "condition": "succeededOrFailed()", "inputs": inputs})
}

async fn ran(world: &World, job: Value) -> (QueuedJob, Outcome) {
    let mut agent = world.agent("agent-1").await;
    let job = world.queue(job).await;
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    (job, outcome)
}

fn has(outcome: &Outcome, text: &str) {
    assert!(
        outcome.log.contains(text),
        "{text:?} is missing in\n{}",
        outcome.log
    );
}

fn messages(record: &Record) -> Vec<&str> {
    let issues = record.issues.iter();
    issues.map(|issue| issue.message.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn power_shell_runs_where_the_image_has_it_with_the_transcript_of_the_task() {
    let world = World::start().await;
    world
        .repository("demo", &[("tools/it's.ps1", "Write-Host hi\n")])
        .await;
    let bin = world.agent_directory("agent-1").join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join("pwsh"), STAND_IN).unwrap();
    std::fs::set_permissions(bin.join("pwsh"), PermissionsExt::from_mode(0o755)).unwrap();
    give_away(&bin);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let identity = world.identity("agent-1", false).await;
    let mut agent = world.agent_in_image(&identity, |step_host| {
        step_host.env("PATH", path);
    });
    let mut inline = power_shell(
        "Inline",
        &json!({"targetType": "inline", "script": "Write-Host '$(greeting)'", "pwsh": "true"}),
    );
    inline["env"] = json!({"MAPPED": "$(pw)"});
    let job = world
        .queue(json!({
            "repository": "demo",
            "variables": {"greeting": "hello", "pw": {"value": "hunter2-secret", "isSecret": true}},
            "steps": [
                {"checkout": "self"},
                inline,
                power_shell("File", &json!({"targetType": "filePath", "filePath": "tools/it's.ps1",
                    "arguments": "-Name 'x y'", "workingDirectory": "tools", "errorActionPreference": "Continue",
                    "verbosePreference": "continue", "ignoreLASTEXITCODE": "true", "runScriptInSeparateScope": "true"})),
                power_shell("Fails", &json!({"script": "exit 7 complain", "failOnStderr": "true"})),
                power_shell("Odd", &json!({"script": "x", "debugPreference": "Loud"})),
                power_shell("No script", &json!({"targetType": "filePath", "filePath": "tools"})),
            ]
        }))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    for text in [
        "<-NoLogo><-NoProfile><-NonInteractive><-Command>",
        "/bin/pwsh -NoLogo -NoProfile -NonInteractive -Command . '",
        "operator . mark efbbbf",
        "| $ErrorActionPreference = 'stop'",
        "| Write-Host 'hello'",
        "|     exit $LASTEXITCODE",
        "in s with ***",
        "Formatted command: . '",
        "/tools/it''s.ps1' -Name 'x y'",
        "operator & mark",
        "| $VerbosePreference = 'continue'",
        "in tools with",
    ] {
        has(&outcome, text);
    }
    let record = |name| outcome.record(name);
    assert_eq!(record("Inline").result, Some(TaskResult::Succeeded));
    assert_eq!(record("File").result, Some(TaskResult::Succeeded));
    assert_eq!(
        messages(record("Fails")),
        [
            "PowerShell exited with code '7'.",
            "PowerShell wrote one or more lines to the standard error stream.",
            "a complaint"
        ]
    );
    assert!(messages(record("Odd"))[0].starts_with("Invalid DebugPreference 'Loud'."));
    assert!(messages(record("No script"))[0].contains("there is no such file"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_power_shell_is_told_to_have_one() {
    let world = World::start().await;
    let directory = world.agent_directory("agent-1");
    std::fs::create_dir(directory.join("bin")).unwrap();
    std::os::unix::fs::symlink("/bin/bash", directory.join("bin/bash")).unwrap();
    let identity = world.identity("agent-1", false).await;
    let mut agent = world.agent_in_image(&identity, |step_host| {
        step_host.env("PATH", directory.join("bin"));
    });
    let step = power_shell("Shell", &json!({"script": "x"}));
    let job = world.queue(json!({"steps": [step]})).await;
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    let messages = messages(outcome.record("Shell"));
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].starts_with("The job's image has no 'pwsh' in its PATH"));
}

const UPLOADS: &str = r###"cd $AGENT_TEMPDIRECTORY
echo '# All of $(pw) is well' >'my summary.md'
printf 'bin\xff$(pw)' >data.bin
seq -f 'log line %.0f of $(pw)' 200000 >long.log
echo "##vso[task.uploadsummary]$PWD/my summary.md"
echo "##vso[task.uploadfile]$PWD/data.bin"
echo "##vso[task.addattachment type=my.type;name=a name]$PWD/my summary.md"
echo "##vso[build.uploadsummary]$PWD/my summary.md"
echo "##vso[build.uploadlog]$PWD/long.log"
echo "##vso[build.updatebuildnumber]release 7"
echo "##vso[task.setprogress value=40]half"
echo "##vso[task.setprogress value=20]back"
echo "##vso[task.logissue type=error;sourcepath=$BUILD_SOURCESDIRECTORY/src/a.c;linenumber=3;columnnumber=4;code=C1]broken"
echo "##vso[task.debug]looked at"
echo "##vso[telemetry.publish area=a;feature=b]{}"
echo "##vso[task.setvariable variable=kept.case;preservecase=true]yes"
"###;

#[tokio::test(flavor = "multi_thread")]
async fn commands_attach_files_store_logs_and_rename_the_run() {
    let world = World::start().await;
    let (job, outcome) = ran(&world, json!({
        "variables": {"pw": {"value": "hunter2-secret", "isSecret": true}, "system.debug": "true"},
        "steps": [
            {"bash": UPLOADS, "displayName": "Uploads"},
            {"bash": "echo \"number $BUILD_BUILDNUMBER ${kept_case} ${KEPT_CASE-none}\"; echo \"I am $SYSTEM_TASKDISPLAYNAME\"", "displayName": "Next"},
        ]}))
    .await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    let record = outcome.record("Uploads");
    let scope = world.scope(&job);
    let attached = |kind: &'static str| {
        let (world, scope) = (&world, &scope);
        async move {
            let (timeline, id) = (job.timeline_id, record.id);
            let listed = world.admin.attachments(scope, timeline, id, kind).await;
            let [one] = &listed.unwrap()[..] else {
                panic!("one attachment of {kind}")
            };
            let content = world.admin.attachment(scope, one).await.unwrap();
            (one.name.clone(), content)
        }
    };
    let summary = b"# All of *** is well\n".to_vec();
    for (kind, name, content) in [
        (SUMMARY, "my summary.md", summary.clone()),
        ("my.type", "a name", summary.clone()),
        (
            "CustomMarkDownSummary-my summary.md",
            "my summary.md",
            summary,
        ),
        // What is no text stays as it is, as the documentation says.
        (FILE, "data.bin", b"bin\xffhunter2-secret".to_vec()),
    ] {
        assert_eq!(attached(kind).await, (name.to_owned(), content), "{kind}");
    }
    let mut stored = String::new();
    for id in 1..20 {
        let log = world.admin.log_text(&scope, LogId(id)).await;
        stored = log.unwrap_or_default();
        if stored.starts_with("log line 1 of") {
            break;
        }
    }
    assert_eq!(stored.lines().count(), 200_000);
    assert!(stored.ends_with("log line 200000 of ***\n"));
    assert!(!stored.contains("hunter2"));

    let request = world.admin.job(PROJECT, job.request_id).await.unwrap();
    let run = world.admin.build(PROJECT, request.build_id).await.unwrap();
    assert_eq!(run.build_number, "release 7");
    has(&outcome, "number release 7 yes none");
    has(&outcome, "I am Next");
    has(&outcome, "##[debug]looked at");
    has(
        &outcome,
        "##[debug]Processed: ##vso[task.setprogress value=40]half",
    );
    has(&outcome, "##[section]Async Command Start: attach ");
    let issue = &record.issues[0];
    assert_eq!(issue.message, "src/a.c(3,4): error C1: broken");
    let line: usize = issue.data["logFileLineNumber"].parse().unwrap();
    let log = world.log_of(&job, &outcome, "Uploads").await;
    let line = log.lines().nth(line - 1).unwrap();
    assert!(line.contains("##[error]src/a.c(3,4)"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_a_command_names_are_what_the_step_itself_can_read() {
    let world = World::start().await;
    // What a link leads to changes all the time, also while the file is read.
    let race = r###"cd $AGENT_TEMPDIRECTORY; echo mine >own; mkfifo pipe
(trap '' HUP; while [ -d . ]; do for other in own /proc/self/environ pipe /proc/1/environ /dev/zero; do ln -sfn $other changing; done; done) >/dev/null 2>&1 &
for number in $(seq 60); do echo "##vso[task.addattachment type=race;name=$number]$PWD/changing"; done"###;
    let (job, outcome) = ran(&world, json!({"steps": [
        {"bash": race, "displayName": "Race"},
        {"bash": "echo '##vso[task.uploadfile]/proc/self/environ'", "displayName": "Kernel", "condition": "always()"},
        {"bash": "echo '##vso[task.uploadfile]/tmp'", "displayName": "Directory", "condition": "always()"},
        {"bash": "echo '##vso[task.uploadsummary]/not/there'", "displayName": "Nothing", "condition": "always()"},
        {"bash": "truncate -s 9M $AGENT_TEMPDIRECTORY/large; echo \"##vso[task.uploadfile]$AGENT_TEMPDIRECTORY/large\"", "displayName": "Large", "condition": "always()"},
    ]}))
    .await;
    assert_eq!(outcome.result, TaskResult::Failed);
    for (name, why) in [
        ("Kernel", "Failed to read /proc/self/environ"),
        ("Directory", "Failed to read /tmp"),
        ("Nothing", "The file /not/there does not exist."),
        ("Large", "publish it as an artifact"),
    ] {
        let record = outcome.record(name);
        assert_eq!(record.result, Some(TaskResult::Failed), "{name}");
        assert!(messages(record)[0].contains(why), "{:?}", messages(record));
    }
    let record = outcome.record("Race").id;
    let scope = world.scope(&job);
    let listed = world
        .admin
        .attachments(&scope, job.timeline_id, record, "race");
    for attachment in listed.await.unwrap() {
        let content = world.admin.attachment(&scope, &attachment).await.unwrap();
        let text = String::from_utf8_lossy(&content);
        assert!(text.is_empty() || text == "mine\n", "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_and_endless_commands_end_in_a_step_that_says_so() {
    let world = World::start().await;
    let odd = r###"echo '##vso[]x'; echo '##vso[task.setvariable'; echo '##vso[a.b.c]'; echo '##vso[task.SetVariable ;;=;==;variable=ok;x]fine%0'
echo '##vso[task.setprogress value=99999999999999999999]%'; echo '##vso[task.setprogress value=-5;]'
echo '##vso[unknown.area]'; printf '##vso[task.debug]\xff\xfe\0\n'; echo '##vso[task.logissue type=warning;sourcepath=;linenumber=x]odd'"###;
    let flood = r###"long=$(head -c 400000 /dev/zero | tr '\0' x)
for number in $(seq 12); do echo "##vso[task.logissue type=error;code=$long]$long"; echo "##vso[task.setprogress value=1]$long"; done
for number in $(seq 3); do echo "##vso[task.setvariable variable=v$number;isoutput=true]$long"; done
for number in $(seq 1200); do echo "##vso[task.uploadfile]/tmp/none"; echo "##vso[task.prependpath]/d$number"; done
for name in a b; do echo "##vso[task.settaskvariable variable=$name]$long$long"; done"###;
    let mut steps = vec![
        json!({"bash": odd, "displayName": "Odd"}),
        json!({"bash": flood, "displayName": "Flood", "name": "flood"}),
    ];
    for (name, command) in [
        ("Unknown", "task.nothing"),
        ("Release", "release.updatereleasename"),
        ("No name", "task.setvariable"),
        ("Twin", "task.setvariable variable=AGENT_NAME"),
        ("Result", "task.complete result=failed"),
        ("Endpoint", "task.setendpoint id=1"),
    ] {
        let script = format!("echo '##vso[{command}]x'");
        steps.push(json!({"bash": script, "displayName": name, "condition": "always()"}));
    }
    steps.push(json!({"bash": "echo \"##vso[task.setvariable variable=big]$(head -c 200000 /dev/zero | tr '\\0' y)\"", "condition": "always()"}));
    steps.push(json!({"bash": "echo \"[${BIG-unset}] [$OK] ${#FLOOD_V1}\"", "condition": "always()", "displayName": "Last"}));
    let (_, outcome) = ran(&world, json!({"steps": steps})).await;
    assert_eq!(outcome.result, TaskResult::Failed);
    let odd = outcome.record("Odd");
    assert_eq!(odd.result, Some(TaskResult::Succeeded), "{}", outcome.log);
    // Three lines that are no commands, one of an area that is not known, and the warning itself.
    assert_eq!(odd.warning_count, Some(5), "{:?}", messages(odd));
    let flood = outcome.record("Flood");
    assert_eq!(flood.result, Some(TaskResult::Failed));
    assert_eq!(flood.issues.len(), 10);
    assert!(flood.error_count.unwrap() > 200, "{:?}", flood.error_count);
    let longest = flood.issues.iter().map(|issue| issue.message.len()).max();
    assert!(longest.unwrap() < 5000);
    for (name, why) in [
        ("Unknown", "##vso[task.nothing] is no command"),
        ("Release", "##vso[release.updatereleasename] is no command"),
        ("No name", "needs the property variable"),
        ("Twin", "Overwriting readonly variable 'AGENT_NAME'"),
        ("Result", "needs result="),
        ("Endpoint", "needs id, and field="),
    ] {
        let record = outcome.record(name);
        assert_eq!(record.result, Some(TaskResult::Failed), "{name}");
        assert!(messages(record)[0].contains(why), "{:?}", messages(record));
    }
    has(
        &outcome,
        "The variable BIG is not in the script's environment",
    );
    has(&outcome, "[unset] [fine%0] 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_errors_and_ten_warnings_are_kept_and_all_are_counted() {
    let world = World::start().await;
    let many = "for number in $(seq 15); do echo \"##vso[task.logissue type=error]e$number\"; echo \"##vso[task.logissue type=warning]w$number\"; done";
    let (_, outcome) = ran(
        &world,
        json!({"steps": [{"bash": many, "displayName": "Many"}]}),
    )
    .await;
    assert_eq!(outcome.result, TaskResult::Succeeded);
    let record = outcome.record("Many");
    assert_eq!(
        (record.error_count, record.warning_count),
        (Some(15), Some(15))
    );
    let of = |kind| {
        record
            .issues
            .iter()
            .filter(|issue| issue.kind == kind)
            .count()
    };
    assert_eq!((of(IssueKind::Error), of(IssueKind::Warning)), (10, 10));
    has(&outcome, "##[error]e15");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_other_people_give_no_commands() {
    let world = World::start().await;
    let command = "##vso[task.complete result=Failed;]##VSO[task.setvariable variable=a]b";
    let (_, outcome) = ran(&world, json!({"displayName": command, "name": command, "steps": [
        {"bash": "echo \"$AGENT_JOBNAME\"; echo \"$SYSTEM_JOBDISPLAYNAME\"; echo \"$BUILD_DEFINITIONNAME\"; echo '$(System.DefinitionName)'"},
        {"bash": "echo \"[${A-unset}]\""},
    ]}))
    .await;
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    has(
        &outcome,
        "**vso[task.complete result=Failed;]**VSO[task.setvariable",
    );
    has(&outcome, "[unset]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_does_not_parse_fails_the_job_before_its_steps() {
    let world = World::start().await;
    for (name, condition, why) in [
        (
            "agent-1",
            "eq(1",
            "The condition of step 'Odd' is not valid",
        ),
        ("agent-2", "eq(dependencies.a.result, 'x')", "dependencies"),
    ] {
        let mut agent = world.agent(name).await;
        let job = world
            .queue(json!({"steps": [{"bash": "echo never"},
                {"bash": "echo never", "condition": condition, "displayName": "Odd"}]}))
            .await;
        let outcome = world.outcome(&job).await;
        assert_eq!(agent.exit().await.code(), Some(0));
        assert_eq!(outcome.result, TaskResult::Failed);
        let messages = messages(outcome.record("Initialize job"));
        assert!(messages[0].contains(why), "{messages:?}");
        assert!(messages[0].contains(condition), "{messages:?}");
        assert_eq!(outcome.record("Odd").result, Some(TaskResult::Skipped));
        assert!(!outcome.log.contains("never"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_s_time_limit_covers_its_tries_and_a_failed_command_outlasts_them() {
    let world = World::start().await;
    let mut agent = world.agent("agent-1").await;
    let job = world
        .queue(json!({"steps": [
            {"bash": "[ -e ../twice ] && exit 0; touch ../twice; echo '##vso[task.nothing]'; exit 1", "displayName": "Command", "retryCountOnTaskFailure": 1},
            {"bash": "[ -e ../once ] || { touch ../once; exit 3; }\necho it runs again; sleep 40; echo still it runs; sleep 300",
                "displayName": "Slow", "retryCountOnTaskFailure": 5, "timeoutInMinutes": 1, "condition": "always()"},
        ]}))
        .await;
    world.line(&job, "it runs again").await;
    world.line(&job, "still it runs").await;
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    assert_eq!(outcome.record("Command").result, Some(TaskResult::Failed));
    let slow = outcome.record("Slow");
    assert_eq!(slow.result, Some(TaskResult::Failed));
    let messages = messages(slow);
    assert!(
        messages.contains(&"Bash exited with code '3'."),
        "{messages:?}"
    );
    assert!(
        messages.contains(&"The task has timed out."),
        "{messages:?}"
    );
    let took = slow.finish_time.unwrap() - slow.start_time.unwrap();
    assert!(took.get_seconds() < 75, "{took}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_in_the_container_image_of_its_pod_or_says_what_to_set() {
    let world = World::start().await;
    let file = |image: &str| {
        format!("trigger: none\npool: linux\ncontainer: {image}\nsteps:\n- bash: echo it runs\n")
    };
    for (name, image, own, why) in [
        (
            "agent-1",
            "node:20",
            Some("docker.io/library/node:20"),
            None,
        ),
        (
            "agent-2",
            "node:20",
            Some("debian:12"),
            Some(
                "asks for the container image 'node:20', and this pod runs 'debian:12': set the image",
            ),
        ),
        ("agent-3", "node:20", None, Some("set DAYFLY_JOB_IMAGE")),
    ] {
        let pipeline = dayfly_pipeline::Pipeline::parse(&file(image)).unwrap();
        assert_eq!(pipeline.jobs[0].container.as_deref(), Some(image));
        let identity = world.identity(name, false).await;
        let directory = world.agent_directory(name);
        let written = directory.join("identity.json");
        std::fs::write(&written, serde_json::to_vec(&identity).unwrap()).unwrap();
        let mut listen = Command::new(agent_program());
        listen.arg("listen").arg("--identity-file").arg(written);
        if let Some(own) = own {
            listen.env("DAYFLY_JOB_IMAGE", own);
        }
        let mut agent = world.start_agent(name, listen);
        let job = world
            .queue(json!({"container": image, "steps": [{"bash": "echo it runs", "displayName": "Step"}]}))
            .await;
        let outcome = world.outcome(&job).await;
        assert_eq!(agent.exit().await.code(), Some(0));
        let Some(why) = why else {
            assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
            continue;
        };
        assert_eq!(outcome.result, TaskResult::Failed);
        let messages = messages(outcome.record("Initialize job"));
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(messages[0].contains(why), "{messages:?}");
        assert_eq!(outcome.record("Step").result, Some(TaskResult::Skipped));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_asks_for_another_container_is_refused_before_the_first_runs() {
    let world = World::start().await;
    let (_, outcome) = ran(
        &world,
        json!({"steps": [
            {"bash": "echo never"},
            {"bash": "echo never", "displayName": "Elsewhere", "target": {"target": "tools"}},
        ]}),
    )
    .await;
    assert_eq!(outcome.result, TaskResult::Failed);
    let messages = messages(outcome.record("Initialize job"));
    assert!(
        messages[0].contains("The step 'Elsewhere' asks for the container 'tools'"),
        "{messages:?}"
    );
    assert!(!outcome.log.contains("never"));
}
