//! Containers that a job asks for. A pod's container cannot be exchanged when it runs, so a job is served when it asks for
//! the image that the pod was started with, and refused otherwise, before its first step. Pure.

use super::plan::display_name;
use super::variables::Variables;
use dayfly_wire::job::{JobMessage, Step};

/// Where a step runs when it says so; here that is where the job runs.
const HOST: &str = "host";

/// What a container says beside its image and is not looked at; for a warning.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ignored {
    pub(crate) container: String,
    pub(crate) settings: Vec<String>,
}

/// Whether the job can run in this pod, whose container has the image `own`; the error says what to set.
pub(crate) fn check(
    message: &JobMessage,
    steps: &[Step],
    variables: &Variables,
    own: Option<&str>,
) -> Result<Option<Ignored>, String> {
    if let Some(service) = message.job_sidecar_containers.keys().next() {
        return Err(format!(
            "The job asks for the service container '{service}', and containers beside the job's are those of the pod: add it to the AgentPool's template (an init container with restartPolicy Always)."
        ));
    }
    for step in steps.iter().filter(|step| step.enabled) {
        check_step(message, step)?;
    }
    let Some(alias) = message.job_container.as_deref().filter(|it| !it.is_empty()) else {
        return Ok(None);
    };
    let found = find(message, alias);
    let container = found.ok_or_else(|| {
        format!("The job asks for the container '{alias}', of which the service says nothing.")
    })?;
    let wanted = variables.substitute(container.image().unwrap_or_default());
    let wanted = wanted.text.expose();
    match own {
        Some(own) if is_same(wanted, own) => Ok(ignored(message, alias)),
        Some(own) => Err(format!(
            "The job asks for the container image '{wanted}', and this pod runs '{own}': set the image of the container 'job' in the AgentPool's template to '{wanted}', or send the job to a pool that has it."
        )),
        None => Err(format!(
            "The job asks for the container image '{wanted}', and this agent was not told which one it runs: set DAYFLY_JOB_IMAGE, as the operator does."
        )),
    }
}

fn check_step(message: &JobMessage, step: &Step) -> Result<(), String> {
    let target = step.target.as_ref();
    let wanted = target.and_then(|target| target.target.as_deref());
    let Some(wanted) = wanted.filter(|it| !it.is_empty() && !it.eq_ignore_ascii_case(HOST)) else {
        return Ok(());
    };
    let own = message.job_container.as_deref();
    if own.is_some_and(|own| own.eq_ignore_ascii_case(wanted)) {
        return Ok(());
    }
    Err(format!(
        "The step '{}' asks for the container '{wanted}', and steps run in the job's own container only: make it a job of its own, in a pool whose AgentPool's template has that image.",
        display_name(step)
    ))
}

fn find<'a>(message: &'a JobMessage, alias: &str) -> Option<&'a dayfly_wire::job::Container> {
    let mut containers = message.resources.containers.iter();
    containers.find(|container| container.alias.eq_ignore_ascii_case(alias))
}

fn ignored(message: &JobMessage, alias: &str) -> Option<Ignored> {
    let settings: Vec<String> = find(message, alias)?
        .properties
        .iter()
        .filter(|(name, value)| !name.eq_ignore_ascii_case("image") && !is_nothing(value))
        .map(|(name, _)| name.clone())
        .collect();
    (!settings.is_empty()).then(|| Ignored {
        container: alias.to_owned(),
        settings,
    })
}

fn is_nothing(value: &serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(_) => false,
    }
}

/// Whether two references name one image: what Docker fills in where it is left out is filled in.
fn is_same(wanted: &str, own: &str) -> bool {
    let (wanted, own) = (Reference::read(wanted), Reference::read(own));
    let same_content = match (wanted.digest, own.digest) {
        (Some(wanted), Some(own)) => wanted == own,
        (Some(_), None) => false,
        (None, _) => wanted.tag == own.tag,
    };
    wanted.name == own.name && same_content
}

