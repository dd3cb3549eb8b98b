//! A pipeline file's jobs as jobs that can be queued.

use super::refusal::Refusal;
use super::task::{self, Uploaded};
use dayfly_pipeline::file::{Action, DOWNLOAD, Job, PUBLISH, Shell, Step, Variable};
use dayfly_pipeline::{Mark, Pipeline};
use dayfly_wire::ids::TaskId;
use dayfly_wire::job::{RESTRICTED, SettableVariables, StepTarget, builtin};
use dayfly_wire::queue::{FullVariable, QueueJob, QueueStep, QueueTask, QueueVariable};
use dayfly_wire::secret::SecretText;
use std::collections::{BTreeMap, BTreeSet};

/// What a run's jobs get beside what the file says.
pub struct Given<'a> {
    /// The pipeline's name.
    pub name: &'a str,
    /// The path of the file, for complaints.
    pub path: &'a str,
    /// The repository of the file, by name.
    pub repository: &'a str,
    /// The commit that is built.
    pub version: &'a str,
    /// Values for variables that were given when the run was queued; they come in the place of the file's.
    pub variables: &'a BTreeMap<String, String>,
    /// The uploaded tasks among those that the file names.
    pub tasks: &'a [Uploaded],
}

/// A job of the file.
pub struct Drafted {
    /// Its name.
    pub name: String,
    /// The jobs that it waits for.
    pub depends_on: Vec<String>,
    /// When it starts, as it was written.
    pub condition: Option<String>,
    /// What it is. Variables that are `$[ ]` are as they were written.
    pub job: QueueJob,
    /// Where it is in the file.
    pub mark: Mark,
    /// Where its pool is.
    pub pool: Mark,
    /// Where its steps are.
    pub steps: Vec<Mark>,
}

impl Drafted {
    /// Where the job checks a repository out first.
    pub fn checkout(&self, repository: &str) -> Mark {
        let mut steps = self.job.steps.iter().zip(&self.steps);
        let found = steps.find(|(step, _)| step.checkout.as_deref() == Some(repository));
        found.map_or_else(|| self.mark.clone(), |(_, mark)| mark.member("checkout"))
    }
}

/// The tasks that a file names and that are to be found among the uploaded ones, by name or id, and major version.
pub fn named_tasks(pipeline: &Pipeline) -> BTreeSet<(String, u32)> {
    let steps = pipeline.jobs.iter().flat_map(|job| &job.steps);
    steps
        .filter_map(|step| match &step.action {
            Action::Task { name, major, .. } => Some((name.to_lowercase(), *major)),
            Action::Checkout { .. } | Action::Script { .. } => None,
        })
        .filter(|(name, major)| builtin_task(name, *major).is_none())
        .collect()
}

/// The file's jobs. `secrets` are given to each of them.
pub fn jobs(
    pipeline: Pipeline,
    given: &Given<'_>,
    secrets: &[(String, SecretText)],
) -> Result<Vec<Drafted>, Refusal> {
    pipeline
        .jobs
        .into_iter()
        .map(|job| draft(job, given, secrets))
        .collect()
}

// A member that a file cannot set keeps its default, also one that is added later.
#[allow(clippy::needless_update)]
fn draft(
    job: Job,
    given: &Given<'_>,
    secrets: &[(String, SecretText)],
) -> Result<Drafted, Refusal> {
    let variables = variables(job.variables, given, secrets);
    let mut steps = Vec::with_capacity(job.steps.len());
    let mut marks = Vec::with_capacity(job.steps.len());
    for step in job.steps {
        let mark = step.mark.clone();
        if let Some(step) = queued_step(step, given)? {
            steps.push(step);
            marks.push(mark);
        }
    }
    if steps.is_empty() {
        let complaint = job.mark.member("steps").problem("no step does anything");
        return Err(Refusal::invalid(complaint.in_file(given.path)));
    }
    Ok(Drafted {
        mark: job.mark,
        pool: job.pool.mark,
        steps: marks,
        condition: job.condition.written().map(ToOwned::to_owned),
        depends_on: job.depends_on,
        job: QueueJob {
            pool: job.pool.name,
            name: Some(given.name.to_owned()),
            display_name: Some(job.display_name.unwrap_or_else(|| job.name.clone())),
            demands: job.pool.demands,
            variables,
            container: job.container,
            repository: Some(given.repository.to_owned()),
            reference: Some(given.version.to_owned()),
            timeout_in_minutes: job.timeout_in_minutes,
            cancel_timeout_in_minutes: job.cancel_timeout_in_minutes,
            steps,
            ..QueueJob::default()
        },
        name: job.name,
    })
}

