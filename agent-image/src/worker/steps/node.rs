//! A part of a task, run by the `node` of the job's image. What the task may know that others may not travels over
//! a descriptor, never in its environment.

use crate::host::link::ProcessEvent;
use crate::host::protocol::{Exit, FileKind, Program, Stream};
use crate::worker::job::Job;
use crate::worker::place::inside;
use crate::worker::proxy;
use crate::worker::result::status_word;
use crate::worker::step::{Running, StepError};
use crate::worker::system_connection;
use crate::worker::tasks::Task;
use crate::worker::tasks::archive::fingerprint;
use crate::worker::tasks::definition::{Handler, Stage};
use crate::worker::tasks::environment::{Sources, TaskEnvironment, environment};
use crate::worker::tasks::fetch::{ca_file, preload};
use crate::worker::tasks::handler::{HandlerError, choose, major_version, needs_node};
use crate::worker::tasks::inputs::{Inputs, inputs};
use crate::worker::tasks::trust::{is_given_token, refusal};
use bytes::Bytes;
use dayfly_wire::event::TaskResult;
use dayfly_wire::secret::SecretText;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The variable that names the descriptor; the preload knows it.
const GIVEN: &str = "DAYFLY_GIVEN";
const VERSION_LIMIT: Duration = Duration::from_secs(30);
const LONGEST_VERSION: usize = 100;
/// What the service says of pull requests.
const RESTRICT_SECRETS: &str = "system.restrictSecrets";
const IS_FORK: &str = "system.pullRequest.isFork";
const RULE: &str = "==============================================================================";

/// The job image's node.
#[derive(Clone)]
pub(crate) struct Node {
    path: String,
    major: u32,
}

/// Runs a part of the step's task.
pub(crate) async fn run(step: &mut Running<'_>) -> Result<TaskResult, StepError> {
    let task = step
        .planned
        .task
        .clone()
        .ok_or_else(|| failed("The task was not downloaded."))?;
    print_header(step, &task);
    let stage = step.planned.stage;
    let label = format!("{} {}", task.definition.name, task.definition.version);
    let handlers = task.definition.handlers(stage);
    needs_node(handlers, &label)?;
    let node = node(step, &label).await?;
    let chosen = choose(handlers, &label, node.major)?;
    if let Some(wants) = chosen.wants {
        step.record.write(&format!(
            "##[warning]The task {label} was made for Node {wants}; it is run by Node {}, which the job's image has.",
            node.major
        ));
    }
    let target = inside(&chosen.handler.target)
        .ok_or_else(|| failed(format!("The task {label} names no program of its own.")))?;
    let told = told(step, &task);
    guard_fork(step, &told)?;
    let given = task_environment(step, &task, &told, &label)?;
    if given.secret {
        step.stop_leftovers("this task is given secrets").await?;
    }
    let directory = directory(step, &task, chosen.handler, &told).await?;
    unchanged(&task, &label).await?;
    let argv = vec![
        node.path,
        "--require".to_owned(),
        preload(step.job)
            .map_err(|error| failed(format!("failed to prepare the task: {error}")))?,
        format!("{}/{}", task.shown, target.display()),
    ];
    execute(step, argv, given, directory).await
}

fn failed(reason: impl Into<String>) -> StepError {
    StepError::Failed(reason.into())
}

impl From<HandlerError> for StepError {
    fn from(error: HandlerError) -> Self {
        Self::Failed(error.to_string())
    }
}