struct Reference<'a> {
    name: String,
    tag: &'a str,
    digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    fn read(text: &'a str) -> Self {
        let (rest, digest) = match text.trim().split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text.trim(), None),
        };
        // A colon before the last slash is that of a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (rest, "latest"),
        };
        let (first, path) = name.split_once('/').unwrap_or(("", name));
        let has_registry = first.contains(['.', ':']) || first == "localhost";
        let name = if has_registry && first != "index.docker.io" && first != "docker.io" {
            name.to_owned()
        } else {
            let path = if has_registry { path } else { name };
            let library = if path.contains('/') { "" } else { "library/" };
            format!("docker.io/{library}{path}")
        };
        Self { name, tag, digest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn asked(more: &Value, own: Option<&str>) -> Result<Option<Ignored>, String> {
        let nil = uuid::Uuid::nil();
        let mut message = json!({
            "plan": {"scopeIdentifier": nil, "planId": nil}, "timeline": {"id": nil}, "jobId": nil, "requestId": 1,
            "variables": {"version": {"value": "20"}},
            "resources": {"containers": [{"alias": "tools", "properties": {"image": "node:$(version)"}},
                {"alias": "busy", "properties": {"image": "node:20", "ports": ["80"], "options": "", "mapDockerSocket": true}}]},
        });
        for (name, value) in more.as_object().unwrap() {
            message[name] = value.clone();
        }
        let message: JobMessage = serde_json::from_value(message).unwrap();
        let variables = Variables::from_message(&message.variables);
        check(&message, &message.steps, &variables, own)
    }

    fn step(target: &str, enabled: bool) -> Value {
        json!({"steps": [{"id": uuid::Uuid::nil(), "displayName": "Odd", "enabled": enabled,
            "reference": {"id": uuid::Uuid::nil()}, "target": {"target": target}}], "jobContainer": "tools"})
    }

    #[test]
    fn a_job_is_served_in_the_image_that_the_pod_runs() {
        let tools = json!({"jobContainer": "Tools"});
        for own in [
            "node:20",
            "docker.io/library/node:20",
            "library/node:20@sha256:ab",
        ] {
            assert_eq!(asked(&tools, Some(own)), Ok(None), "{own}");
        }
        for own in [
            "node:20-slim",
            "node",
            "example.org/node:20",
            "example.org:5000/library/node:20",
        ] {
            let refused = asked(&tools, Some(own)).unwrap_err();
            assert!(
                refused.contains(&format!("'node:20', and this pod runs '{own}'")),
                "{refused}"
            );
        }
        assert!(
            asked(&tools, None)
                .unwrap_err()
                .contains("DAYFLY_JOB_IMAGE")
        );
        assert_eq!(asked(&json!({}), None), Ok(None));
        let unknown = asked(&json!({"jobContainer": "x"}), Some("node:20"));
        assert!(unknown.unwrap_err().contains("says nothing"));
    }

    #[test]
    fn what_else_a_container_says_is_named() {
        let ignored = asked(&json!({"jobContainer": "busy"}), Some("node:20"));
        let settings = ignored.unwrap().unwrap().settings;
        assert_eq!(settings, ["mapDockerSocket", "ports"]);
    }

    #[test]
    fn a_step_runs_where_the_job_does() {
        for target in ["host", "", "TOOLS"] {
            assert_eq!(
                asked(&step(target, true), Some("node:20")),
                Ok(None),
                "{target}"
            );
        }
        assert_eq!(asked(&step("busy", false), Some("node:20")), Ok(None));
        let refused = asked(&step("busy", true), Some("node:20")).unwrap_err();
        assert!(
            refused.contains("The step 'Odd' asks for the container 'busy'"),
            "{refused}"
        );
    }

    #[test]
    fn service_containers_belong_into_the_pod() {
        let refused = asked(&json!({"jobSidecarContainers": {"db": "busy"}}), None).unwrap_err();
        assert!(refused.contains("'db'"), "{refused}");
    }

    #[test]
    fn references_are_read_as_docker_reads_them() {
        for (one, other, same) in [
            ("debian", "docker.io/library/debian:latest", true),
            ("me/tools:1", "index.docker.io/me/tools:1", true),
            ("r.example:5000/a", "r.example:5000/a:latest", true),
            ("a:1@sha256:x", "a:2@sha256:x", true),
            ("a@sha256:x", "a:1", false),
            ("a:1", "b:1", false),
        ] {
            assert_eq!(is_same(one, other), same, "{one} {other}");
        }
    }
}
