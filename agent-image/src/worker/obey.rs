//! What a step's commands do. Whatever they make the agent keep is bounded: output is a stranger's.

use super::command_effects::{Effect, EndpointPart, SetEndpoint, SetVariable, interpret};
use super::command_uploads::Upload;
use super::commands::Command;
use super::mask::Added;
use super::restrictions::Restrictions;
use super::result::merge;
use super::step::Running;
use super::variables::SetError;
use dayfly_wire::event::TaskResult;
use dayfly_wire::job::{EndpointAuthorization, SYSTEM_CONNECTION};
use dayfly_wire::timeline::{Record, RecordVariable};
use std::time::Duration;
use tokio::time::Instant;

/// How long a process may still run that said that its step is done; it is not ended.
const OVER_AFTER: Duration = Duration::from_secs(5);
/// How much the output of one step may ask to send: how many things, and what naming them comes to.
const MOST_UPLOADS: usize = 1000;
const MOST_UPLOAD_TEXT: usize = 4 << 20;
/// What the names and values of one step's output variables come to at most: they travel in its record.
const MOST_OUTPUT: usize = 512 << 10;
/// Directories that steps put before `PATH`, and how long each may be.
const MOST_DIRECTORIES: usize = 200;
const LONGEST_DIRECTORY: usize = 4096;
/// Changes of service connections in a job, and how long a value may be.
const MOST_CHANGES: usize = 1000;
const LONGEST_CHANGE: usize = 64 << 10;

