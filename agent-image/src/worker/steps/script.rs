//! `script:` and `bash:` steps: the script goes to a file on the job container's memory volume, and bash runs it,
//! with nothing between that would hold a secret.

use crate::host::protocol::{Exit, FileKind, Program};
use crate::worker::artifacts::cannot_write;
use crate::worker::plan::Kind;
use crate::worker::result::status_word;
use crate::worker::step::{Running, StepError};
use crate::worker::variables::environment_name;
use bytes::Bytes;
use dayfly_wire::event::TaskResult;
use uuid::Uuid;

/// A script to run.
struct Script {
    body: String,
    fail_on_errors: bool,
    directory: String,
    environment: Vec<(String, String)>,
    /// The step is given a secret.
    secret: bool,
}

/// Runs the step's script.
pub(crate) async fn run(step: &mut Running<'_>) -> Result<TaskResult, StepError> {
    let script = prepare(step)?;
    if script.secret {
        step.stop_leftovers("this step is given a secret").await?;
    }
    if step.job.link.look(&script.directory).await? != FileKind::Directory {
        return Err(StepError::Failed(format!(
            "The working directory {} does not exist.",
            script.directory
        )));
    }
    let bash = step.job.link.locate("bash", &[]).await?.ok_or_else(|| {
        StepError::Failed("The job's image has no bash; script steps need one.".to_owned())
    })?;
    let file = format!("{}/{}.sh", step.job.facts.job_scripts, Uuid::new_v4());
    print_script(step, &script.body);
    let written = step
        .job
        .link
        .write(&file, 0o600, script.body.as_bytes())
        .await;
    written.map_err(|error| cannot_write(&file, error))?;
    let ended = run_file(step, &script, &bash, &file).await;
    // The body may hold a secret that was written into it.
    let _ = step.job.link.remove(&file).await;
    ended
}

async fn run_file(
    step: &mut Running<'_>,
    script: &Script,
    bash: &str,
    file: &str,
) -> Result<TaskResult, StepError> {
    let mut argv = vec![bash.to_owned()];
    if step.planned.kind == Kind::CmdLine {
        argv.extend(["--noprofile", "--norc"].map(ToOwned::to_owned));
    }
    argv.push(file.to_owned());
    step.record
        .write("========================== Starting Command Output ===========================");
    step.record.write(&format!("[command]{}", argv.join(" ")));
    let ended = step
        .run_program(
            Program {
                argv,
                environment: script.environment.clone(),
                prepend_path: step.job.prepend_path.iter().rev().cloned().collect(),
                directory: script.directory.clone(),
                descriptor: None,
            },
            Bytes::new(),
        )
        .await?;
    let mut result = TaskResult::Succeeded;
    let problem = match ended.exit {
        Exit::Code(0) => None,
        Exit::Code(code) => Some(format!("Bash exited with code '{code}'.")),
        Exit::Signal(signal) => Some(format!("Bash was ended by signal {signal}.")),
    };
    if let Some(problem) = problem {
        step.record.error(&problem);
        result = TaskResult::Failed;
    }
    if script.fail_on_errors && !ended.errors.is_empty() {
        step.record
            .error("Bash wrote one or more lines to the standard error stream.");
        for line in &ended.errors {
            step.record.error(line);
        }
        result = TaskResult::Failed;
    }
    Ok(result)
}

fn print_script(step: &Running<'_>, body: &str) {
    step.record.write("Generating script.");
    if body.lines().count() == 1 && !body.contains("##vso[") {
        step.record.write("Script contents:");
        step.record.write(body.trim_end());
    }
}

fn prepare(step: &Running<'_>) -> Result<Script, StepError> {
    let (body, secret_body) = match step.planned.kind {
        Kind::Bash if !is_inline(step) => file_body(step)?,
        _ => required(step, "script")?,
    };
    let (environment, secret_environment) = environment(step);
    let sources = step
        .job
        .variables
        .value("system.defaultworkingdirectory")
        .unwrap_or_default()
        .to_owned();
    let (directory, _) = step.input("workingDirectory");
    let directory = match directory {
        Some(path) if path.starts_with('/') => path,
        Some(path) => format!("{sources}/{path}"),
        None => sources,
    };
    Ok(Script {
        body,
        fail_on_errors: step.flag("failOnStderr"),
        directory,
        environment,
        secret: secret_body || secret_environment,
    })
}

/// A bash step without a target type that has a script is an inline one.
fn is_inline(step: &Running<'_>) -> bool {
    match step.input("targetType").0 {
        Some(kind) => kind.eq_ignore_ascii_case("inline"),
        None => step.input("filePath").0.is_none(),
    }
}

fn required(step: &Running<'_>, name: &str) -> Result<(String, bool), StepError> {
    match step.input(name) {
        (Some(text), secret) => Ok((text, secret)),
        (None, _) => Err(StepError::Failed(format!("Input required: {name}"))),
    }
}

fn file_body(step: &Running<'_>) -> Result<(String, bool), StepError> {
    let (path, secret_path) = required(step, "filePath")?;
    let (arguments, secret_arguments) = step.input("arguments");
    let quoted = path.replace('\'', r"'\''");
    let body = format!("exec bash '{quoted}' {}", arguments.unwrap_or_default());
    Ok((body.trim_end().to_owned(), secret_path || secret_arguments))
}

/// What the script finds beside the container's own environment: what the step maps, then every variable that is
/// not secret. The second part says whether a secret is among it.
fn environment(step: &Running<'_>) -> (Vec<(String, String)>, bool) {
    let variables = &step.job.variables;
    let mut secret = false;
    let mapped = step.planned.step.environment.iter().map(|(name, value)| {
        let expanded = variables.substitute(value.expose().trim());
        secret |= expanded.secret;
        (name.trim().to_owned(), expanded.text.expose().to_owned())
    });
    let mut environment: Vec<_> = mapped.collect();
    environment.extend(variables.environment());
    environment.push((
        "agent.jobstatus".to_owned(),
        status_word(step.job.result).to_owned(),
    ));
    let name = environment_name("system.taskDisplayName");
    let display = step.planned.step.display_name.clone().unwrap_or_default();
    environment.push((name, display));
    environment.retain(|(name, value)| is_passable(name, value));
    (environment, secret)
}

/// What the kernel cannot pass on would keep the program from starting.
fn is_passable(name: &str, value: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
}
