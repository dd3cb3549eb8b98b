//! Pipeline files: what is taken, and what is refused where.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers of tests fail like tests.

use dayfly_pipeline::Pipeline;
use dayfly_pipeline::file::{Action, Shell};
use proptest::prelude::*;

fn parsed(text: &str) -> Pipeline {
    Pipeline::parse(text).unwrap_or_else(|problem| panic!("{problem}\n{text}"))
}

/// Line, column, key and message.
fn refused(text: &str) -> (usize, usize, String, String) {
    let problem = Pipeline::parse(text).expect_err(text);
    (
        problem.at.line,
        problem.at.column,
        problem.key,
        problem.message,
    )
}

#[test]
fn the_example_of_the_documentation_is_taken() {
    let guide = include_str!("../../../docs/pool/pipelines.md");
    let (_, rest) = guide.split_once("```yaml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let pipeline = parsed(example);
    let trigger = pipeline.trigger.unwrap();
    assert!(trigger.takes("refs/heads/releases/2") && !trigger.takes("refs/heads/releases/old1"));
    assert_eq!(pipeline.schedules[0].time_zone, "Europe/Berlin");
    let names: Vec<_> = pipeline.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["build", "test", "report"]);
    let [build, test, report] = &pipeline.jobs[..] else {
        panic!("three jobs");
    };
    assert_eq!(build.pool.demands, ["docker", "Agent.OS -equals Linux"]);
    assert_eq!(build.steps.len(), 5);
    assert_eq!(report.pool.name, "small");
    assert_eq!(report.depends_on, ["build", "test"]);
    let value = |name: &str| {
        let found = test.variables.iter().find(|variable| variable.name == name);
        found.map(|variable| variable.value.as_str())
    };
    assert_eq!(value("configuration"), Some("debug"), "the job's own");
    assert!(value("tag").unwrap().starts_with("$["));
    assert!(test.steps[1].restricted && !test.steps[2].enabled);
    let settable = test.steps[1].settable_variables.as_deref();
    assert_eq!(settable, Some(&["coverage.*".to_owned()][..]));
    assert_eq!(test.steps[0].settable_variables, None);
}

#[test]
fn steps_alone_are_one_job_that_every_push_queues() {
    let pipeline = parsed("pool: linux\nsteps:\n- script: |\n    one\n    two\n- bash: three\n");
    assert!(pipeline.trigger.unwrap().takes("refs/heads/any/branch"));
    let [job] = &pipeline.jobs[..] else {
        panic!("one job");
    };
    assert_eq!(
        (job.name.as_str(), job.pool.name.as_str()),
        ("__default", "linux")
    );
    let script = |shell, text: &str| Action::Script {
        shell,
        script: text.to_owned(),
    };
    assert_eq!(job.steps[0].action, script(Shell::Default, "one\ntwo\n"));
    assert_eq!(job.steps[1].action, script(Shell::Bash, "three"));
}

#[test]
fn values_are_texts_as_they_were_written() {
    let text = "pool: p\nvariables: {a: 010, b: yes, c: 1.50, d: , e: ~, f: '~', g: true}\nsteps: [{script: x}]";
    let job = parsed(text).jobs.remove(0);
    let values: Vec<_> = job
        .variables
        .iter()
        .map(|each| each.value.as_str())
        .collect();
    assert_eq!(values, ["010", "yes", "1.50", "", "", "~", "true"]);
}

#[test]
fn dependencies_are_spelt_as_the_jobs_are() {
    let text = "pool: p\njobs:\n- {job: B, dependsOn: a, steps: [{script: x}]}\n- {job: A, steps: [{script: x}]}";
    assert_eq!(parsed(text).jobs[0].depends_on, ["A"]);
}

