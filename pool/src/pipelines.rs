//! Pipelines: make, list, run; and their secret variables.

use crate::connect::Connection;
use crate::output::{self, Printed};
use crate::reach::{self, ReachArgs};
use anyhow::{Context, bail};
use clap::Subcommand;
use dayfly_wire::build::{
    BuildDefinition, BuildProcess, BuildRepository, DefinitionById, DefinitionReference,
    QueueBuild, YAML,
};
use dayfly_wire::ids::DefinitionId;
use dayfly_wire::secret::SecretText;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Read};

/// The longest value that is read.
const MAX_VALUE: u64 = 64 * 1024;
const DEFAULT_PROJECT: &str = "demo";

#[derive(Subcommand)]
pub(crate) enum PipelinesCommand {
    /// Make a pipeline of a file in a repository, and print its id. From now on pushes and schedules queue it, as its file says.
    Create {
        /// The pipeline's name.
        name: String,
        /// The repository.
        #[arg(long)]
        repository: String,
        /// The path of the file in the repository.
        #[arg(long, default_value = "azure-pipelines.yml")]
        file: String,
        /// The project.
        #[arg(long, default_value = DEFAULT_PROJECT)]
        project: String,
    },
    /// How far the tokens of a pipeline's jobs reach, on the service's database.
    Tokens(ReachArgs),
    /// List the pipelines, with why a push or a schedule did not queue one last time.
    List {
        /// The project.
        #[arg(long, default_value = DEFAULT_PROJECT)]
        project: String,
        #[command(flatten)]
        printed: Printed,
    },
    /// Queue a pipeline, and print the run's id.
    Run {
        /// The pipeline's name or id.
        pipeline: String,
        /// A branch, a tag, a ref or a commit; the repository's default branch when absent.
        #[arg(long = "ref")]
        reference: Option<String>,
        /// A value for a variable of the file.
        #[arg(long, value_name = "NAME=VALUE")]
        variable: Vec<String>,
        /// The project.
        #[arg(long, default_value = DEFAULT_PROJECT)]
        project: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum VariablesCommand {
    /// Set a secret variable of a pipeline to what standard input holds.
    Set(VariableArgs),
    /// Remove a secret variable of a pipeline.
    Delete(VariableArgs),
    /// List the names of a pipeline's secret variables. Nothing shows their values.
    List {
        /// The pipeline's name or id.
        pipeline: String,
        /// The project.
        #[arg(long, default_value = DEFAULT_PROJECT)]
        project: String,
        #[command(flatten)]
        printed: Printed,
    },
}

/// Which variable.
#[derive(clap::Args)]
pub(crate) struct VariableArgs {
    /// The pipeline's name or id.
    pipeline: String,
    /// The variable's name.
    name: String,
    /// The project.
    #[arg(long, default_value = DEFAULT_PROJECT)]
    project: String,
}

/// Does what `pipelines` says.
pub(crate) async fn run(command: PipelinesCommand) -> anyhow::Result<()> {
    // This one needs no service.
    let command = match command {
        PipelinesCommand::Tokens(args) => return reach::run(args).await,
        other => other,
    };
    let connection = Connection::from_environment()?;
    match command {
        PipelinesCommand::Tokens(_) => Ok(()),
        PipelinesCommand::Create {
            name,
            repository,
            file,
            project,
        } => create(&connection, &project, name, repository, file).await,
        PipelinesCommand::List { project, printed } => list(&connection, &project, printed).await,
        PipelinesCommand::Run {
            pipeline,
            reference,
            variable,
            project,
        } => queue(&connection, &project, &pipeline, reference, &variable).await,
    }
}

/// Does what `variables` says.
pub(crate) async fn run_variables(command: VariablesCommand) -> anyhow::Result<()> {
    let connection = Connection::from_environment()?;
    match command {
        VariablesCommand::Set(VariableArgs {
            pipeline,
            name,
            project,
        }) => set_variable(&connection, &project, &pipeline, &name).await,
        VariablesCommand::Delete(VariableArgs {
            pipeline,
            name,
            project,
        }) => delete_variable(&connection, &project, &pipeline, &name).await,
        VariablesCommand::List {
            pipeline,
            project,
            printed,
        } => variables(&connection, &project, &pipeline, printed).await,
    }
}

/// Makes a pipeline of a file in a repository, and prints its id.
async fn create(
    connection: &Connection,
    project: &str,
    name: String,
    repository: String,
    path: String,
) -> anyhow::Result<()> {
    let draft = BuildDefinition {
        reference: DefinitionReference {
            name: Some(name),
            ..DefinitionReference::default()
        },
        process: Some(BuildProcess {
            kind: YAML,
            yaml_filename: Some(path),
        }),
        repository: Some(BuildRepository {
            name: Some(repository),
            kind: Some("TfsGit".to_owned()),
            ..BuildRepository::default()
        }),
        ..BuildDefinition::default()
    };
    let made = connection.client.create_definition(project, &draft).await?;
    output::line(&made.reference.id.to_string())
}

/// A project's pipelines.
async fn list(connection: &Connection, project: &str, printed: Printed) -> anyhow::Result<()> {
    let pipelines = connection.client.definitions(project).await?;
    let header = ["ID", "NAME", "REPOSITORY", "FILE", "STATUS", "PROBLEM"];
    printed.list(&pipelines, &header, |pipeline| {
        let repository = pipeline.repository.as_ref();
        let process = pipeline.process.as_ref();
        let status = pipeline.reference.queue_status;
        let text = |text: Option<&String>| text.cloned().unwrap_or_default();
        vec![
            pipeline.reference.id.to_string(),
            text(pipeline.reference.name.as_ref()),
            text(repository.and_then(|repository| repository.name.as_ref())),
            text(process.and_then(|process| process.yaml_filename.as_ref())),
            status.map_or("", |status| status.as_str()).to_owned(),
            text(pipeline.problem.as_ref()),
        ]
    })
}

/// Queues a pipeline and prints the run's id.
async fn queue(
    connection: &Connection,
    project: &str,
    pipeline: &str,
    reference: Option<String>,
    variables: &[String],
) -> anyhow::Result<()> {
    let id = find(connection, project, pipeline).await?;
    let mut given = BTreeMap::new();
    for pair in variables {
        let (name, value) = pair
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .context("--variable takes NAME=VALUE, with an equals sign")?;
        given.insert(name, value);
    }
    let parameters = (!given.is_empty()).then(|| serde_json::to_string(&given));
    let asked = QueueBuild {
        definition: Some(DefinitionById { id }),
        source_branch: reference,
        parameters: parameters.transpose()?,
        ..QueueBuild::default()
    };
    let build = connection.client.queue_build(project, &asked).await?;
    output::remark(&format!("queued run {} of {pipeline}", build.build_number));
    output::line(&build.id.to_string())
}

/// Sets a secret variable; its value comes from standard input, so that it is in no history and no list of processes.
async fn set_variable(
    connection: &Connection,
    project: &str,
    pipeline: &str,
    name: &str,
) -> anyhow::Result<()> {
    let id = find(connection, project, pipeline).await?;
    let value = read_value()?;
    let client = &connection.client;
    client.set_secret_variable(project, id, name, value).await?;
    output::remark(&format!("set secret variable {name} of {pipeline}"));
    Ok(())
}

/// Removes a secret variable.
async fn delete_variable(
    connection: &Connection,
    project: &str,
    pipeline: &str,
    name: &str,
) -> anyhow::Result<()> {
    let id = find(connection, project, pipeline).await?;
    connection
        .client
        .delete_secret_variable(project, id, name)
        .await?;
    output::remark(&format!(
        "{pipeline} has no secret variable {name} any more"
    ));
    Ok(())
}

/// The names of a pipeline's secret variables.
async fn variables(
    connection: &Connection,
    project: &str,
    pipeline: &str,
    printed: Printed,
) -> anyhow::Result<()> {
    let id = find(connection, project, pipeline).await?;
    let names = connection.client.secret_variables(project, id).await?;
    if printed.is_json() {
        return output::json(&names);
    }
    for name in names {
        output::line(&name)?;
    }
    Ok(())
}

/// A pipeline by name or id.
async fn find(
    connection: &Connection,
    project: &str,
    pipeline: &str,
) -> anyhow::Result<DefinitionId> {
    let known = connection.client.definitions(project).await?;
    let wanted = pipeline.to_lowercase();
    known
        .iter()
        .map(|each| &each.reference)
        .find(|each| {
            let name = each.name.as_deref().unwrap_or_default();
            name.to_lowercase() == wanted || each.id.to_string() == wanted
        })
        .map(|each| each.id)
        .with_context(|| format!("there is no pipeline {pipeline:?} in project {project:?}"))
}

/// What standard input holds, without the line end that shells put there.
fn read_value() -> anyhow::Result<SecretText> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        output::remark("type the value, then a new line and Ctrl-D");
    }
    let mut text = String::new();
    let read = stdin.lock().take(MAX_VALUE + 1).read_to_string(&mut text);
    let value = SecretText::new(text);
    read.context("failed to read the value from standard input")?;
    let plain = value.expose();
    let trimmed = plain.strip_suffix('\n').unwrap_or(plain);
    let trimmed = trimmed.strip_suffix('\r').unwrap_or(trimmed);
    if trimmed.is_empty() || trimmed.len() as u64 > MAX_VALUE {
        bail!("the value must come on standard input and have 1 to {MAX_VALUE} bytes");
    }
    Ok(SecretText::new(trimmed.to_owned()))
}
