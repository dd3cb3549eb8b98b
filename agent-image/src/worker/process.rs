//! A step's process in the job container: its output to lines, commands obeyed, cancellation passed on.

use super::command_effects::{Effect, SetVariable, interpret};
use super::commands::{Command, Parsed, parse};
use super::lines::{Lines, Output};
use super::mask::Added;
use super::result::merge;
use super::step::{Running, StepError};
use crate::host::link::{Process, ProcessEvent};
use crate::host::protocol::{Exit, OutOfMemory, Program, Stream};
use bytes::Bytes;
use dayfly_wire::event::TaskResult;
use dayfly_wire::timeline::{Record, RecordVariable};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long a process that was stopped may still take before everything is killed; and how long that may take.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// How long a process may still run that said that its step is done; it is not ended.
const OVER_AFTER: Duration = Duration::from_secs(5);

/// How a process ended.
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    /// The first lines of standard error, when the step wants to know.
    pub(crate) errors: Vec<String>,
}

/// How many artifacts the output of one step may name.
const MOST_PUBLICATIONS: usize = 1000;
/// What the names and values of one step's output variables come to at most: they travel in its record.
const MOST_OUTPUT: usize = 512 << 10;
/// How many lines of standard error are kept.
const ERROR_LINES: usize = 10;

