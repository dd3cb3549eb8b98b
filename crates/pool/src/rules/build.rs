//! Runs and pipelines as the documents of the Build REST area.

use super::access::identity;
use super::entities::{Definition, Plan, Project, Repository, Run};
use super::refusal::Refusal;
use dayfly_wire::build::{
    AgentQueue, Build, BuildDefinition, BuildLinks, BuildLog, BuildPlan, BuildProcess, BuildRecord,
    BuildRepository, BuildTimeline, DefinitionKind, DefinitionReference, Link, PoolReference,
    ProjectReference, YAML,
};
use dayfly_wire::ids::{BuildId, DefinitionId, LogId, PoolId, ProjectId};
use dayfly_wire::log::LogReference;
use dayfly_wire::timeline::Timeline;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// The folder that every pipeline is in.
const TOP: &str = "\\";
/// How Azure DevOps calls a git repository of its own.
const GIT: &str = "TfsGit";
/// The kind of every log.
const CONTAINER: &str = "Container";
const MAX_NUMBER: usize = 255;

/// A number that Azure DevOps would take as well.
pub fn check_number(number: &str) -> Result<(), Refusal> {
    let bad = |c: char| c.is_control() || "\"/:<>\\|?@*".contains(c);
    let is_long = number.chars().count() > MAX_NUMBER;
    if number.trim().is_empty() || is_long || number.ends_with('.') || number.chars().any(bad) {
        return Err(Refusal::invalid(format!(
            "buildNumber: 1 to {MAX_NUMBER} characters are needed, none of them a control character or one of \" / : < > \\ | ? @ *, and no dot at the end"
        )));
    }
    Ok(())
}

/// A run as a document; `base` is the service's URL with the collection.
pub fn run(run: &Run, base: &str) -> Build {
    let plan = &run.plan;
    let url = build_url(plan.project, plan.build, base);
    let identity = identity(&run.requested_by);
    let project = project_reference(plan.project, &plan.project_name, base);
    let orchestration_plan = BuildPlan { plan_id: plan.id };
    Build {
        links: BuildLinks {
            own: Link { href: url.clone() },
            timeline: Link {
                href: format!("{url}/timeline"),
            },
        },
        id: plan.build,
        build_number: plan.build_number.clone(),
        status: run.status,
        result: run.result,
        reason: run.reason,
        queue_time: Some(run.queued_at),
        start_time: run.started_at,
        finish_time: run.finished_at,
        last_changed_date: Some(last_change(run)),
        uri: format!("vstfs:///Build/Build/{}", plan.build),
        definition: DefinitionReference {
            id: plan.definition,
            name: Some(plan.definition_name.clone()),
            path: Some(TOP.to_owned()),
            kind: Some(DefinitionKind::Build),
            url: Some(definition_url(plan.project, plan.definition, base)),
            uri: Some(definition_uri(plan.definition)),
            project: Some(project.clone()),
            ..DefinitionReference::default()
        },
        project,
        source_branch: run.source.as_ref().and_then(|source| source.branch.clone()),
        source_version: run.source.as_ref().map(|source| source.version.clone()),
        parameters: run.given.as_ref().and_then(parameters),
        repository: source_repository(run, base),
        queue: queue(run.pool, &run.pool_name, plan.project),
        priority: "normal".to_owned(),
        requested_by: identity.clone(),
        requested_for: identity,
        plans: vec![orchestration_plan.clone()],
        orchestration_plan,
        logs: BuildLog {
            id: LogId(0),
            kind: CONTAINER.to_owned(),
            url: format!("{url}/logs"),
            created_on: None,
            last_changed_on: None,
            line_count: None,
        },
        keep_forever: run.keep_forever,
        retained_by_release: false,
        tags: Vec::new(),
        url,
    }
}

/// What was given for variables, as clients give it: the text of a JSON object.
fn parameters(given: &BTreeMap<String, String>) -> Option<String> {
    let is_empty = given.is_empty();
    serde_json::to_string(given).ok().filter(|_| !is_empty)
}

fn last_change(run: &Run) -> Timestamp {
    let dates = [run.started_at, run.cancelled_at, run.finished_at];
    dates
        .into_iter()
        .flatten()
        .fold(run.queued_at, Timestamp::max)
}

