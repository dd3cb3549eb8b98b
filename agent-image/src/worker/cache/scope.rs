//! Whose cache entries a job may read, and whose it writes: project, pipeline and ref, as the service says them. Pure.
//!
//! Only the job message is asked: a step may change what variables of the job it likes.

use dayfly_wire::job::JobMessage;
use dayfly_wire::secret::SecretText;

/// The scopes of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scopes {
    pub(crate) project: String,
    pub(crate) pipeline: String,
    /// What is read, in this order. The first one is the job's own, and the only one that it writes.
    pub(crate) refs: Vec<String>,
}

/// The scopes of a job; `None` when it is of no pipeline or of no ref, so that nobody can say whom it would share with.
pub(crate) fn scopes(message: &JobMessage) -> Option<Scopes> {
    let value = |name: &str| {
        let mut variables = message.variables.iter();
        let (_, variable) = variables.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        let text = variable.value.as_ref().map(SecretText::expose)?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let repositories = &message.resources.repositories;
    let own = repositories
        .iter()
        .find(|it| it.alias.eq_ignore_ascii_case("self"));
    let reference = own.and_then(|own| own.properties.reference.clone());
    let branch = value("build.sourceBranch")
        .or(reference)
        .filter(|it| !it.is_empty())?;
    let pull_request = [
        value("system.pullRequest.sourceBranch")
            .filter(|_| !is_fork(value("system.pullRequest.isFork"))),
        value("system.pullRequest.targetBranch"),
    ];
    let default = own.and_then(|own| own.properties.default_branch.clone());
    let is_pull_request = branch.starts_with("refs/pull/");
    let mut refs = vec![branch];
    let others = pull_request
        .into_iter()
        .filter(|_| is_pull_request)
        .chain([default]);
    for other in others.flatten().map(full) {
        if !refs.contains(&other) {
            refs.push(other);
        }
    }
    Some(Scopes {
        project: message.plan.scope_identifier.to_string(),
        pipeline: value("system.definitionId").filter(|id| id != "0")?,
        refs,
    })
}

fn is_fork(value: Option<String>) -> bool {
    value.is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
}

/// Some services name branches without their beginning.
fn full(branch: String) -> String {
    if branch.starts_with("refs/") {
        branch
    } else {
        format!("refs/heads/{branch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(variables: &Value, reference: Option<&str>) -> Option<Scopes> {
        let nil = uuid::Uuid::nil();
        let repositories = reference.map(|reference| {
            json!([{"alias": "self", "properties": {"id": "r", "type": "Git", "name": "app",
                "url": "https://s/", "version": "0", "ref": reference, "defaultBranch": "refs/heads/main"}}])
        });
        let message = serde_json::from_value(json!({
            "plan": {"scopeIdentifier": nil, "planId": nil}, "timeline": {"id": nil},
            "jobId": nil, "requestId": 1, "resources": {"repositories": repositories},
            "variables": variables,
        }));
        scopes(&message.unwrap())
    }

    fn refs(variables: &[(&str, &str)]) -> Vec<String> {
        let mut all = json!({"system.definitionId": {"value": "7"}});
        for (name, value) in variables {
            all[*name] = json!({"value": value});
        }
        of(&all, Some("refs/heads/x")).unwrap().refs
    }

    #[test]
    fn a_branch_reads_itself_and_the_default_branch() {
        assert_eq!(refs(&[]), ["refs/heads/x", "refs/heads/main"]);
        let main = ("Build.SourceBranch", "refs/heads/main");
        assert_eq!(refs(&[main]), ["refs/heads/main"]);
    }

    #[test]
    fn a_pull_request_writes_its_own_scope_and_reads_its_target_s() {
        let merged = ("build.sourceBranch", "refs/pull/5/merge");
        let source = ("system.pullRequest.sourceBranch", "refs/heads/topic");
        let target = ("System.PullRequest.TargetBranch", "release");
        let all = refs(&[merged, source, target]);
        let expected = [
            "refs/pull/5/merge",
            "refs/heads/topic",
            "refs/heads/release",
            "refs/heads/main",
        ];
        assert_eq!(all, expected);
        let fork = refs(&[
            merged,
            source,
            target,
            ("system.pullRequest.isFork", "True"),
        ]);
        assert!(!fork.contains(&"refs/heads/topic".to_owned()), "{fork:?}");
        // What a pipeline calls so without being one is not believed.
        assert_eq!(refs(&[source, target]), ["refs/heads/x", "refs/heads/main"]);
    }

    #[test]
    fn a_job_of_no_pipeline_or_no_ref_has_no_scope() {
        assert_eq!(of(&json!({}), Some("refs/heads/x")), None);
        assert_eq!(
            of(
                &json!({"system.definitionId": {"value": "0"}}),
                Some("refs/heads/x")
            ),
            None
        );
        assert_eq!(
            of(&json!({"system.definitionId": {"value": "7"}}), None),
            None
        );
    }
}
