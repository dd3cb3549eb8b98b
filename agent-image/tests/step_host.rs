//! The step host by itself, spoken to over its socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // It is all test code.

mod support;

use bytes::Bytes;
use dayfly_agent::host::frame::{Frame, FrameCodec, STEP_HOST};
use dayfly_agent::host::protocol::{Answer, Exit, Program, Request, Stream, VERSION};
use futures::{SinkExt, StreamExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::{agent_program, as_agent_user, descendants, give_away, wait_for};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::codec::Framed;

struct StepHost {
    directory: tempfile::TempDir,
    child: Child,
    frames: Framed<UnixStream, FrameCodec<Answer, Request>>,
}

impl StepHost {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        give_away(directory.path());
        let mut command = Command::new(agent_program());
        command
            .args(["step-host", "--not-process-one", "--socket"])
            .arg(&socket)
            .arg("--work")
            .arg(directory.path().join("work"))
            .arg("--scripts")
            .arg(directory.path().join("scripts"))
            .env("DAYFLY_HIDDEN", "x")
            .env("FROM_THE_IMAGE", "yes")
            .stdin(Stdio::null());
        let child = as_agent_user(&mut command).spawn().unwrap();
        let (stream, _) = tokio::time::timeout(Duration::from_secs(20), listener.accept())
            .await
            .expect("the step host connects")
            .unwrap();
        let mut host = Self {
            directory,
            child,
            frames: Framed::new(stream, FrameCodec::new(STEP_HOST)),
        };
        let hello = host.answer().await.header;
        assert!(
            matches!(
                hello,
                Answer::Hello {
                    version: VERSION,
                    ..
                }
            ),
            "{hello:?}"
        );
        host
    }

    async fn ask(&mut self, header: Request) {
        let payload = Bytes::new();
        self.frames.send(Frame { header, payload }).await.unwrap();
    }

    async fn run(&mut self, process: u32, script: &str) {
        let program = Program {
            argv: ["/bin/bash", "-c", script].map(ToOwned::to_owned).into(),
            environment: vec![("GIVEN".to_owned(), "value".to_owned())],
            prepend_path: vec!["/prepended".to_owned()],
            directory: "/".to_owned(),
            descriptor: None,
        };
        self.ask(Request::Start { process, program }).await;
    }

    async fn answer(&mut self) -> Frame<Answer> {
        tokio::time::timeout(Duration::from_secs(30), self.frames.next())
            .await
            .expect("the step host answers in time")
            .expect("the step host is there")
            .unwrap()
    }

    /// Everything until the process has ended.
    async fn finish(&mut self) -> (String, String, Exit) {
        let (mut out, mut error) = (String::new(), String::new());
        loop {
            let frame = self.answer().await;
            let text = String::from_utf8_lossy(&frame.payload).into_owned();
            match frame.header {
                Answer::Output {
                    stream: Stream::Out,
                    ..
                } => out += &text,
                Answer::Output {
                    stream: Stream::Error,
                    ..
                } => error += &text,
                Answer::Exited { exit, .. } => return (out, error, exit),
                Answer::Started { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn ended(&mut self) {
        let child = &mut self.child;
        wait_for("the step host's end", || {
            let status = child.try_wait().unwrap();
            async move { status }
        })
        .await;
    }
}

impl Drop for StepHost {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn it_runs_a_program_with_the_container_s_environment_and_ours() {
    let mut host = StepHost::start().await;
    host.run(
        1,
        "echo $GIVEN $FROM_THE_IMAGE [$DAYFLY_HIDDEN] ${PATH%%:*}; echo bad >&2; exit 7",
    )
    .await;
    let (out, error, exit) = host.finish().await;
    assert_eq!(out, "value yes [] /prepended\n");
    assert_eq!(error, "bad\n");
    assert_eq!(exit, Exit::Code(7));
}

#[tokio::test]
async fn what_cannot_be_started_is_refused_with_a_reason() {
    let mut host = StepHost::start().await;
    let program = Program {
        argv: vec!["/nonexistent".to_owned()],
        environment: Vec::new(),
        prepend_path: Vec::new(),
        directory: "/".to_owned(),
        descriptor: None,
    };
    host.ask(Request::Start {
        process: 4,
        program,
    })
    .await;
    let answer = host.answer().await.header;
    assert!(
        matches!(&answer, Answer::Refused { request: 4, .. }),
        "{answer:?}"
    );
    host.run(5, "true").await;
    assert_eq!(host.finish().await.2, Exit::Code(0));
}

#[tokio::test]
async fn a_process_that_ignores_sigint_is_terminated_with_its_group() {
    let mut host = StepHost::start().await;
    host.run(
        1,
        "trap '' INT; sleep 177.3 & echo ready; while true; do sleep 0.1; done",
    )
    .await;
    loop {
        let frame = host.answer().await;
        if matches!(frame.header, Answer::Output { .. }) && frame.payload.starts_with(b"ready") {
            break;
        }
    }
    host.ask(Request::Stop { process: 1 }).await;
    let (_, _, exit) = host.finish().await;
    assert_eq!(exit, Exit::Signal(15));
    wait_for("the group's end", || async {
        descendants(host.child.id()).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_orphan_is_named_killed_and_reaped() {
    let mut host = StepHost::start().await;
    host.run(
        1,
        "setsid sleep 188.1 > /dev/null 2>&1 & disown; echo started",
    )
    .await;
    assert_eq!(host.finish().await.2, Exit::Code(0));
    wait_for("the orphan", || async {
        let found = descendants(host.child.id());
        found
            .iter()
            .any(|(_, line)| line.starts_with("sleep 188.1"))
            .then_some(())
    })
    .await;
    host.ask(Request::KillEverything { request: 9 }).await;
    match host.answer().await.header {
        Answer::Killed {
            request: 9,
            processes,
        } => {
            assert_eq!(processes.len(), 1);
            assert!(processes[0].ends_with("(sleep)"), "{processes:?}");
        }
        other => panic!("{other:?}"),
    }
    wait_for("the orphan to be reaped", || async {
        descendants(host.child.id()).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_was_left_running_keeps_its_output_and_does_not_hold_up_the_step() {
    let mut host = StepHost::start().await;
    let mark = host.directory.path().join("alive");
    host.run(
        1,
        &format!(
            "(sleep 5; echo late; sleep 0.1; touch {}) & echo done",
            mark.display()
        ),
    )
    .await;
    let (out, _, exit) = host.finish().await;
    assert_eq!((out.as_str(), exit), ("done\n", Exit::Code(0)));
    assert!(!mark.exists(), "the step waited for the server");
    wait_for("the server to survive its own output", || async {
        mark.exists().then_some(())
    })
    .await;
}

#[tokio::test]
async fn everything_dies_with_the_connection() {
    let mut host = StepHost::start().await;
    host.run(1, "setsid sleep 199.4 & echo ready; sleep 199.5")
        .await;
    loop {
        if matches!(host.answer().await.header, Answer::Output { .. }) {
            break;
        }
    }
    let before: Vec<u32> = descendants(host.child.id())
        .into_iter()
        .map(|(pid, _)| pid)
        .collect();
    assert!(before.len() >= 2, "{before:?}");
    host.frames.get_mut().shutdown().await.unwrap();
    host.ended().await;
    for pid in before {
        assert!(
            !std::path::Path::new(&format!("/proc/{pid}")).exists(),
            "{pid} lives"
        );
    }
}

#[tokio::test]
async fn a_frame_beyond_the_bounds_ends_the_connection() {
    let mut host = StepHost::start().await;
    host.frames.get_mut().write_all(&[0xff; 8]).await.unwrap();
    host.ended().await;
}

#[test]
fn it_refuses_to_be_an_ordinary_process() {
    let status = Command::new(agent_program())
        .args(["step-host", "--socket", "/nonexistent"])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(76));
}