impl Running<'_> {
    /// Runs a program to its end; see [`Program::descriptor`] for the payload.
    pub(crate) async fn run_program(
        &mut self,
        program: Program,
        payload: Bytes,
    ) -> Result<Ended, StepError> {
        let mut process = self.job.link.start(program, payload).await?;
        let mut output = StepOutput::default();
        let mut stopped: Option<StepError> = None;
        let mut give_up: Option<Instant> = None;
        let mut killing = None;
        let exit = loop {
            let canceled = self.job.listener.canceled().clone();
            let waits = stopped.is_none();
            tokio::select! {
                event = process.next() => match event {
                    Some(ProcessEvent::Output(stream, chunk)) => self.take_output(&mut output, stream, &chunk),
                    Some(ProcessEvent::Exited(exit, out_of_memory)) => {
                        self.tell_of_memory(exit, out_of_memory);
                        break exit;
                    }
                    None => return Err(StepError::StepHostLost),
                },
                () = canceled.cancelled(), if waits && !self.runs_on => {
                    if self.must_end() {
                        stopped = Some(StepError::Canceled);
                        give_up = Some(self.stop(&process).await?);
                    }
                }
                () = until(self.deadline), if waits => {
                    stopped = Some(StepError::TimedOut);
                    give_up = Some(self.stop(&process).await?);
                }
                () = until(self.over), if waits => break Exit::Code(0),
                () = until(give_up), if give_up.is_some() => match killing {
                    // Not awaited here: its answer may be behind output that only this loop takes.
                    None => {
                        let link = self.job.link.clone();
                        killing = Some(tokio::spawn(async move { link.kill_everything().await }));
                        give_up = Some(Instant::now() + STOP_LIMIT);
                    }
                    Some(_) => return Err(StepError::StepHostLost),
                },
            }
        };
        self.finish_output(&mut output);
        let publications = std::mem::take(&mut self.publications);
        if stopped.is_none() {
            self.publish_all(publications).await?;
        }
        match stopped {
            Some(error) => Err(error),
            None => Ok(Ended {
                exit,
                errors: output.errors,
            }),
        }
    }

    /// A step that bore it is only warned.
    fn tell_of_memory(&mut self, exit: Exit, out_of_memory: Option<OutOfMemory>) {
        let Some(out_of_memory) = out_of_memory else {
            return;
        };
        let text = ran_out(out_of_memory);
        match exit {
            Exit::Code(0) => self.record.warning(&text),
            Exit::Code(_) | Exit::Signal(_) => self.record.error(&text),
        }
    }

    async fn stop(&mut self, process: &Process) -> Result<Instant, StepError> {
        self.job.link.stop(process).await?;
        Ok(Instant::now() + STOP_LIMIT)
    }

    fn take_output(&mut self, output: &mut StepOutput, stream: Stream, chunk: &[u8]) {
        let mut assembled = Vec::new();
        let lines = output.lines(stream);
        self.record
            .reporter()
            .outbox(|outbox| outbox.assemble(lines, chunk, &mut assembled));
        self.handle(output, stream, assembled);
    }

    fn finish_output(&mut self, output: &mut StepOutput) {
        for stream in [Stream::Out, Stream::Error] {
            let mut assembled = Vec::new();
            let lines = output.lines(stream);
            self.record
                .reporter()
                .outbox(|outbox| outbox.finish(lines, &mut assembled));
            self.handle(output, stream, assembled);
        }
    }

    fn handle(&mut self, output: &mut StepOutput, stream: Stream, assembled: Vec<Output>) {
        for item in assembled {
            let text = match item {
                Output::Line(line) => match parse(&line) {
                    Parsed::Command(command) => {
                        self.consider(command);
                        continue;
                    }
                    Parsed::Malformed => {
                        self.record.warning(&format!(
                            "'{line}' contains logging command keyword '##vso', but it's not a legal command."
                        ));
                        line
                    }
                    Parsed::Text => line,
                },
                Output::Piece(piece) => piece,
                Output::CommandTooLong => {
                    self.record
                        .warning("A logging command is too long; it was ignored and is not shown.");
                    continue;
                }
            };
            self.record.write(&text);
            if stream == Stream::Error && output.errors.len() < ERROR_LINES {
                output.errors.push(text);
            }
        }
    }

    /// Obeys a command, unless the task itself says that its output may not give it.
    fn consider(&mut self, command: Command) {
        let restrictions = self.task().map(|task| &task.definition.restrictions);
        match restrictions.and_then(|restrictions| restrictions.refusal(&command)) {
            Some(refusal) => self.record.warning(&refusal),
            None => self.obey(interpret(command)),
        }
    }

    fn obey(&mut self, effect: Effect) {
        match effect {
            Effect::SetVariable(variable) => self.set_variable(&variable),
            Effect::AddSecret(secret) => self.add_secret(&secret),
            Effect::Issue {
                kind,
                message,
                data,
            } => self.record.issue(kind, &message, data),
            Effect::Progress { percent, operation } => self.record.update(Record {
                percent_complete: Some(percent),
                current_operation: Some(operation).filter(|text| !text.is_empty()),
                ..Record::default()
            }),
            Effect::Publish(publishing) if self.publications.len() < MOST_PUBLICATIONS => {
                self.publications.push(publishing);
            }
            Effect::Publish(_) => self.obey(Effect::Fail(format!(
                "A step publishes at most {MOST_PUBLICATIONS} artifacts by its output."
            ))),
            Effect::SetTaskVariable {
                name,
                value,
                secret,
            } => {
                if secret {
                    self.add_secret(&value);
                }
                let step = self.planned.step.id;
                let variables = self.job.task_variables.entry(step).or_default();
                variables.set(&name, &value);
            }
            Effect::Complete {
                result,
                message,
                done,
            } => {
                self.said = Some(merge(self.said, result));
                if done {
                    self.over = Some(Instant::now() + OVER_AFTER);
                }
                self.record.update(Record {
                    current_operation: Some(message.clone()).filter(|text| !text.is_empty()),
                    ..Record::default()
                });
                // The library of tasks gives the same text as an issue.
                let is_told = self.task().is_some();
                if result == TaskResult::Failed && !message.is_empty() && !is_told {
                    self.record.error(&message);
                }
            }
            Effect::PrependPath(directory) => {
                self.job.prepend_path.retain(|known| *known != directory);
                self.job.prepend_path.push(directory);
            }
            Effect::Debug(text) => self.record.debug(&text),
            Effect::Warn(text) => self.record.warning(&text),
            Effect::Fail(text) => {
                self.record.error(&text);
                self.said = Some(merge(self.said, TaskResult::Failed));
            }
        }
    }

    fn add_secret(&mut self, secret: &str) {
        let added = self
            .record
            .reporter()
            .outbox(|outbox| outbox.add_secret(secret));
        if added == Added::TooShort {
            self.record
                .warning("A secret is too short to be masked in the logs.");
        }
    }

    fn set_variable(&mut self, variable: &SetVariable) {
        let SetVariable {
            name,
            value,
            secret,
            output,
            read_only,
        } = variable;
        if *secret {
            self.add_secret(value);
        }
        let declared = self.task().is_some_and(|task| {
            let mut outputs = task.definition.outputs.iter();
            outputs.any(|output| output.eq_ignore_ascii_case(name))
        });
        let output = *output || declared;
        let name = match (output, self.ref_name) {
            (false, _) => name.clone(),
            (true, Some(step)) if !step.is_empty() => {
                self.outputs += name.len() + value.len();
                if self.outputs > MOST_OUTPUT {
                    return self.obey(Effect::Fail(format!(
                        "The output variables of a step come to {MOST_OUTPUT} bytes at most; '{name}' is not one. Publish an artifact instead."
                    )));
                }
                self.publish_output(name, value, *secret);
                format!("{step}.{name}")
            }
            (true, _) => {
                return self.obey(Effect::Fail(format!(
                    "The output variable '{name}' needs a step with a name."
                )));
            }
        };
        if self
            .job
            .variables
            .set(&name, value, *secret, *read_only || output)
            .is_err()
        {
            self.obey(Effect::Fail(format!(
                "Overwriting readonly variable '{name}' is not permitted."
            )));
        }
    }

    fn publish_output(&self, name: &str, value: &str, is_secret: bool) {
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

/// What a person reads when memory ran out.
fn ran_out(OutOfMemory { kills, limit }: OutOfMemory) -> String {
    let killed = match kills {
        1 => "a process was".to_owned(),
        more => format!("{more} processes were"),
    };
    match limit {
        Some(limit) => format!(
            "Memory ran out while this step ran, and {killed} killed: the job container's limit is {} MiB. Raise it in the AgentPool's template (container job, resources.limits.memory), or let the step need less.",
            limit >> 20
        ),
        None => format!(
            "Memory ran out on the node while this step ran, and {killed} killed: the job container has no limit of its own. Give it a request and a limit in the AgentPool's template (container job, resources)."
        ),
    }
}

/// The two outputs of a process.
#[derive(Default)]
struct StepOutput {
    out: Lines,
    error: Lines,
    errors: Vec<String>,
}

impl StepOutput {
    fn lines(&mut self, stream: Stream) -> &mut Lines {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Error => &mut self.error,
        }
    }
}

/// Never, when there is no instant.
pub(crate) async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_runs_out_of_memory_reads_the_limit_and_where_it_is_set() {
        let text = |kills, limit| ran_out(OutOfMemory { kills, limit });
        let limited = text(1, Some(512 << 20));
        assert!(limited.contains("a process was killed"), "{limited}");
        assert!(limited.contains("limit is 512 MiB"), "{limited}");
        let unlimited = text(3, None);
        assert!(unlimited.contains("on the node") && unlimited.contains("3 processes were killed"));
    }
}
