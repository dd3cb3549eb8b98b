//! Pipelines: what somebody may make of one, and which a list call wants.

use super::build_filter::like;
use super::entities::{Definition, PipelineFile, Repository};
use super::refusal::{Kind, Refusal};
use dayfly_wire::build::{BuildProcess, DefinitionDraft, QueueStatus, YAML};
use dayfly_wire::ids::DefinitionId;

const MAX_NAME: usize = 200;
const MAX_PATH: usize = 400;
/// How a git repository of the service is called.
const GIT: &str = "TfsGit";

/// The file that a draft names: its repository, by id or name, and its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// By id or name.
    pub repository: String,
    /// Its path in there.
    pub path: String,
}

/// The name in a draft.
pub fn checked_name(draft: &DefinitionDraft) -> Result<String, Refusal> {
    let name = draft.name.as_deref().unwrap_or_default().trim();
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(Refusal::invalid(format!(
            "name: a pipeline's name has 1 to {MAX_NAME} characters, none of them a control character"
        )));
    }
    let path = draft.path.as_deref().unwrap_or_default();
    if !path.trim_matches(['\\', '/']).is_empty() {
        return Err(Refusal::invalid(format!(
            "path: there is no folder {path:?}; pipelines are in the topmost one"
        )));
    }
    Ok(name.to_owned())
}

/// The file in a draft.
pub fn named_file(draft: &DefinitionDraft) -> Result<NamedFile, Refusal> {
    let path = yaml_path(draft.process.as_ref())?;
    let repository = draft.repository.as_ref().ok_or_else(|| {
        Refusal::invalid("repository: name the repository that the pipeline's file is in")
    })?;
    if let Some(kind) = &repository.kind
        && !kind.eq_ignore_ascii_case(GIT)
    {
        return Err(Refusal::invalid(format!(
            "repository.type: {kind:?} is not known; repositories are of this service, {GIT:?}"
        )));
    }
    let named = [&repository.id, &repository.name];
    let named = named.into_iter().flatten().find(|text| !text.is_empty());
    Ok(NamedFile {
        repository: named
            .ok_or_else(|| Refusal::invalid("repository: give its id or its name"))?
            .clone(),
        path,
    })
}

fn yaml_path(process: Option<&BuildProcess>) -> Result<String, Refusal> {
    let named = process
        .filter(|process| process.kind == YAML)
        .and_then(|process| process.yaml_filename.as_deref());
    let named = named.ok_or_else(|| {
        Refusal::invalid(format!(
            "process: a pipeline is a file; give {{\"type\": {YAML}, \"yamlFilename\": ...}}"
        ))
    })?;
    let path = named.trim_start_matches('/');
    let bad = |part: &str| part.is_empty() || part == "." || part == "..";
    if path.len() > MAX_PATH || path.split('/').any(bad) || path.chars().any(char::is_control) {
        return Err(Refusal::invalid(format!(
            "process.yamlFilename: {named:?} is no path of a file in a repository"
        )));
    }
    Ok(path.to_owned())
}

/// Applies a draft. One that says of which revision it is must say the present one.
pub fn change(
    definition: &mut Definition,
    draft: &DefinitionDraft,
    repository: Repository,
) -> Result<(), Refusal> {
    if let Some(revision) = draft.revision
        && revision != definition.revision
    {
        return Err(Refusal::new(
            Kind::Exists,
            format!(
                "pipeline {} has revision {}, not {revision}: read it again",
                definition.id, definition.revision
            ),
        ));
    }
    definition.name = checked_name(draft)?;
    definition.file = Some(PipelineFile {
        repository,
        path: named_file(draft)?.path,
    });
    definition.queue_status = queue_status(draft).unwrap_or(definition.queue_status);
    definition.revision += 1;
    Ok(())
}

/// Whether the pipeline of a draft may be queued; none when the draft does not say.
pub fn queue_status(draft: &DefinitionDraft) -> Option<QueueStatus> {
    let said = draft.queue_status;
    said.filter(|status| *status != QueueStatus::Other)
}

