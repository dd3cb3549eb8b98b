//! What a task finds: an environment that everybody of its user could read, and what travels over a descriptor
//! into its own memory only. The names are those that `azure-pipelines-task-lib` looks for. Pure.

use super::TaskVariables;
use super::inputs::Inputs;
use crate::worker::variables::{Variables, environment_name, is_passable, is_too_long};
use dayfly_wire::job::{Endpoint, JobMessage, SYSTEM_CONNECTION, SecureFile};
use dayfly_wire::secret::SecretText;
use serde_json::json;
use std::collections::BTreeMap;

/// Variables that change how programs load code. Those that a step sets do not reach tasks, which hold secrets;
/// those of the pipeline, and those that the task's own step maps, do.
const LOADERS: [&str; 25] = [
    "LD_*",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_EXTRA_CA_CERTS",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "NODE_REPL_EXTERNAL_MODULE",
    "NODE_V8_COVERAGE",
    "NODE_REDIRECT_WARNINGS",
    "OPENSSL_*",
    "SSL_CERT_*",
    "GCONV_PATH",
    "BASH_ENV",
    "BASH_FUNC_*",
    "SHELLOPTS",
    "BASHOPTS",
    "PS4",
    "GIT_CONFIG*",
    "GIT_SSH*",
    "GIT_EXEC_PATH",
    "GIT_TEMPLATE_DIR",
    "GIT_TRACE*",
    "GIT_SSL_*",
    "GIT_ASKPASS",
    "SSH_ASKPASS",
    "GIT_PROXY_COMMAND",
];

/// What goes into a task's environment.
pub(crate) struct Sources<'a> {
    pub(crate) variables: &'a Variables,
    /// What the step maps: name, value, whether a secret went into it.
    pub(crate) mapped: Vec<(String, SecretText, bool)>,
    pub(crate) inputs: &'a Inputs,
    pub(crate) message: &'a JobMessage,
    pub(crate) task_variables: Option<&'a TaskVariables>,
    /// The job's token, and whether the task is given it.
    pub(crate) token: &'a SecretText,
    pub(crate) gives_token: bool,
    /// What every process of the job is told.
    pub(crate) surroundings: Vec<(String, String)>,
    /// `agent.jobstatus`.
    pub(crate) status: &'static str,
}

/// A task's environment.
pub(crate) struct TaskEnvironment {
    /// Visible to others of the same user.
    pub(crate) open: Vec<(String, String)>,
    /// Set by the preload, from a descriptor.
    pub(crate) closed: BTreeMap<String, SecretText>,
    /// Whether anything in `closed` was to be kept from steps that do not map it.
    pub(crate) secret: bool,
    /// Variables that a step set and that do not reach tasks.
    pub(crate) dropped: Vec<String>,
}

/// Puts a task's environment together; later entries win over earlier ones of the same name.
pub(crate) fn environment(sources: &Sources<'_>) -> TaskEnvironment {
    let mut environment = TaskEnvironment {
        open: sources.surroundings.clone(),
        closed: BTreeMap::new(),
        secret: sources.gives_token,
        dropped: Vec::new(),
    };
    environment.add_mapped(&sources.mapped);
    environment.add_variables(sources);
    for (name, value) in &sources.inputs.values {
        let name = format!("INPUT_{}", environment_name(name));
        environment.closed.insert(name, value.duplicate());
    }
    environment.add_endpoints(sources);
    environment.add_secure_files(sources);
    for (name, value) in sources.task_variables.iter().flat_map(|all| all.all()) {
        let name = format!("VSTS_TASKVARIABLE_{}", environment_name(name));
        environment.closed.insert(name, value.into());
    }
    // What the kernel or node cannot take would keep the program from starting.
    environment
        .open
        .retain(|(name, value)| is_passable(name, value) && !is_too_long(name, value));
    environment
        .closed
        .retain(|name, value| is_passable(name, value.expose()));
    environment
}

impl TaskEnvironment {
    fn add_mapped(&mut self, mapped: &[(String, SecretText, bool)]) {
        for (name, value, secret) in mapped {
            if *secret {
                self.secret = true;
                self.closed.insert(name.clone(), value.duplicate());
            } else {
                self.open.push((name.clone(), value.expose().to_owned()));
            }
        }
    }

    fn add_variables(&mut self, sources: &Sources<'_>) {
        let (mut open, mut secret) = (Vec::new(), Vec::new());
        for variable in sources.variables.all() {
            let name = variable.environment_name.clone();
            if variable.secret {
                let is_token = variable.value.contains(sources.token.expose());
                if is_token && !sources.gives_token {
                    continue;
                }
                self.secret = true;
                secret.push(variable.name);
                self.closed
                    .insert(format!("SECRET_{name}"), variable.value.into());
            } else if variable.by_step && is_loader(&name) {
                self.dropped.push(variable.name.to_owned());
            } else if is_too_long(&name, variable.value) {
                // No program can be started with it, but the task can be told.
                open.push(variable.name);
                self.closed.insert(name, variable.value.into());
            } else {
                open.push(variable.name);
                // A variable wins over what the step maps under the same name.
                self.closed.remove(&name);
                self.open.push((name, variable.value.to_owned()));
            }
        }
        self.push("agent.jobstatus", sources.status);
        self.push("VSTS_PUBLIC_VARIABLES", &json!(open).to_string());
        self.push("VSTS_SECRET_VARIABLES", &json!(secret).to_string());
    }

