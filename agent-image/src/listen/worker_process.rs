//! The worker as the listener sees it: a child process, a control socket, and what it says on standard error.

use super::driver::Happening;
use super::stage::{Event, WorkerEnd, status_text};
use crate::control::{Facts, FromWorker, LIMITS, ListenerCodec, ToWorker};
use crate::host::frame::Frame;
use crate::inherited;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, FramedWrite};
use tokio_util::sync::CancellationToken;

/// How many last lines are kept, and how long each may be.
const LAST_LINES: usize = 5;
const LAST_LINE: u64 = 400;
/// How long what a dead worker left in its pipes may take.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// A running worker.
pub(crate) struct Worker {
    control: mpsc::Sender<Frame<ToWorker>>,
    kill: CancellationToken,
}

impl Worker {
    /// Starts the worker with the job; `WorkerEnded` follows. The step host's connection becomes the worker's
    /// alone, so that it ends when the worker does.
    pub(crate) fn start(
        facts: Facts,
        job: Bytes,
        step_host: UnixStream,
        events: mpsc::Sender<Happening>,
    ) -> io::Result<Self> {
        if job.len() > LIMITS.payload {
            return Err(io::Error::other(format!(
                "the job message has {} bytes, and at most {} can be run; make the pipeline's variables and scripts shorter",
                job.len(),
                LIMITS.payload
            )));
        }
        let step_host = OwnedFd::from(step_host.into_std()?);
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let (ours, theirs) = (into_async(ours)?, OwnedFd::from(theirs));
        let mut child = spawn(&theirs, &step_host)?;
        drop((theirs, step_host));
        let (read, write) = ours.into_split();
        let (control, outbox) = mpsc::channel(16);
        control
            .try_send(Frame {
                header: ToWorker::Run {
                    facts: Box::new(facts),
                },
                payload: job,
            })
            .map_err(io::Error::other)?;
        let kill = CancellationToken::new();
        let stderr = child.stderr.take();
        tokio::spawn(write_control(write, outbox));
        tokio::spawn(follow(child, stderr, read, kill.clone(), events));
        Ok(Self { control, kill })
    }

    /// Tells the worker something; a worker that is gone does not hear it.
    pub(crate) async fn tell(&self, header: ToWorker) {
        let frame = Frame {
            header,
            payload: Bytes::new(),
        };
        let _ = self.control.send(frame).await;
    }

    /// Kills the worker.
    pub(crate) fn kill(&self) {
        self.kill.cancel();
    }
}

fn into_async(stream: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Nothing but two numbers reaches the worker's command line, and nothing of ours its environment.
fn spawn(control: &OwnedFd, step_host: &OwnedFd) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("dayfly-agent")
        .args(["worker", "--control", &control.as_raw_fd().to_string()])
        .args(["--step-host", &step_host.as_raw_fd().to_string()])
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| is_passed_on(name.to_str())))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    for descriptor in [control, step_host] {
        inherited::share(descriptor)?;
    }
    let child = command.spawn();
    for descriptor in [control, step_host] {
        inherited::keep(descriptor)?;
    }
    child
}

fn is_passed_on(name: Option<&str>) -> bool {
    matches!(
        name,
        Some("PATH" | "LANG" | "TZ" | "TMPDIR" | "DAYFLY_LOG" | "SSL_CERT_FILE" | "SSL_CERT_DIR")
    )
}

async fn write_control(write: OwnedWriteHalf, mut outbox: mpsc::Receiver<Frame<ToWorker>>) {
    let mut sink = FramedWrite::new(write, ListenerCodec::new(LIMITS));
    while let Some(frame) = outbox.recv().await {
        if let Err(error) = sink.send(frame).await {
            tracing::warn!(%error, "failed to tell the worker something");
            return;
        }
    }
}

async fn follow(
    mut child: Child,
    stderr: Option<ChildStderr>,
    read: OwnedReadHalf,
    kill: CancellationToken,
    events: mpsc::Sender<Happening>,
) {
    let words = tokio::spawn(last_words(stderr));
    let said = tokio::spawn(listen_to(read, events.clone()));
    let status = tokio::select! {
        status = child.wait() => status,
        () = kill.cancelled() => {
            tracing::error!("the canceled job took too long; killing the worker");
            let _ = child.start_kill();
            child.wait().await
        }
    };
    let said = timeout(DRAIN_LIMIT, said).await.ok().and_then(Result::ok);
    let words = timeout(DRAIN_LIMIT, words).await.ok().and_then(Result::ok);
    let (ending, reported) = said.unwrap_or_default();
    let end = WorkerEnd {
        reported,
        ending,
        status: status_text(status.ok().and_then(|status| status.code())),
        last_words: words.unwrap_or_default(),
    };
    let _ = events.send(Event::WorkerEnded(end).into()).await;
}

type Said = (
    Option<dayfly_wire::event::TaskResult>,
    Option<dayfly_wire::event::TaskResult>,
);

/// What the worker says until it ends: the result that it is about to report, and the one that it has reported.
async fn listen_to(read: OwnedReadHalf, events: mpsc::Sender<Happening>) -> Said {
    let mut frames = FramedRead::new(read, ListenerCodec::new(LIMITS));
    let mut said = Said::default();
    while let Some(Ok(frame)) = frames.next().await {
        match frame.header {
            FromWorker::StepHostLost => {
                let _ = events.send(Event::WorkerLostStepHost.into()).await;
            }
            FromWorker::Ending { result } => said.0 = Some(result),
            FromWorker::Reported { result } => said.1 = Some(result),
        }
    }
    said
}

/// Passes the worker's log on, and keeps its end. The worker's types keep secrets out of it.
async fn last_words(stderr: Option<ChildStderr>) -> String {
    let Some(stderr) = stderr else {
        return String::new();
    };
    let mut reader = BufReader::new(stderr);
    let mut last = VecDeque::with_capacity(LAST_LINES);
    let mut line = Vec::new();
    while let Ok(1..) = (&mut reader)
        .take(LAST_LINE)
        .read_until(b'\n', &mut line)
        .await
    {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        eprintln!("{text}");
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(text);
    }
    Vec::from(last).join(" | ")
}
