//! `script:`, `bash:` and `pwsh:` steps: the script goes to a file on the job container's memory volume, and a shell of the
//! job's image runs it, with nothing between that would hold a secret.

use super::power_shell::{PowerShell, call, command, preferences};
use crate::host::protocol::{Exit, FileKind, Program};
use crate::worker::artifacts::cannot_write;
use crate::worker::plan::Kind;
use crate::worker::proxy;
use crate::worker::result::status_word;
use crate::worker::step::{Running, StepError};
use crate::worker::variables::{is_passable, is_too_long};
use bytes::Bytes;
use dayfly_wire::event::TaskResult;
use uuid::Uuid;

/// A script to run.
struct Script {
    body: String,
    /// What is shown of it before it runs.
    shown: Vec<String>,
    fail_on_errors: bool,
    directory: String,
    environment: Vec<(String, String)>,
    /// The step is given a secret.
    secret: bool,
}

/// A shell's name for people, and the end of its files' names.
fn title(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::PowerShell => ("PowerShell", "ps1"),
        Kind::Bash
        | Kind::CmdLine
        | Kind::Checkout
        | Kind::Artifact(_)
        | Kind::Cache
        | Kind::Task => ("Bash", "sh"),
    }
}

/// Runs the step's script.
pub(crate) async fn run(step: &mut Running<'_>) -> Result<TaskResult, StepError> {
    let script = prepare(step).await?;
    if script.secret {
        step.stop_leftovers("this step is given a secret").await?;
    }
    if step.job.link.look(&script.directory).await? != FileKind::Directory {
        return Err(StepError::Failed(format!(
            "The working directory {} does not exist.",
            script.directory
        )));
    }
    let shell = shell(step).await?;
    let (_, ending) = title(step.planned.kind);
    let file = format!("{}/{}.{ending}", step.job.facts.job_scripts, Uuid::new_v4());
    step.record.write("Generating script.");
    for line in &script.shown {
        step.record.write(line);
    }
    let written = step
        .job
        .link
        .write(&file, 0o600, script.body.as_bytes())
        .await;
    written.map_err(|error| cannot_write(&file, error))?;
    let ended = run_file(step, &script, shell, &file).await;
    // The body may hold a secret that was written into it.
    let _ = step.job.link.remove(&file).await;
    ended
}

/// Where the shell is, with its own arguments. Bash is the image's; pwsh may also be one that an earlier step installed.
async fn shell(step: &Running<'_>) -> Result<Vec<String>, StepError> {
    let link = &step.job.link;
    if step.planned.kind == Kind::PowerShell {
        let earlier: Vec<String> = step.job.prepend_path.iter().rev().cloned().collect();
        let found = match link.locate("pwsh", &[]).await? {
            Some(found) => Some(found),
            None => link.locate("pwsh", &earlier).await?,
        };
        let found = found.ok_or_else(|| {
            StepError::Failed("The job's image has no 'pwsh' in its PATH; PowerShell steps need one. Set the image of the AgentPool's template to one that has PowerShell, or write the step for bash.".to_owned())
        })?;
        let own = ["-NoLogo", "-NoProfile", "-NonInteractive", "-Command"];
        return Ok([&[found.as_str()][..], &own]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect());
    }
    let found = link.locate("bash", &[]).await?.ok_or_else(|| {
        StepError::Failed("The job's image has no bash; script steps need one.".to_owned())
    })?;
    let mut shell = vec![found];
    if step.planned.kind == Kind::CmdLine {
        shell.extend(["--noprofile", "--norc"].map(ToOwned::to_owned));
    }
    Ok(shell)
}

async fn run_file(
    step: &mut Running<'_>,
    script: &Script,
    shell: Vec<String>,
    file: &str,
) -> Result<TaskResult, StepError> {
    let mut argv = shell;
    argv.push(if step.planned.kind == Kind::PowerShell {
        command(file, step.flag("runScriptInSeparateScope"))
    } else {
        file.to_owned()
    });
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
    let (title, _) = title(step.planned.kind);
    let mut result = TaskResult::Succeeded;
    let problem = match ended.exit {
        Exit::Code(0) => None,
        Exit::Code(code) => Some(format!("{title} exited with code '{code}'.")),
        Exit::Signal(signal) => Some(format!("{title} was ended by signal {signal}.")),
    };
    if let Some(problem) = problem {
        step.record.error(&problem);
        result = TaskResult::Failed;
    }
    if script.fail_on_errors && !ended.errors.is_empty() {
        step.record.error(&format!(
            "{title} wrote one or more lines to the standard error stream."
        ));
        for line in &ended.errors {
            step.record.error(line);
        }
        result = TaskResult::Failed;
    }
    Ok(result)
}

async fn prepare(step: &mut Running<'_>) -> Result<Script, StepError> {
    let (body, shown, secret_body) = body(step).await?;
    let (environment, secret_environment) = environment(step);
    let sources = sources(step);
    let (directory, _) = step.input("workingDirectory");
    Ok(Script {
        body,
        shown,
        fail_on_errors: step.flag("failOnStderr"),
        directory: directory.map_or_else(|| sources.clone(), |path| rooted(&path, &sources)),
        environment,
        secret: secret_body || secret_environment,
    })
}