    fn add_endpoints(&mut self, sources: &Sources<'_>) {
        for endpoint in &sources.message.resources.endpoints {
            if endpoint.name.eq_ignore_ascii_case(SYSTEM_CONNECTION) {
                let key = SYSTEM_CONNECTION.to_uppercase();
                self.push(&format!("ENDPOINT_URL_{key}"), &endpoint.url);
                if sources.gives_token {
                    self.add_authorization(&key, endpoint);
                }
                continue;
            }
            let Some(key) = endpoint.id.as_ref().map(|id| id.to_lowercase()) else {
                continue;
            };
            if sources.inputs.endpoints.contains(&key) {
                self.push(&format!("ENDPOINT_URL_{key}"), &endpoint.url);
                self.add_data(&key, endpoint);
                self.add_authorization(&key, endpoint);
            }
        }
    }

    fn add_data(&mut self, key: &str, endpoint: &Endpoint) {
        self.push(
            &format!("ENDPOINT_DATA_{key}"),
            &json!(endpoint.data).to_string(),
        );
        for (name, value) in &endpoint.data {
            let name = environment_name(name);
            self.push(&format!("ENDPOINT_DATA_{key}_{name}"), value);
        }
    }

    fn add_authorization(&mut self, key: &str, endpoint: &Endpoint) {
        let Some(authorization) = &endpoint.authorization else {
            return;
        };
        self.secret = true;
        let mut close = |name: String, value: SecretText| {
            self.closed.insert(name, value);
        };
        let whole = json!({
            "parameters": authorization.parameters,
            "scheme": authorization.scheme,
        });
        close(format!("ENDPOINT_AUTH_{key}"), whole.to_string().into());
        let scheme = authorization.scheme.as_str().into();
        close(format!("ENDPOINT_AUTH_SCHEME_{key}"), scheme);
        for (name, value) in &authorization.parameters {
            let name = environment_name(name);
            close(
                format!("ENDPOINT_AUTH_PARAMETER_{key}_{name}"),
                value.duplicate(),
            );
        }
    }

    fn add_secure_files(&mut self, sources: &Sources<'_>) {
        let named = |file: &&SecureFile| {
            let mut ids = sources.inputs.secure_files.iter();
            ids.any(|id| id.eq_ignore_ascii_case(&file.id))
        };
        let files = &sources.message.resources.secure_files;
        for SecureFile { id, name, ticket } in files.iter().filter(named) {
            self.push(&format!("SECUREFILE_NAME_{id}"), name);
            if let Some(ticket) = ticket {
                self.secret = true;
                let name = format!("SECUREFILE_TICKET_{id}");
                self.closed.insert(name, ticket.duplicate());
            }
        }
    }

    fn push(&mut self, name: &str, value: &str) {
        self.open.push((name.to_owned(), value.to_owned()));
    }
}