/// Which pipelines are wanted. What is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefinitionFilter {
    /// With this name; a `*` at the end stands for anything.
    pub name: Option<String>,
    /// One of these.
    pub ids: Option<Vec<i64>>,
    /// Whose file is in this repository, by id or name.
    pub repository: Option<String>,
    /// Whose file is at this path.
    pub path: Option<String>,
    /// By name, the last one first.
    pub descending: bool,
    /// At most so many.
    pub most: usize,
    /// Those after this one.
    pub after: Option<DefinitionId>,
}

impl DefinitionFilter {
    /// The wanted ones of a project's pipelines, and whether there are more.
    pub fn select(&self, mut all: Vec<Definition>) -> (Vec<Definition>, bool) {
        all.sort_by_key(|definition| definition.name.to_lowercase());
        if self.descending {
            all.reverse();
        }
        if let Some(after) = self.after {
            let place = all.iter().position(|definition| definition.id == after);
            all.drain(..place.map_or(0, |place| place + 1));
        }
        all.retain(|definition| self.matches(definition));
        let more = all.len() > self.most;
        all.truncate(self.most);
        (all, more)
    }

    fn matches(&self, definition: &Definition) -> bool {
        let file = definition.file.as_ref();
        self.name
            .as_ref()
            .is_none_or(|name| like(&definition.name, name))
            && self
                .ids
                .as_ref()
                .is_none_or(|ids| ids.contains(&definition.id.0))
            && self.path.as_ref().is_none_or(|path| {
                file.is_some_and(|file| file.path == path.trim_start_matches('/'))
            })
            && self.repository.as_ref().is_none_or(|wanted| {
                file.is_some_and(|file| {
                    wanted.eq_ignore_ascii_case(&file.repository.id.to_string())
                        || wanted.eq_ignore_ascii_case(&file.repository.name)
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::at;
    use super::*;
    use crate::rules::entities::Project;
    use dayfly_wire::ids::ProjectId;
    use uuid::Uuid;

    fn draft(text: serde_json::Value) -> DefinitionDraft {
        serde_json::from_value(text).unwrap()
    }

    fn definition(id: i64, name: &str) -> Definition {
        Definition {
            id: DefinitionId(id),
            project: Project {
                id: ProjectId(Uuid::from_u128(3)),
                name: "demo".to_owned(),
                created_at: at(0),
            },
            name: name.to_owned(),
            file: None,
            queue_status: QueueStatus::Enabled,
            revision: 1,
            problem: None,
            created_at: at(0),
        }
    }

    #[test]
    fn a_draft_names_a_file_in_a_repository() {
        let good = draft(serde_json::json!({
            "name": "ci", "process": {"type": 2, "yamlFilename": "/ci/main.yml"},
            "repository": {"type": "tfsgit", "name": "app"},
        }));
        let file = named_file(&good).unwrap();
        assert_eq!(
            (file.repository.as_str(), file.path.as_str()),
            ("app", "ci/main.yml")
        );
        for (member, value) in [
            ("process", serde_json::json!({"type": 1})),
            (
                "process",
                serde_json::json!({"type": 2, "yamlFilename": "../secret"}),
            ),
            (
                "repository",
                serde_json::json!({"type": "GitHub", "name": "app"}),
            ),
            ("repository", serde_json::json!({})),
        ] {
            let mut text = serde_json::to_value(&good).unwrap();
            text[member] = value;
            let refusal = named_file(&draft(text)).unwrap_err();
            assert!(refusal.message.starts_with(member), "{refusal}");
        }
    }

    #[test]
    fn pages_go_on_after_the_last_one() {
        let all = || vec![definition(1, "b"), definition(2, "A"), definition(3, "c")];
        let names = |filter: &DefinitionFilter| {
            let (page, more) = filter.select(all());
            (
                page.into_iter().map(|each| each.name).collect::<Vec<_>>(),
                more,
            )
        };
        let mut filter = DefinitionFilter {
            most: 2,
            ..DefinitionFilter::default()
        };
        assert_eq!(names(&filter), (vec!["A".to_owned(), "b".to_owned()], true));
        filter.after = Some(DefinitionId(1));
        assert_eq!(names(&filter), (vec!["c".to_owned()], false));
        filter.descending = true;
        assert_eq!(names(&filter), (vec!["A".to_owned()], false));
        filter.name = Some("b*".to_owned());
        filter.after = None;
        assert_eq!(names(&filter), (vec!["b".to_owned()], false));
    }
}