#[test]
fn what_is_not_taken_is_refused_with_its_place() {
    let mut wrong = Vec::new();
    let job = |rest: &str| format!("pool: p\njobs:\n- job: a\n  {rest}\n  steps:\n  - script: x\n");
    let step = |rest: &str| format!("pool: p\nsteps:\n- script: x\n  {rest}\n");
    for (text, line, column, key) in [
        ("pool: p\nstages:\n- stage: a\n".to_owned(), 1, 1, ""),
        (
            "pool: p\nsteps:\n- script: x\nstages: []\n".to_owned(),
            4,
            1,
            "stages",
        ),
        (
            "pool: p\nsteps:\n- script: x\nparameters: []\n".to_owned(),
            4,
            1,
            "parameters",
        ),
        (
            "pool: p\nsteps:\n- template: x.yml\n".to_owned(),
            3,
            3,
            "steps[0]",
        ),
        ("steps:\n- script: x\n".to_owned(), 1, 1, ""),
        (step("scrpt: y"), 4, 3, "steps[0].scrpt"),
        (step("bash: y"), 3, 3, "steps[0]"),
        (step("condition: eq(1)"), 4, 14, "steps[0].condition"),
        (
            step("condition: eq(dependencies.a.result, 1)"),
            4,
            14,
            "steps[0].condition",
        ),
        (
            step("timeoutInMinutes: soon"),
            4,
            21,
            "steps[0].timeoutInMinutes",
        ),
        (
            step("retryCountOnTaskFailure: 11"),
            4,
            28,
            "steps[0].retryCountOnTaskFailure",
        ),
        (step("enabled: maybe"), 4, 12, "steps[0].enabled"),
        (step("env: x"), 4, 8, "steps[0].env"),
        (step("target: host"), 4, 11, "steps[0].target"),
        (
            step("target: {container: x}"),
            4,
            12,
            "steps[0].target.container",
        ),
        (
            step("displayName: ${{ parameters.x }}"),
            4,
            16,
            "steps[0].displayName",
        ),
        (job("strategy: {matrix: {}}"), 4, 3, "jobs[0].strategy"),
        (job("dependsOn: b"), 4, 14, "jobs[0].dependsOn"),
        (job("dependsOn: [A]"), 4, 15, "jobs[0].dependsOn[0]"),
        (job("condition: succeeded('b')"), 4, 14, "jobs[0].condition"),
        (
            job("condition: eq(dependencies.b.result, '')"),
            4,
            14,
            "jobs[0].condition",
        ),
        (
            job("variables: {v: '$[ dependencies.b.result ]'}"),
            4,
            18,
            "jobs[0].variables.v",
        ),
        (
            job("variables: {v: '$[ counter(1, 2) ]'}"),
            4,
            18,
            "jobs[0].variables.v",
        ),
        (job("variables: {v: 1, V: 2}"), 4, 24, "jobs[0].variables.V"),
        (
            job("variables: [{group: g}]"),
            4,
            15,
            "jobs[0].variables[0]",
        ),
        (job("pool: {vmImage: x}"), 4, 9, "jobs[0].pool"),
        (
            job("pool: {name: x, demands: a -like b}"),
            4,
            28,
            "jobs[0].pool.demands",
        ),
        (
            "pool: p\nvariables: {v: '$[ dependencies.a.result ]'}\nsteps: [{script: x}]"
                .to_owned(),
            2,
            16,
            "variables.v",
        ),
        (
            "trigger: main\npool: p\nsteps: [{script: x}]".to_owned(),
            1,
            10,
            "trigger",
        ),
        (
            "trigger: {tags: {}}\npool: p\nsteps: [{script: x}]".to_owned(),
            1,
            11,
            "trigger.tags",
        ),
        (
            "schedules: [{cron: 0 0 * *}]\npool: p\nsteps: [{script: x}]".to_owned(),
            1,
            20,
            "schedules[0].cron",
        ),
        (
            "schedules: [{cron: '61 0 * * *'}]\npool: p\nsteps: [{script: x}]".to_owned(),
            1,
            20,
            "schedules[0].cron",
        ),
        (
            "schedules: [{cron: '1 0 * * *', timeZone: Mars/Base}]\npool: p\nsteps: [{script: x}]"
                .to_owned(),
            1,
            43,
            "schedules[0].timeZone",
        ),
        (
            "pool: p\npool: q\nsteps: [{script: x}]".to_owned(),
            2,
            1,
            "pool",
        ),
        (
            "pool: &a p\nsteps: [{script: *a}]".to_owned(),
            1,
            10,
            "pool",
        ),
        (
            "pool: !!str p\nsteps: [{script: x}]".to_owned(),
            1,
            13,
            "pool",
        ),
        (
            "pool: p\nsteps:\n- script: x\n  env:\n    <<: {A: b}\n".to_owned(),
            5,
            5,
            "steps[0].env.<<",
        ),
        (
            "pool: p\nsteps: [{script: x}]\n---\npool: q\n".to_owned(),
            3,
            1,
            "",
        ),
        ("pool: 'p\n".to_owned(), 2, 1, ""),
        (String::new(), 1, 1, ""),
        ("just a text".to_owned(), 1, 1, ""),
    ] {
        let (found_line, found_column, found_key, message) = refused(&text);
        if (found_line, found_column, found_key.as_str()) != (line, column, key) {
            wrong.push(format!(
                "{found_line}:{found_column}: {found_key}: {message}\n{text}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn jobs_that_wait_for_each_other_are_named() {
    let text = "pool: p\njobs:\n\
        - {job: start, steps: [{script: x}]}\n\
        - {job: a, dependsOn: [start, c], steps: [{script: x}]}\n\
        - {job: b, dependsOn: a, steps: [{script: x}]}\n\
        - {job: c, dependsOn: b, steps: [{script: x}]}\n\
        - {job: end, dependsOn: c, steps: [{script: x}]}\n";
    let (line, _, key, message) = refused(text);
    assert_eq!((line, key.as_str()), (5, "jobs[2].dependsOn"), "{message}");
    assert!(message.contains("a, c, b"), "{message}");
}

#[test]
fn a_problem_is_shown_as_editors_look_for_it() {
    let problem = Pipeline::parse("pool: p\nsteps:\n- script: x\n  colour: red\n").unwrap_err();
    let shown = problem.in_file("ci/build.yml");
    assert!(
        shown.starts_with("ci/build.yml:4:3: steps[0].colour: this key is not taken"),
        "{shown}"
    );
}

#[test]
fn files_beyond_all_measure_are_refused() {
    let (.., message) = refused(&format!("# {}", "x".repeat(300_000)));
    assert!(message.contains("longer than"), "{message}");
    for deep in ["[".repeat(5000), "a: {".repeat(5000), "- ".repeat(5000)] {
        refused(&deep);
    }
    let bomb = "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
    let (line, .., message) = refused(bomb);
    assert_eq!(line, 1);
    assert!(message.contains("anchors"), "{message}");
    let many = format!("pool: p\nsteps: [{}]", "{script: x},".repeat(15_000));
    let (.., message) = refused(&many);
    assert!(message.contains("too many values"), "{message}");
}

/// Texts that are nearly pipeline files, so that the readers behind the YAML are reached.
fn nearly() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "pool: p\n",
        "trigger:\n",
        "  branches:\n",
        "    include: [a, 'b*']\n",
        "schedules:\n",
        "- cron: '0 0 * * *'\n",
        "  timeZone: Europe/Paris\n",
        "variables:\n",
        "  v: $[ variables.x ]\n",
        "- name: a\n",
        "  value: 1\n",
        "jobs:\n",
        "- job: a\n",
        "  dependsOn: [a, b]\n",
        "- job: b\n",
        "  condition: succeeded('a')\n",
        "  steps:\n",
        "  - script: |\n      x\n",
        "steps:\n",
        "- script: x\n",
        "  name: s\n",
        "  env: {A: b}\n",
        "- task: T@1\n",
        "  inputs:\n",
        "    a: 'b\n",
        "- checkout: self\n",
        "*a",
        "&a ",
        "!x ",
        "{",
        "}",
        "[",
        "]",
        ": ",
        "- ",
        "\t",
        "\u{feff}",
        "\n",
        "? ",
        "---\n",
        "%YAML 1.2\n",
        "\"\\x",
        ">-\n",
        "~",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nearly_a_file_never_panics(text in nearly()) {
        let _ = Pipeline::parse(&text);
    }

    #[test]
    fn any_text_never_panics(text in "\\PC{0,200}") {
        let _ = Pipeline::parse(&text);
    }

    #[test]
    fn a_problem_is_inside_the_file(text in nearly()) {
        if let Err(problem) = Pipeline::parse(&text) {
            prop_assert!(problem.at.line >= 1 && problem.at.column >= 1);
            prop_assert!(problem.at.line <= text.lines().count() + 1, "{problem}");
        }
    }
}
