//! A step's process in the job container: its output to lines, commands obeyed, cancellation passed on.

use super::commands::{Parsed, parse};
use super::lines::{Lines, Output};
use super::step::{Running, StepError};
use crate::host::link::{Process, ProcessEvent};
use crate::host::protocol::{Exit, OutOfMemory, Program, Stream};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long a process that was stopped may still take before everything is killed; and how long that may take.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// How a process ended.
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    /// The first lines of standard error, when the step wants to know.
    pub(crate) errors: Vec<String>,
}

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
        let uploads = std::mem::take(&mut self.uploads);
        if stopped.is_none() {
            self.upload_all(uploads).await?;
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
                        self.consider(&line, command);
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
