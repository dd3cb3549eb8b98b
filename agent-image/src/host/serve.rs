//! The step host's loop: connects, serves requests, reaps, and ends with its connection.

use super::cache;
use super::files;
use super::frame::{Frame, FrameCodec, FrameError, STEP_HOST};
use super::process::{self, Answers, frame};
use super::protocol::{Answer, Exit, ProcessNumber, Program, Request, RequestNumber, VERSION};
use super::survivors::{self, Reach};
use super::tree;
use crate::args::StepHostArgs;
use crate::exit::Exit as Code;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};
use tokio_util::codec::{FramedRead, FramedWrite};

/// The agent's image may still have to be pulled when the job container starts.
const CONNECT_LIMIT: Duration = Duration::from_secs(900);
const CONNECT_INTERVAL: Duration = Duration::from_millis(20);
/// How long everything has to die of SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// Answers that wait for the agent; output beyond waits in its pipe.
const ANSWERS: usize = 32;
/// How long a list in one answer may be.
const ANSWER_ROOM: usize = 3 << 20;

/// Runs the step host until its connection ends.
pub(crate) async fn serve(args: StepHostArgs) -> Code {
    let reach = match reach(&args) {
        Ok(reach) => reach,
        Err(code) => return code,
    };
    if let Err(error) = prepare(&args) {
        tracing::error!(%error, work = %args.work.display(), "failed to prepare the work directory; it must be writable");
        return Code::StepHost;
    }
    let (Ok(mut terminate), Ok(children)) =
        (signal(SignalKind::terminate()), signal(SignalKind::child()))
    else {
        tracing::error!("failed to listen for signals");
        return Code::StepHost;
    };
    let stream = tokio::select! {
        stream = connect(&args.socket) => stream,
        _ = terminate.recv() => return Code::Done,
    };
    let Some(stream) = stream else {
        tracing::error!(
            socket = %args.socket.display(),
            "failed to reach the agent; its container must run in the same pod"
        );
        return Code::StepHost;
    };
    let (read, write) = stream.into_split();
    let (answers, outbox) = mpsc::channel(ANSWERS);
    let writer = tokio::spawn(write_answers(write, outbox));
    let mut host = Host {
        reach,
        answers,
        running: HashMap::new(),
        numbers: HashMap::new(),
    };
    host.greet(&args).await;
    let ended = host.run(read, terminate, children).await;
    if let Err(error) = &ended {
        tracing::error!(%error, "the agent's connection ended");
    }
    writer.abort();
    if let Err(living) = kill_everything(reach).await {
        tracing::error!(?living, "failed to kill everything");
    }
    reap_the_rest();
    Code::Done
}

fn reach(args: &StepHostArgs) -> Result<Reach, Code> {
    if std::process::id() == 1 {
        return Ok(Reach::Container);
    }
    if !args.not_process_one {
        tracing::error!(
            "refusing to run as an ordinary process: the step host kills everything that it can see, so it must be process 1 of a container (check the pod's shareProcessNamespace)"
        );
        return Err(Code::NotProcessOne);
    }
    nix::sys::prctl::set_child_subreaper(true).map_err(|_| Code::StepHost)?;
    Ok(Reach::Descendants)
}

fn prepare(args: &StepHostArgs) -> std::io::Result<()> {
    for directory in [
        "_temp",
        "_tool",
        "home",
        "1/s",
        "1/a",
        "1/b",
        "1/TestResults",
    ] {
        std::fs::create_dir_all(args.work.join(directory))?;
    }
    std::fs::create_dir_all(&args.scripts)
}

async fn connect(socket: &Path) -> Option<UnixStream> {
    let deadline = Instant::now() + CONNECT_LIMIT;
    while Instant::now() < deadline {
        if let Ok(stream) = UnixStream::connect(socket).await {
            return Some(stream);
        }
        sleep(CONNECT_INTERVAL).await;
    }
    None
}

async fn write_answers(write: OwnedWriteHalf, mut answers: mpsc::Receiver<Frame<Answer>>) {
    let mut sink = FramedWrite::new(write, FrameCodec::<Request, Answer>::new(STEP_HOST));
    while let Some(answer) = answers.recv().await {
        if sink.send(answer).await.is_err() {
            return;
        }
    }
}