async fn execute(
    step: &mut Running<'_>,
    argv: Vec<String>,
    given: TaskEnvironment,
    directory: String,
) -> Result<TaskResult, StepError> {
    let payload = serde_json::to_vec(&given.closed)
        .map_err(|_| failed("failed to write the task's secrets down"))?;
    if payload.len() > crate::host::frame::STEP_HOST.payload {
        return Err(failed(format!(
            "The task's inputs and secrets come to {} bytes; at most {} can be handed over.",
            payload.len(),
            crate::host::frame::STEP_HOST.payload
        )));
    }
    let (file, arguments) = (argv[0].clone(), argv[1..].join(" "));
    let program = Program {
        argv,
        environment: given.open,
        prepend_path: step.job.prepend_path.iter().rev().cloned().collect(),
        directory,
        descriptor: Some(GIVEN.to_owned()),
    };
    let ended = step.run_program(program, payload.into()).await?;
    let problem = match ended.exit {
        Exit::Code(0) => return Ok(TaskResult::Succeeded),
        Exit::Code(code) => format!(
            "Exit code {code} returned from process: file name '{file}', arguments '{arguments}'."
        ),
        Exit::Signal(signal) => format!(
            "The process was ended by signal {signal}: file name '{file}', arguments '{arguments}'."
        ),
    };
    step.record.error(&problem);
    Ok(TaskResult::Failed)
}

fn print_header(step: &Running<'_>, task: &Task) {
    let it = &task.definition;
    let lines = [
        RULE.to_owned(),
        format!("Task         : {}", it.title),
        format!("Description  : {}", it.description),
        format!("Version      : {}", it.version),
        format!("Author       : {}", it.author),
        format!("Help         : {}", it.help),
        RULE.to_owned(),
    ];
    step.record.write(&lines.join("\n"));
}

/// Where node is and which it is; asked once for a job.
async fn node(step: &mut Running<'_>, label: &str) -> Result<Node, StepError> {
    if let Some(node) = &step.job.node {
        return Ok(node.clone());
    }
    // Without what steps put before PATH: a step must not choose what runs with other tasks' secrets.
    let path = step.job.link.locate("node", &[]).await?.ok_or_else(|| {
        failed(format!(
            "The task {label} needs Node, and the job's image has no 'node' in its PATH. Set the image of the AgentPool's template to one that has node, for example one built from this agent's image with Debian's package nodejs."
        ))
    })?;
    let said = said(step, &path).await?;
    let major = major_version(&said).ok_or_else(|| {
        failed(format!(
            "The task {label} needs Node, and {path} --version does not say which version it is."
        ))
    })?;
    let node = Node { path, major };
    step.job.node = Some(node.clone());
    Ok(node)
}