impl Running<'_> {
    /// Obeys a command, unless the step or its task says that its output may not give it.
    pub(crate) fn consider(&mut self, line: &str, command: Command) {
        if let Some(refusal) = self.refusal(&command) {
            return self.record.warning(&refusal);
        }
        let sources = self.job.variables.value("build.repository.localpath");
        let effect = interpret(command, sources.unwrap_or_default());
        let is_debug = matches!(effect, Effect::Debug(_));
        self.obey(effect);
        if !is_debug {
            self.record.debug(&format!("Processed: {line}"));
        }
    }

    fn refusal(&self, command: &Command) -> Option<String> {
        let target = self.planned.step.target.as_ref();
        let of_task = self.task().map(|task| &task.definition.restrictions);
        let of_step = Restrictions::of_step(target);
        let all = [Some(&of_step), of_task].into_iter().flatten();
        all.filter_map(|restrictions| restrictions.refusal(command))
            .next()
    }

    fn obey(&mut self, effect: Effect) {
        match effect {
            Effect::SetVariable(variable) => self.set_variable(&variable),
            Effect::SetTaskVariable {
                name,
                value,
                secret,
            } => self.set_task_variable(&name, &value, secret),
            Effect::SetEndpoint(change) => self.set_endpoint(change),
            Effect::AddSecret(secret) => self.add_secret(&secret),
            Effect::Issue {
                kind,
                message,
                data,
            } => self.record.issue(kind, &message, data),
            Effect::Progress { percent, operation } => {
                self.percent = self.percent.max(percent);
                self.record.update(Record {
                    percent_complete: Some(self.percent),
                    current_operation: Some(operation).filter(|text| !text.is_empty()),
                    ..Record::default()
                });
            }
            Effect::Upload(upload) => self.upload_later(upload),
            Effect::Complete {
                result,
                message,
                done,
            } => self.complete(result, message, done),
            Effect::PrependPath(directory) => self.prepend(directory),
            Effect::Debug(text) => self.record.debug(&text),
            Effect::Warn(text) => self.record.warning(&text),
            Effect::Fail(text) => self.fail(&text),
        }
    }

    /// A command that cannot be obeyed fails the step, however its process ends.
    pub(crate) fn fail(&mut self, text: &str) {
        self.record.error(text);
        self.command_failed = true;
    }

    fn complete(&mut self, result: TaskResult, message: String, done: bool) {
        self.said = Some(merge(self.said, result));
        if done {
            self.over = Some(Instant::now() + OVER_AFTER);
        }
        // The library of tasks gives the same text as an issue.
        if result == TaskResult::Failed && !message.is_empty() && self.task().is_none() {
            self.record.error(&message);
        }
        self.record.update(Record {
            current_operation: Some(message).filter(|text| !text.is_empty()),
            ..Record::default()
        });
    }

    fn prepend(&mut self, directory: String) {
        let known = &mut self.job.prepend_path;
        known.retain(|known| *known != directory);
        if known.len() >= MOST_DIRECTORIES || directory.len() > LONGEST_DIRECTORY {
            return self.fail(&format!(
                "A job puts at most {MOST_DIRECTORIES} directories before PATH, each of at most {LONGEST_DIRECTORY} bytes."
            ));
        }
        known.push(directory);
    }

    fn upload_later(&mut self, upload: Upload) {
        if let Upload::BuildNumber(number) = &upload {
            self.job.variables.set_system("build.buildNumber", number);
        }
        let text: usize = self.uploads.iter().map(Upload::weight).sum();
        if self.uploads.len() >= MOST_UPLOADS || text + upload.weight() > MOST_UPLOAD_TEXT {
            return self.fail(&format!(
                "The output of a step asks for at most {MOST_UPLOADS} uploads, named in {MOST_UPLOAD_TEXT} bytes."
            ));
        }
        self.uploads.push(upload);
    }

    fn set_task_variable(&mut self, name: &str, value: &str, secret: bool) {
        if secret {
            self.add_secret(value);
        }
        let step = self.planned.step.id;
        let variables = self.job.task_variables.entry(step).or_default();
        if !variables.set(name, value) {
            self.fail(&format!(
                "The step has set too many variables of its own, or too long ones; '{name}' is not set."
            ));
        }
    }

    fn set_endpoint(&mut self, change: SetEndpoint) {
        let SetEndpoint { id, part, value } = change;
        if value.len() > LONGEST_CHANGE || self.job.endpoint_changes >= MOST_CHANGES {
            return self.fail(&format!(
                "A job changes service connections at most {MOST_CHANGES} times, by at most {LONGEST_CHANGE} bytes each."
            ));
        }
        self.job.endpoint_changes += 1;
        let system = id.parse().is_ok_and(|id: uuid::Uuid| id.is_nil());
        let mut endpoints = self.job.message.resources.endpoints.iter_mut();
        let found = endpoints.find(|endpoint| {
            !endpoint.name.eq_ignore_ascii_case(SYSTEM_CONNECTION)
                && endpoint
                    .id
                    .as_ref()
                    .is_some_and(|own| own.eq_ignore_ascii_case(&id))
        });
        let Some(endpoint) = found.filter(|_| !system) else {
            return self.record.warning(&format!(
                "The service connection '{id}' cannot be changed: the job has none of this id, or it is the job's own."
            ));
        };
        match part {
            EndpointPart::Url => endpoint.url = value,
            EndpointPart::Data(key) => drop(endpoint.data.insert(key, value)),
            EndpointPart::Authorization(key) => {
                let none = || EndpointAuthorization {
                    scheme: String::new(),
                    parameters: Default::default(),
                };
                let authorization = endpoint.authorization.get_or_insert_with(none);
                let secret = value.as_str().into();
                authorization.parameters.insert(key, secret);
                self.add_secret(&value);
            }
        }
    }

    fn add_secret(&mut self, secret: &str) {
        let reporter = self.record.reporter();
        match reporter.outbox(|outbox| outbox.add_secret_of_step(secret)) {
            Added::Masked => {}
            Added::TooShort => self
                .record
                .warning("A secret is too short to be masked in the logs."),
            Added::TooMany => self.fail(
                "The steps of this job have added more secrets than can be searched for. From here on nothing that is written is shown.",
            ),
        }
    }

    fn set_variable(&mut self, variable: &SetVariable) {
        let SetVariable {
            name,
            value,
            secret,
            output,
            read_only,
            preserve_case,
        } = variable;
        if *secret {
            self.add_secret(value);
        }
        let declared = self.task().is_some_and(|task| {
            let mut outputs = task.definition.outputs.iter();
            outputs.any(|output| output.eq_ignore_ascii_case(name))
        });
        let output = *output || declared;
        let full = match (output, self.ref_name) {
            (false, _) => name.clone(),
            (true, Some(step)) if !step.is_empty() => format!("{step}.{name}"),
            (true, _) => {
                return self.fail(&format!(
                    "The output variable '{name}' needs a step with a name."
                ));
            }
        };
        let variables = &mut self.job.variables;
        let set = variables.set(&full, value, *secret, *read_only || output);
        match set {
            Ok(()) if *preserve_case => variables.preserve_case(&full),
            Ok(()) => {}
            Err(SetError::ReadOnly) => {
                return self.fail(&format!(
                    "Overwriting readonly variable '{full}' is not permitted."
                ));
            }
            Err(SetError::TooMuch) => {
                return self.fail(&format!(
                    "The steps of this job have set too many variables, or too long ones; '{full}' is not set."
                ));
            }
        }
        if output {
            self.publish_output(name, value, *secret);
        }
    }

    fn publish_output(&mut self, name: &str, value: &str, is_secret: bool) {
        self.outputs += name.len() + value.len();
        if self.outputs > MOST_OUTPUT {
            return self.fail(&format!(
                "The output variables of a step come to {MOST_OUTPUT} bytes at most; '{name}' is not one. Publish an artifact instead."
            ));
        }
        let variable = RecordVariable {
            value: Some(value.to_owned()),
            is_secret,
        };
        self.record.update(Record {
            variables: [(name.to_owned(), variable)].into(),
            ..Record::default()
        });
    }
}