struct Running {
    pid: Pid,
    exited: Option<oneshot::Sender<Exit>>,
    ended: watch::Sender<bool>,
}

struct Host {
    reach: Reach,
    answers: Answers,
    running: HashMap<ProcessNumber, Running>,
    numbers: HashMap<i32, ProcessNumber>,
}

impl Host {
    async fn greet(&self, args: &StepHostArgs) {
        self.answer(Answer::Hello {
            version: VERSION,
            work: args.work.display().to_string(),
            scripts: args.scripts.display().to_string(),
            tasks: args.tasks.display().to_string(),
        })
        .await;
    }

    async fn run(
        &mut self,
        read: OwnedReadHalf,
        mut terminate: tokio::signal::unix::Signal,
        mut children: tokio::signal::unix::Signal,
    ) -> Result<(), FrameError> {
        let mut requests = FramedRead::new(read, FrameCodec::<Request, Answer>::new(STEP_HOST));
        loop {
            tokio::select! {
                request = requests.next() => match request {
                    Some(frame) => self.handle(frame?).await,
                    None => return Ok(()),
                },
                _ = children.recv() => self.reap(),
                _ = terminate.recv() => tracing::info!("asked to end; the agent decides when the job is over"),
            }
        }
    }

    async fn handle(&mut self, request: Frame<Request>) {
        let Frame { header, payload } = request;
        match header {
            Request::Start { process, program } => self.start(process, program, &payload).await,
            Request::Stop { process } => self.stop(process),
            Request::Write {
                request,
                path,
                mode,
                append,
            } => {
                let result = files::write(&path, mode, append, &payload);
                self.done(request, result).await;
            }
            Request::Remove { request, path } => {
                self.in_background(request, move || files::remove(&path))
            }
            Request::MakeDirectory { request, path } => {
                self.done(request, std::fs::create_dir_all(path)).await;
            }
            Request::Look { request, path } => {
                let kind = files::look(&path);
                self.answer(Answer::Found { request, kind }).await;
            }
            Request::Locate {
                request,
                name,
                prepend_path,
            } => {
                let path = files::locate(&name, process::search_path(&prepend_path).into_iter())
                    .map(|path| path.display().to_string());
                self.answer(Answer::Located { request, path }).await;
            }
            Request::List {
                request,
                path,
                skip,
            } => self.answer_later(request, move || listed(request, &path, skip)),
            Request::Read {
                request,
                root,
                path,
                offset,
            } => self.answer_later(request, move || {
                let payload = tree::read(&root, &path, offset)?.into();
                let header = Answer::Content { request };
                Ok(Frame { header, payload })
            }),
            Request::Hash {
                request,
                base,
                patterns,
                without,
            } => self.answer_later(request, move || {
                let hashed = cache::hash(&base, &patterns, &without)?;
                Ok(frame(Answer::Hashed { request, hashed }))
            }),
            Request::Pack {
                request,
                roots,
                into,
                most,
            } => self.answer_later(request, move || {
                let amount = cache::pack(&roots, &into, most)?;
                Ok(frame(Answer::Packed { request, amount }))
            }),
            Request::Unpack {
                request,
                archive,
                roots,
            } => self.answer_later(request, move || {
                let amount = cache::unpack(&archive, &roots)?;
                Ok(frame(Answer::Packed { request, amount }))
            }),
            Request::KillEverything { request } => self.kill_everything(request),
        }
    }

    /// No wait between the start and the entry in the tables: the process cannot be reaped before it is known.
    async fn start(&mut self, number: ProcessNumber, program: Program, payload: &[u8]) {
        let started = match process::start(&program, payload) {
            Ok(started) => started,
            Err(error) => {
                let reason = error.to_string();
                let request = number;
                return self.answer(Answer::Refused { request, reason }).await;
            }
        };
        let (exited, exit) = oneshot::channel();
        let running = Running {
            pid: started.pid,
            exited: Some(exited),
            ended: watch::Sender::new(false),
        };
        self.numbers.insert(started.pid.as_raw(), number);
        self.running.insert(number, running);
        self.answer(Answer::Started {
            process: number,
            pid: started.pid.as_raw(),
        })
        .await;
        let answers = self.answers.clone();
        tokio::spawn(process::follow(number, started, exit, answers));
    }