/// What was given at queueing hides the file's, and that hides a secret of the same name.
fn variables(
    own: Vec<Variable>,
    given: &Given<'_>,
    secrets: &[(String, SecretText)],
) -> BTreeMap<String, QueueVariable> {
    let mut merged: BTreeMap<String, (String, QueueVariable)> = BTreeMap::new();
    for (name, value) in secrets {
        let secret = FullVariable {
            value: value.duplicate(),
            is_secret: true,
            is_read_only: false,
        };
        merged.insert(
            name.to_lowercase(),
            (name.clone(), QueueVariable::Full(secret)),
        );
    }
    for variable in own {
        let value = SecretText::new(variable.value);
        let queued = if variable.is_read_only {
            QueueVariable::Full(FullVariable {
                value,
                is_secret: false,
                is_read_only: true,
            })
        } else {
            QueueVariable::Plain(value)
        };
        merged.insert(variable.name.to_lowercase(), (variable.name, queued));
    }
    for (name, value) in given.variables {
        let queued = QueueVariable::Plain(SecretText::new(value.clone()));
        merged.insert(name.to_lowercase(), (name.clone(), queued));
    }
    merged.into_values().collect()
}

/// A step; none for `checkout: none`.
fn queued_step(step: Step, given: &Given<'_>) -> Result<Option<QueueStep>, Refusal> {
    let mut queued = QueueStep {
        name: step.name,
        display_name: step.display_name,
        working_directory: step.working_directory,
        env: secret_texts(step.env),
        condition: step.condition,
        enabled: Some(step.enabled),
        continue_on_error: step.continue_on_error,
        timeout_in_minutes: step.timeout_in_minutes,
        retry_count_on_task_failure: step.retry_count_on_task_failure,
        target: target(step.restricted, step.settable_variables),
        ..QueueStep::default()
    };
    match step.action {
        Action::Checkout { repository, inputs } => {
            let Some(repository) = repository else {
                return Ok(None);
            };
            queued.checkout = Some(repository);
            queued.inputs = secret_texts(inputs);
        }
        Action::Script { shell, script } => match shell {
            Shell::Default => queued.script = Some(script.into()),
            Shell::Bash => queued.bash = Some(script.into()),
            Shell::PowerShell => {
                queued.task = builtin_task("PowerShell", 2);
                queued.inputs = [
                    ("targetType", "inline".to_owned()),
                    ("script", script),
                    ("pwsh", "true".to_owned()),
                ]
                .map(|(name, value)| (name.to_owned(), value.into()))
                .into();
            }
        },
        Action::Task {
            name,
            major,
            inputs,
        } => {
            let found = match builtin_task(&name, major) {
                Some(task) => Ok((builtin_aliases(task.id), task)),
                None => uploaded_task(&name, major, given.tasks),
            };
            let refused = |why| step.mark.member("task").problem(why).in_file(given.path);
            let (aliases, task) = found.map_err(|why| Refusal::invalid(refused(why)))?;
            queued.task = Some(task);
            queued.inputs = secret_texts(known_inputs(inputs, &aliases));
        }
    }
    Ok(Some(queued))
}