fn sources(step: &Running<'_>) -> String {
    let sources = step.job.variables.value("system.defaultworkingdirectory");
    sources.unwrap_or_default().to_owned()
}

fn rooted(path: &str, root: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{root}/{path}")
    }
}

/// What goes to the file, what is shown of it, and whether a secret is in it.
async fn body(step: &Running<'_>) -> Result<(String, Vec<String>, bool), StepError> {
    match step.planned.kind {
        Kind::PowerShell => power_shell(step).await,
        Kind::Bash if !is_inline(step) => {
            let (path, arguments, secret) = file(step).await?;
            let body = format!("exec bash '{}' {arguments}", path.replace('\'', r"'\''"));
            let body = body.trim_end().to_owned();
            let shown = shown(&body);
            Ok((body, shown, secret))
        }
        Kind::CmdLine => {
            let (script, secret) = required(step, "script")?;
            let is_path = !script.contains(['\n', '\r']) && script.len() < 4096;
            let path = rooted(&script, &sources(step));
            // A script that is nothing but a file's name is run in the shell's place, and so gets its signals.
            let is_file = is_path && step.job.link.look(&path).await? == FileKind::File;
            let body = if is_file {
                format!("exec {script}")
            } else {
                script
            };
            let shown = shown(&body);
            Ok((body, shown, secret))
        }
        _ => {
            let (script, secret) = required(step, "script")?;
            let shown = shown(&script);
            Ok((script, shown, secret))
        }
    }
}

async fn power_shell(step: &Running<'_>) -> Result<(String, Vec<String>, bool), StepError> {
    let preferences = preferences(|name| step.input(name).0).map_err(StepError::Failed)?;
    let (script, shown, secret) = if is_inline(step) {
        // An empty one is a script too, as for the task.
        let (script, secret) = step.input("script");
        (script.unwrap_or_default(), Vec::new(), secret)
    } else {
        let (path, arguments, secret) = file(step).await?;
        if !path.to_lowercase().ends_with(".ps1") {
            return Err(StepError::Failed(format!(
                "Invalid file path '{path}'. A path to a .ps1 file is required."
            )));
        }
        let call = call(&path, &arguments);
        (
            call.clone(),
            vec![format!("Formatted command: {call}")],
            secret,
        )
    };
    let content = PowerShell {
        script,
        preferences,
        show_warnings: step.flag("showWarnings"),
        ignore_exit_code: step.flag("ignoreLASTEXITCODE"),
    };
    Ok((content.content(), shown, secret))
}

fn shown(body: &str) -> Vec<String> {
    if body.lines().count() == 1 && !body.contains("##vso[") {
        vec!["Script contents:".to_owned(), body.trim_end().to_owned()]
    } else {
        Vec::new()
    }
}

/// A step without a target type that has no file is an inline one.
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

/// The file that a step names, taken from the sources, and its arguments.
async fn file(step: &Running<'_>) -> Result<(String, String, bool), StepError> {
    let (path, secret_path) = required(step, "filePath")?;
    let (arguments, secret_arguments) = step.input("arguments");
    let path = rooted(&path, &sources(step));
    if step.job.link.look(&path).await? != FileKind::File {
        return Err(StepError::Failed(format!(
            "Invalid file path '{path}': there is no such file."
        )));
    }
    let arguments = arguments.unwrap_or_default();
    Ok((path, arguments, secret_path || secret_arguments))
}

/// What the script finds beside the container's own environment: what the step maps, then every variable that is
/// not secret. The second part says whether a secret is among it.
fn environment(step: &mut Running<'_>) -> (Vec<(String, String)>, bool) {
    let variables = &step.job.variables;
    let mut secret = false;
    let mapped = step.planned.step.environment.iter().map(|(name, value)| {
        let expanded = variables.substitute(value.expose().trim());
        secret |= expanded.secret;
        (name.trim().to_owned(), expanded.text.expose().to_owned())
    });
    let mut environment = proxy::environment(step.job.facts.proxy.as_ref());
    environment.extend(mapped);
    environment.extend(variables.environment());
    environment.push((
        "agent.jobstatus".to_owned(),
        status_word(step.job.result).to_owned(),
    ));
    let (bash_env, secret_bash_env) = step.input("bashEnvValue");
    environment.extend(bash_env.map(|value| ("BASH_ENV".to_owned(), value)));
    secret |= secret_bash_env;
    for (name, value) in &environment {
        if is_too_long(name, value) {
            step.record.write(&format!(
                "##[warning]The variable {name} is not in the script's environment: its {} bytes are more than the system passes on.",
                value.len()
            ));
        }
    }
    environment.retain(|(name, value)| is_passable(name, value) && !is_too_long(name, value));
    (environment, secret)
}