    fn stop(&self, number: ProcessNumber) {
        if let Some(running) = self.running.get(&number) {
            tokio::spawn(process::stop(running.pid, running.ended.subscribe()));
        }
    }

    fn kill_everything(&self, request: RequestNumber) {
        let (reach, answers) = (self.reach, self.answers.clone());
        tokio::spawn(async move {
            let answer = match kill_everything(reach).await {
                Ok(processes) => Answer::Killed { request, processes },
                Err(living) => Answer::Refused {
                    request,
                    reason: format!(
                        "processes that are still there after {} s cannot be killed: {}",
                        KILL_LIMIT.as_secs(),
                        living.join(", ")
                    ),
                },
            };
            let _ = answers.send(frame(answer)).await;
        });
    }

    /// Answers when it is done; other requests need not wait for it.
    fn answer_later(
        &self,
        request: RequestNumber,
        work: impl FnOnce() -> std::io::Result<Frame<Answer>> + Send + 'static,
    ) {
        let answers = self.answers.clone();
        tokio::spawn(async move {
            let result = tokio::task::spawn_blocking(work)
                .await
                .unwrap_or_else(|error| Err(std::io::Error::other(error)));
            let answer = result.unwrap_or_else(|error| frame(outcome(request, Err(error))));
            let _ = answers.send(answer).await;
        });
    }

    fn in_background(
        &self,
        request: RequestNumber,
        work: impl FnOnce() -> std::io::Result<()> + Send + 'static,
    ) {
        let answers = self.answers.clone();
        tokio::spawn(async move {
            let result = tokio::task::spawn_blocking(work)
                .await
                .unwrap_or_else(|error| Err(std::io::Error::other(error)));
            let _ = answers.send(frame(outcome(request, result))).await;
        });
    }

    async fn done(&self, request: RequestNumber, result: std::io::Result<()>) {
        self.answer(outcome(request, result)).await;
    }

    async fn answer(&self, answer: Answer) {
        let _ = self
            .answers
            .send(Frame {
                header: answer,
                payload: Bytes::new(),
            })
            .await;
    }

    /// Reaps whatever has ended: our processes, and orphans that fell to process 1.
    fn reap(&mut self) {
        while let Some((pid, exit)) = next_ended() {
            let Some(number) = self.numbers.remove(&pid.as_raw()) else {
                continue;
            };
            if let Some(mut running) = self.running.remove(&number) {
                running.ended.send_replace(true);
                if let Some(exited) = running.exited.take() {
                    let _ = exited.send(exit);
                }
            }
        }
    }
}

fn outcome(request: RequestNumber, result: std::io::Result<()>) -> Answer {
    match result {
        Ok(()) => Answer::Done { request },
        Err(error) => Answer::Refused {
            request,
            reason: error.to_string(),
        },
    }
}

/// As many files as one answer holds.
fn listed(request: RequestNumber, path: &str, skip: usize) -> std::io::Result<Frame<Answer>> {
    let all = tree::list(path)?;
    let mut room = ANSWER_ROOM;
    let mut rest = all.into_iter().skip(skip).peekable();
    let mut files = Vec::new();
    // A character takes six bytes at most when it is escaped.
    while let Some(file) = rest.next_if(|file| file.path.len() * 6 + 64 <= room) {
        room -= file.path.len() * 6 + 64;
        files.push(file);
    }
    let more = rest.peek().is_some();
    Ok(frame(Answer::Listed {
        request,
        files,
        more,
    }))
}

fn next_ended() -> Option<(Pid, Exit)> {
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => return Some((pid, Exit::Code(code))),
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                return Some((pid, Exit::Signal(signal as i32)));
            }
            Ok(WaitStatus::StillAlive) => return None,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

fn reap_the_rest() {
    while next_ended().is_some() {}
}

/// Kills until nothing lives, and gives the names of what did; or of what still does, which somebody who is to be
/// alone must know. What was born between two looks dies at the next.
async fn kill_everything(reach: Reach) -> Result<Vec<String>, Vec<String>> {
    let names = survivors::names(reach);
    let deadline = Instant::now() + KILL_LIMIT;
    while survivors::any(reach) {
        if Instant::now() >= deadline {
            return Err(survivors::names(reach));
        }
        survivors::kill_all(reach);
        sleep(Duration::from_millis(2)).await;
    }
    Ok(names)
}