/// What `node --version` writes.
async fn said(step: &Running<'_>, path: &str) -> Result<String, StepError> {
    let program = Program {
        argv: vec![path.to_owned(), "--version".to_owned()],
        environment: Vec::new(),
        prepend_path: Vec::new(),
        directory: "/".to_owned(),
        descriptor: None,
    };
    let mut process = step.job.link.start(program, Bytes::new()).await?;
    let mut said = Vec::new();
    let ended = timeout(VERSION_LIMIT, async {
        loop {
            match process.next().await {
                Some(ProcessEvent::Output(Stream::Out, text)) if said.len() < LONGEST_VERSION => {
                    said.extend_from_slice(&text);
                }
                Some(ProcessEvent::Output(..)) => {}
                Some(ProcessEvent::Exited(..)) => return Ok(()),
                None => return Err(StepError::StepHostLost),
            }
        }
    });
    match ended.await {
        Ok(ended) => ended?,
        Err(_) => {
            step.job.link.stop(&process).await?;
            return Err(failed(format!("{path} --version did not end in time.")));
        }
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

fn told(step: &Running<'_>, task: &Task) -> Inputs {
    let variables = &step.job.variables;
    let root = variables
        .value("system.defaultworkingdirectory")
        .unwrap_or_default();
    inputs(&task.definition, &step.planned.step.inputs, variables, root)
}

/// A run of a fork's changes is given no service connection and no secure file, where the service says so.
fn guard_fork(step: &Running<'_>, told: &Inputs) -> Result<(), StepError> {
    let variables = &step.job.variables;
    let is_guarded = variables.flag(RESTRICT_SECRETS) && variables.flag(IS_FORK);
    if !is_guarded || (told.endpoints.is_empty() && told.secure_files.is_empty()) {
        return Ok(());
    }
    Err(StepError::Skipped(
        "The step is skipped: it names service connections or secure files, and the changes that are built come from a fork.".to_owned(),
    ))
}

fn task_environment(
    step: &mut Running<'_>,
    task: &Task,
    told: &Inputs,
    label: &str,
) -> Result<TaskEnvironment, StepError> {
    let reference = &step.planned.step.reference;
    let setting = step.job.facts.token_for_tasks;
    let gives_token = is_given_token(setting, reference.id.0, step.planned.step.is_server_owned);
    if !gives_token {
        let refusal = refusal(setting, label);
        step.record.write(&format!("##[warning]{refusal}"));
    }
    let job = &step.job;
    let (_, token) = system_connection(&job.message)
        .ok_or_else(|| failed("The job has no connection to the service."))?;
    let made = environment(&Sources {
        variables: &job.variables,
        mapped: step.mapped(),
        inputs: told,
        message: &job.message,
        task_variables: job.task_variables.get(&step.planned.step.id),
        token,
        gives_token,
        surroundings: surroundings(step.job)?,
        status: status_word(job.result),
    });
    for name in &made.dropped {
        step.record.write(&format!(
            "##[warning]The variable '{name}' was set by a step and changes how programs load code; it does not reach the task {}.",
            task.definition.name
        ));
    }
    Ok(made)
}

/// The proxy, and the certificates beside the system's.
fn surroundings(job: &Job) -> Result<Vec<(String, String)>, StepError> {
    let mut surroundings = proxy::environment(job.facts.proxy.as_ref());
    let file =
        ca_file(job).map_err(|error| failed(format!("failed to prepare the task: {error}")))?;
    surroundings.extend(file.map(|file| ("NODE_EXTRA_CA_CERTS".to_owned(), file)));
    Ok(surroundings)
}

/// The task's working directory: what its handler says, else where the sources are.
async fn directory(
    step: &Running<'_>,
    task: &Task,
    handler: &Handler,
    told: &Inputs,
) -> Result<String, StepError> {
    let job = &step.job;
    let wanted = handler.directory.as_ref().map(|directory| {
        let own = crate::worker::macros::replace(directory, |name| {
            let is_own = name.eq_ignore_ascii_case("currentdirectory");
            if is_own && step.planned.stage == Stage::Main {
                return Some(task.shown.clone());
            }
            let mut inputs = told.values.iter();
            let input = inputs.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
            Some(input.1.expose().to_owned())
        });
        job.variables.substitute(&own).text.expose().to_owned()
    });
    let sources = job.variables.value("system.defaultworkingdirectory");
    for directory in [wanted.as_deref(), sources].into_iter().flatten() {
        if job.link.look(directory).await? == FileKind::Directory {
            return Ok(directory.to_owned());
        }
    }
    Ok(job.facts.job_work.clone())
}

/// A task's files are what the service served, or it is not run.
async fn unchanged(task: &Arc<Task>, label: &str) -> Result<(), StepError> {
    let same = Arc::clone(task);
    let now = tokio::task::spawn_blocking(move || fingerprint(&same.directory)).await;
    match now {
        Ok(Ok(now)) if now == task.fingerprint => Ok(()),
        Ok(Ok(_) | Err(_)) | Err(_) => Err(failed(format!(
            "The files of the task {label} are not what the service served: a step changed them. The task is not run."
        ))),
    }
}

impl Running<'_> {
    /// What the step maps into the environment, and whether a secret went into each.
    fn mapped(&self) -> Vec<(String, SecretText, bool)> {
        self.planned
            .step
            .environment
            .iter()
            .map(|(name, value)| {
                let expanded = self.job.variables.substitute(value.expose().trim());
                (name.trim().to_owned(), expanded.text, expanded.secret)
            })
            .collect()
    }
}