fn target(restricted: bool, settable: Option<Vec<String>>) -> Option<StepTarget> {
    (restricted || settable.is_some()).then(|| StepTarget {
        target: None,
        commands: restricted.then(|| RESTRICTED.to_owned()),
        settable_variables: settable.map(|allowed| SettableVariables { allowed }),
    })
}

/// The tasks that every agent knows, or none at all.
fn builtin_task(name: &str, major: u32) -> Option<QueueTask> {
    let known = [
        ("CmdLine", 2, "2.250.0", builtin::CMD_LINE),
        ("Bash", 3, "3.250.0", builtin::BASH),
        ("PowerShell", 2, "2.250.0", builtin::POWER_SHELL),
        (
            DOWNLOAD.0,
            DOWNLOAD.1,
            "2.250.0",
            builtin::DOWNLOAD_ARTIFACT,
        ),
        (PUBLISH.0, PUBLISH.1, "1.250.0", builtin::PUBLISH_ARTIFACT),
        ("Cache", 2, "2.250.0", builtin::CACHE),
        (
            "PublishBuildArtifacts",
            1,
            "1.250.0",
            builtin::PUBLISH_BUILD_ARTIFACTS,
        ),
        (
            "DownloadBuildArtifacts",
            0,
            "0.250.0",
            builtin::DOWNLOAD_BUILD_ARTIFACTS,
        ),
        (
            "DownloadBuildArtifacts",
            1,
            "1.250.0",
            builtin::DOWNLOAD_BUILD_ARTIFACTS,
        ),
    ];
    let (name, _, version, id) = known.into_iter().find(|(known, its, _, id)| {
        let is_called =
            known.eq_ignore_ascii_case(name) || id.to_string().eq_ignore_ascii_case(name);
        is_called && *its == major
    })?;
    Some(QueueTask {
        id: TaskId(id),
        name: name.to_owned(),
        version: version.to_owned(),
    })
}

/// Other names of inputs in lower case, with the names that agents know.
type Aliases = BTreeMap<String, String>;

fn uploaded_task(
    name: &str,
    major: u32,
    tasks: &[Uploaded],
) -> Result<(Aliases, QueueTask), String> {
    let found = task::meant(tasks, name, major)?;
    let task = QueueTask {
        id: found.id,
        name: found.name.clone(),
        version: found.version.to_string(),
    };
    Ok((found.aliases.clone(), task))
}

fn builtin_aliases(task: TaskId) -> Aliases {
    let known: &[(&str, &str)] = match task.0 {
        builtin::DOWNLOAD_ARTIFACT => &[
            ("buildtype", "source"),
            ("artifactname", "artifact"),
            ("itempattern", "patterns"),
            ("targetpath", "path"),
            ("downloadpath", "path"),
        ],
        builtin::PUBLISH_ARTIFACT => &[
            ("targetpath", "path"),
            ("artifact", "artifactName"),
            ("publishlocation", "artifactType"),
        ],
        builtin::PUBLISH_BUILD_ARTIFACTS => &[("publishlocation", "ArtifactType")],
        builtin::DOWNLOAD_BUILD_ARTIFACTS => &[("pipeline", "definition")],
        _ => &[],
    };
    let owned = |(alias, name): &(&str, &str)| ((*alias).to_owned(), (*name).to_owned());
    known.iter().map(owned).collect()
}

/// Inputs under the names that agents know.
fn known_inputs(inputs: BTreeMap<String, String>, aliases: &Aliases) -> BTreeMap<String, String> {
    let known = |name: String| aliases.get(&name.to_lowercase()).cloned().unwrap_or(name);
    let inputs = inputs.into_iter();
    inputs.map(|(name, value)| (known(name), value)).collect()
}

fn secret_texts(texts: BTreeMap<String, String>) -> BTreeMap<String, SecretText> {
    texts
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect()
}

