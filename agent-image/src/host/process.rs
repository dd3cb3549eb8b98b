//! One process of a step: started in a group of its own, its output passed on, its group stopped on request.

use super::frame::Frame;
use super::memory::Group;
use super::protocol::{Answer, Exit, PIECE, ProcessNumber, Program, Stream};
use super::survivors::signal_group;
use crate::inherited;
use bytes::Bytes;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::fs::{MemfdFlags, memfd_create};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

/// How long a process has to obey SIGINT, then SIGTERM.
const AFTER_INTERRUPT: Duration = Duration::from_millis(7500);
const AFTER_TERMINATE: Duration = Duration::from_millis(2500);
/// When a process has ended but something still holds its output: how long it may be silent, and how long at most.
const QUIET: Duration = Duration::from_secs(1);
const LINGER: Duration = Duration::from_secs(5);
/// Steps are killed before the step host when memory runs out.
const OOM_SCORE: &str = "500";

/// Answers on their way to the agent.
pub(crate) type Answers = mpsc::Sender<Frame<Answer>>;

/// A process that was started.
pub(crate) struct Started {
    /// Its id, which is its group's too.
    pub(crate) pid: Pid,
    output: [OwnedFd; 2],
    /// The container's control group, and how many it had killed before.
    memory: Option<(Group, u64)>,
}

/// Starts a program in a group of its own.
pub(crate) fn start(program: &Program, payload: &[u8]) -> io::Result<Started> {
    let Program {
        argv,
        environment,
        prepend_path,
        directory,
        descriptor,
    } = program;
    let (file, arguments) = argv
        .split_first()
        .ok_or_else(|| io::Error::other("there is no program to run"))?;
    if !Path::new(directory).is_dir() {
        return Err(io::Error::other(format!(
            "the working directory {directory} does not exist"
        )));
    }
    let mut command = Command::new(file);
    command
        .args(arguments)
        .env_clear()
        .envs(container_environment())
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if !prepend_path.is_empty() {
        let path = environment
            .iter()
            .rfind(|(name, _)| name == "PATH")
            .map(|(_, value)| OsString::from(value))
            .or_else(|| std::env::var_os("PATH"));
        command.env("PATH", joined_path(prepend_path, path)?);
    }
    let given = match descriptor {
        Some(name) => {
            let given = in_memory(payload)?;
            command.env(name, given.as_raw_fd().to_string());
            inherited::share(&given)?;
            Some(given)
        }
        None => None,
    };
    let memory = Group::own().map(|group| {
        let kills = group.kills();
        (group, kills)
    });
    let started = command.spawn();
    let mut child = started.map_err(|error| match error.raw_os_error() {
        Some(libc::E2BIG) => io::Error::other(program.too_long()),
        _ => error,
    })?;
    drop(given);
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    // Best effort: the process may have ended, and a container may forbid it.
    let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE);
    let (Some(out), Some(error)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("the program has no output"));
    };
    Ok(Started {
        pid,
        output: [out.into(), error.into()],
        memory,
    })
}

/// A file without a name, ready to be read.
fn in_memory(content: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("given", MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

/// The container's own environment: the image's and the template's, without what is ours.
fn container_environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| {
        !name
            .to_str()
            .is_some_and(|name| name.starts_with("DAYFLY_"))
    })
}

/// The directories in which programs are looked for.
pub(crate) fn search_path(prepend: &[String]) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    prepend
        .iter()
        .map(PathBuf::from)
        .chain(std::env::split_paths(&path))
        .filter(|directory| directory.is_absolute())
        .collect()
}

fn joined_path(prepend: &[String], path: Option<OsString>) -> io::Result<OsString> {
    let path = path.unwrap_or_default();
    let directories = prepend
        .iter()
        .map(PathBuf::from)
        .chain(std::env::split_paths(&path));
    std::env::join_paths(directories).map_err(io::Error::other)
}

/// Passes output on until the process has ended and its output too, then says so.
pub(crate) async fn follow(
    number: ProcessNumber,
    started: Started,
    mut exited: oneshot::Receiver<Exit>,
    answers: Answers,
) {
    let (activity, mut active) = mpsc::channel(1);
    let over = Arc::new(AtomicBool::new(false));
    let Started { output, memory, .. } = started;
    let [out, error] = output;
    for (stream, fd) in [(Stream::Out, out), (Stream::Error, error)] {
        let source = Source {
            number,
            stream,
            answers: answers.clone(),
            activity: activity.clone(),
            over: Arc::clone(&over),
        };
        tokio::spawn(source.pass_on(fd));
    }
    drop(activity);
    let exit = loop {
        tokio::select! {
            sign = active.recv() => if sign.is_none() { break exited.await },
            exit = &mut exited => {
                until_quiet(&mut active).await;
                break exit;
            }
        }
    };
    over.store(true, Ordering::Relaxed);
    let answer = Answer::Exited {
        process: number,
        exit: exit.unwrap_or(Exit::Code(-1)),
        out_of_memory: memory.and_then(|(group, before)| group.since(before)),
    };
    let _ = answers.send(frame(answer)).await;
}

/// A process that was left running may hold the output; the step does not wait for it for long.
async fn until_quiet(active: &mut mpsc::Receiver<()>) {
    let deadline = Instant::now() + LINGER;
    while let Ok(Some(())) = timeout(QUIET, active.recv()).await {
        if Instant::now() >= deadline {
            return;
        }
    }
}

/// One output of a process.
struct Source {
    number: ProcessNumber,
    stream: Stream,
    answers: Answers,
    activity: mpsc::Sender<()>,
    over: Arc<AtomicBool>,
}

impl Source {
    /// Reads to the end, also when the process is over: a server that was left running must not find its output
    /// closed.
    async fn pass_on(self, fd: OwnedFd) {
        let Ok(mut pipe) = Receiver::from_owned_fd(fd) else {
            return;
        };
        let mut buffer = vec![0; PIECE];
        while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
            if self.over.load(Ordering::Relaxed) {
                continue;
            }
            let answer = Frame {
                header: Answer::Output {
                    process: self.number,
                    stream: self.stream,
                },
                payload: Bytes::copy_from_slice(&buffer[..length]),
            };
            if self.answers.send(answer).await.is_err() {
                return;
            }
            let _ = self.activity.try_send(());
        }
    }
}

/// Makes a process group end: asked, told, killed.
pub(crate) async fn stop(leader: Pid, mut ended: tokio::sync::watch::Receiver<bool>) {
    for (signal, patience) in [
        (Signal::SIGINT, AFTER_INTERRUPT),
        (Signal::SIGTERM, AFTER_TERMINATE),
    ] {
        signal_group(leader, signal);
        let deadline = Instant::now() + patience;
        let waited = tokio::time::timeout_at(deadline, ended.wait_for(|ended| *ended)).await;
        if waited.is_ok() {
            break;
        }
    }
    // Also what the leader left behind.
    signal_group(leader, Signal::SIGKILL);
}

/// An answer without a payload.
pub(crate) fn frame(header: Answer) -> Frame<Answer> {
    Frame {
        header,
        payload: Bytes::new(),
    }
}