fn is_loader(name: &str) -> bool {
    LOADERS.iter().any(|loader| match loader.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *loader,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "the.job.token";
    const SERVICE: &str = "11111111-1111-4111-8111-111111111111";
    const FILE: &str = "22222222-2222-4222-8222-222222222222";

    fn message() -> JobMessage {
        let nil = uuid::Uuid::nil();
        serde_json::from_value(json!({
            "plan": {"scopeIdentifier": nil, "planId": nil}, "timeline": {"id": nil},
            "jobId": nil, "requestId": 1,
            "resources": {
                "endpoints": [
                    {"name": "SystemVssConnection", "url": "https://s/", "authorization":
                        {"scheme": "OAuth", "parameters": {"AccessToken": TOKEN}}},
                    {"id": SERVICE, "name": "one", "url": "https://one/", "data": {"a.b": "c"},
                        "authorization": {"scheme": "Token", "parameters": {"apitoken": "t0ken"}}},
                    {"id": FILE, "name": "not named", "url": "https://two/"}],
                "secureFiles": [{"id": FILE, "name": "key.p12", "ticket": "tick3t"}]},
            "variables": {"pw": {"value": "hunter2", "isSecret": true}, "Build.Id": {"value": "7"},
                "tok": {"value": format!("Bearer {TOKEN}"), "isSecret": true}},
        }))
        .unwrap()
    }

    fn made(gives_token: bool, change: impl FnOnce(&mut Variables)) -> TaskEnvironment {
        let message = message();
        let mut variables = Variables::from_message(&message.variables);
        change(&mut variables);
        let inputs = Inputs {
            values: vec![("my file".to_owned(), "x".into())],
            endpoints: vec![SERVICE.to_owned()],
            secure_files: vec![FILE.to_owned()],
        };
        let mut task_variables = TaskVariables::default();
        task_variables.set("kept.over", "1");
        environment(&Sources {
            variables: &variables,
            mapped: vec![
                ("MAPPED".to_owned(), "m".into(), false),
                ("HIDDEN".to_owned(), "h".into(), true),
            ],
            inputs: &inputs,
            message: &message,
            task_variables: Some(&task_variables),
            token: &TOKEN.into(),
            gives_token,
            surroundings: Vec::new(),
            status: "Succeeded",
        })
    }

    fn open<'a>(made: &'a TaskEnvironment, name: &str) -> Option<&'a str> {
        let found = made.open.iter().rfind(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    fn closed<'a>(made: &'a TaskEnvironment, name: &str) -> Option<&'a str> {
        made.closed.get(name).map(SecretText::expose)
    }

    #[test]
    fn everything_that_the_library_looks_for_is_there() {
        let made = made(true, |_| {});
        for (name, value) in [
            ("MAPPED", "m"),
            ("BUILD_ID", "7"),
            ("ENDPOINT_URL_SYSTEMVSSCONNECTION", "https://s/"),
            (&format!("ENDPOINT_URL_{SERVICE}"), "https://one/"),
            (&format!("ENDPOINT_DATA_{SERVICE}_A_B"), "c"),
            (&format!("SECUREFILE_NAME_{FILE}"), "key.p12"),
            ("VSTS_PUBLIC_VARIABLES", r#"["Build.Id"]"#),
            ("VSTS_SECRET_VARIABLES", r#"["pw","tok"]"#),
            ("agent.jobstatus", "Succeeded"),
        ] {
            assert_eq!(open(&made, name), Some(value), "{name}");
        }
        for (name, value) in [
            ("HIDDEN", "h"),
            ("SECRET_PW", "hunter2"),
            ("INPUT_MY_FILE", "x"),
            (
                "ENDPOINT_AUTH_PARAMETER_SYSTEMVSSCONNECTION_ACCESSTOKEN",
                TOKEN,
            ),
            (
                &format!("ENDPOINT_AUTH_PARAMETER_{SERVICE}_APITOKEN"),
                "t0ken",
            ),
            (&format!("ENDPOINT_AUTH_SCHEME_{SERVICE}"), "Token"),
            (
                &format!("ENDPOINT_AUTH_{SERVICE}"),
                r#"{"parameters":{"apitoken":"t0ken"},"scheme":"Token"}"#,
            ),
            (&format!("SECUREFILE_TICKET_{FILE}"), "tick3t"),
            ("VSTS_TASKVARIABLE_KEPT_OVER", "1"),
        ] {
            assert_eq!(closed(&made, name), Some(value), "{name}");
        }
        assert!(made.secret);
    }

    #[test]
    fn no_secret_is_in_the_open_part() {
        let open = format!("{:?}", made(true, |_| {}).open);
        for secret in [TOKEN, "hunter2", "t0ken", "tick3t"] {
            assert!(!open.contains(secret), "{secret}");
        }
        let not_named = made(true, |_| {});
        assert_eq!(
            self::open(&not_named, &format!("ENDPOINT_URL_{FILE}")),
            None
        );
    }

    #[test]
    fn a_task_that_is_not_given_the_token_finds_it_nowhere() {
        let made = made(false, |_| {});
        for (name, value) in &made.closed {
            assert!(!value.expose().contains(TOKEN), "{name}");
        }
        assert_eq!(closed(&made, "SECRET_PW"), Some("hunter2"));
        assert_eq!(open(&made, "VSTS_SECRET_VARIABLES"), Some(r#"["pw"]"#));
        assert_eq!(
            open(&made, "ENDPOINT_URL_SYSTEMVSSCONNECTION"),
            Some("https://s/")
        );
    }

    #[test]
    fn what_a_step_sets_to_change_how_programs_load_code_does_not_reach_tasks() {
        let made = made(true, |variables| {
            for name in ["NODE_OPTIONS", "ld_preload", "HARMLESS", "HIDDEN"] {
                variables.set(name, "v", false, false).unwrap();
            }
        });
        assert_eq!(made.dropped, ["ld_preload", "NODE_OPTIONS"]);
        assert_eq!(open(&made, "NODE_OPTIONS"), None);
        assert_eq!(open(&made, "HARMLESS"), Some("v"));
        // The variable wins over the mapping.
        assert_eq!(
            (open(&made, "HIDDEN"), closed(&made, "HIDDEN")),
            (Some("v"), None)
        );
    }
}