/// Whether the message of a commit asks for no run.
pub fn is_skipped(message: &str) -> bool {
    let message = message.to_lowercase();
    ["[skip ci]", "[ci skip]", "***no_ci***"]
        .iter()
        .any(|mark| message.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drafted(text: &str, secrets: &[(&str, &str)]) -> Result<Vec<Drafted>, Refusal> {
        let secrets: Vec<_> = secrets
            .iter()
            .map(|(name, value)| ((*name).to_owned(), SecretText::new((*value).to_owned())))
            .collect();
        let variables = [("given".to_owned(), "at queueing".to_owned())].into();
        let given = Given {
            name: "nightly",
            path: "ci.yml",
            repository: "app",
            version: "0123",
            variables: &variables,
            tasks: &[Uploaded {
                id: TaskId(uuid::Uuid::nil()),
                name: "Gradle".to_owned(),
                version: "3.1.0".parse().unwrap(),
                aliases: [("tool".to_owned(), "toolPath".to_owned())].into(),
            }],
        };
        jobs(Pipeline::parse(text).unwrap(), &given, &secrets)
    }

    fn value<'a>(job: &'a Drafted, name: &str) -> (&'a str, bool) {
        match &job.job.variables[name] {
            QueueVariable::Plain(value) => (value.expose(), false),
            QueueVariable::Full(full) => (full.value.expose(), full.is_secret),
        }
    }

    #[test]
    fn variables_hide_each_other_without_regard_to_case() {
        let text = "pool: p\nvariables: {Given: file, TOKEN: plain}\nsteps: [{script: x}]";
        let jobs = drafted(text, &[("token", "s3"), ("other", "s4")]).unwrap();
        assert_eq!(jobs[0].job.variables.len(), 3);
        assert_eq!(value(&jobs[0], "given"), ("at queueing", false));
        assert_eq!(value(&jobs[0], "TOKEN"), ("plain", false));
        assert_eq!(value(&jobs[0], "other"), ("s4", true));
    }

    #[test]
    fn steps_become_tasks_and_checkout_none_nothing() {
        let text = "pool: p\nsteps:\n- checkout: none\n- pwsh: dir\n- task: gradle@4\n";
        let refusal = drafted(text, &[]).err().unwrap();
        assert!(
            refusal
                .message
                .starts_with("ci.yml:5:3: steps[2].task: there is no task gradle@4"),
            "{refusal}"
        );
        let text = "pool: p\nsteps:\n- checkout: none\n- pwsh: dir\n- task: gradle@3\n  inputs: {Tool: x}\n- publish: out\n";
        let job = drafted(text, &[]).unwrap().remove(0).job;
        let names: Vec<_> = job
            .steps
            .iter()
            .map(|step| step.task.as_ref().unwrap().name.as_str())
            .collect();
        assert_eq!(names, ["PowerShell", "Gradle", "PublishPipelineArtifact"]);
        assert_eq!(job.steps[0].inputs["script"].expose(), "dir");
        assert_eq!(job.steps[1].inputs["toolPath"].expose(), "x");
        let refusal = drafted("pool: p\nsteps: [{checkout: none}]", &[])
            .err()
            .unwrap();
        assert_eq!(refusal.message, "ci.yml:1:1: steps: no step does anything");
    }

    #[test]
    fn a_default_condition_stays_unwritten() {
        let text = "pool: p\njobs:\n- {job: a, steps: [{script: x}]}\n- {job: b, dependsOn: a, condition: always(), steps: [{script: x}]}";
        let jobs = drafted(text, &[]).unwrap();
        assert_eq!(
            (&jobs[0].condition, jobs[1].condition.as_deref()),
            (&None, Some("always()"))
        );
        assert_eq!(jobs[1].depends_on, ["a"]);
    }

    #[test]
    fn a_commit_can_ask_for_no_run() {
        assert!(is_skipped("Fix a typo\n\n[Skip CI]"));
        assert!(is_skipped("***NO_CI***"));
        assert!(!is_skipped("skip ci"));
    }
}