fn source_repository(run: &Run, base: &str) -> Option<BuildRepository> {
    let source = run.source.as_ref()?;
    let project = &run.plan.project_name;
    Some(BuildRepository {
        id: Some(source.repository.to_string()),
        name: Some(source.repository_name.clone()),
        kind: Some(GIT.to_owned()),
        url: Some(format!("{base}/{project}/_git/{}", source.repository_name)),
        default_branch: None,
    })
}

/// A pool as a project sees it.
pub fn queue(pool: PoolId, name: &str, project: ProjectId) -> AgentQueue {
    AgentQueue {
        id: pool.0,
        name: name.to_owned(),
        project_id: Some(project),
        pool: Some(PoolReference {
            id: pool,
            name: name.to_owned(),
            is_hosted: false,
            pool_type: "automation".to_owned(),
        }),
    }
}

/// A project as a document.
pub fn project(project: &Project, base: &str) -> ProjectReference {
    ProjectReference {
        last_update_time: Some(project.created_at),
        ..project_reference(project.id, &project.name, base)
    }
}

fn project_reference(id: ProjectId, name: &str, base: &str) -> ProjectReference {
    ProjectReference {
        id,
        name: name.to_owned(),
        url: format!("{base}/_apis/projects/{id}"),
        state: "wellFormed".to_owned(),
        revision: 1,
        visibility: "private".to_owned(),
        last_update_time: None,
    }
}

/// A pipeline as a document.
pub fn definition(definition: &Definition, base: &str) -> BuildDefinition {
    let file = definition.file.as_ref();
    BuildDefinition {
        reference: DefinitionReference {
            id: definition.id,
            name: Some(definition.name.clone()),
            path: Some(TOP.to_owned()),
            kind: Some(DefinitionKind::Build),
            queue_status: Some(definition.queue_status),
            revision: Some(definition.revision),
            url: Some(definition_url(definition.project.id, definition.id, base)),
            uri: Some(definition_uri(definition.id)),
            project: Some(project(&definition.project, base)),
            created_date: Some(definition.created_at),
        },
        process: file.map(|file| BuildProcess {
            kind: YAML,
            yaml_filename: Some(file.path.clone()),
        }),
        repository: file.map(|file| repository(&file.repository, base)),
        problem: definition.problem.clone(),
    }
}

fn repository(repository: &Repository, base: &str) -> BuildRepository {
    BuildRepository {
        id: Some(repository.id.to_string()),
        name: Some(repository.name.clone()),
        kind: Some(GIT.to_owned()),
        url: Some(crate::message::clone_url(base, repository)),
        default_branch: Some(repository.default_branch.clone()),
    }
}

fn build_url(project: ProjectId, build: BuildId, base: &str) -> String {
    format!("{base}/{project}/_apis/build/Builds/{build}")
}

fn definition_url(project: ProjectId, definition: DefinitionId, base: &str) -> String {
    format!("{base}/{project}/_apis/build/Definitions/{definition}")
}

fn definition_uri(definition: DefinitionId) -> String {
    format!("vstfs:///Build/Definition/{definition}")
}

/// A stored log as a document.
pub fn log(log: &LogReference, plan: &Plan, base: &str) -> BuildLog {
    let build = build_url(plan.project, plan.build, base);
    BuildLog {
        id: log.id,
        kind: CONTAINER.to_owned(),
        url: format!("{build}/logs/{}", log.id),
        created_on: log.created_on,
        last_changed_on: log.last_changed_on,
        line_count: Some(log.line_count),
    }
}

/// A timeline as a document.
pub fn timeline(timeline: Timeline, plan: &Plan, base: &str) -> BuildTimeline {
    let records = timeline.records.unwrap_or_default();
    let build = build_url(plan.project, plan.build, base);
    BuildTimeline {
        id: timeline.id,
        change_id: timeline.change_id,
        url: format!("{build}/Timeline/{}", timeline.id),
        last_changed_on: records
            .iter()
            .filter_map(|record| record.last_modified)
            .max(),
        records: records
            .into_iter()
            .map(|mut record| BuildRecord {
                log: record.log.take().map(|stored| BuildLog {
                    created_on: None,
                    last_changed_on: None,
                    line_count: None,
                    ..log(&stored, plan, base)
                }),
                record,
                attempt: 1,
                previous_attempts: Vec::new(),
            })
            .collect(),
    }
}
