//! The socket on which exactly one step host connects, before anything of the job can run.

use super::driver::Happening;
use super::stage::Event;
use crate::host::frame::{FrameCodec, STEP_HOST};
use crate::host::protocol::{Answer, Request, VERSION};
use futures::StreamExt;
use nix::sys::socket::{MsgFlags, recv};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;

/// The job's image may still have to be pulled.
const CONNECT_LIMIT: Duration = Duration::from_secs(900);
const GREETING_LIMIT: Duration = Duration::from_secs(30);

/// Why there is no step host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    /// None came in time.
    #[error("failed to wait for the step host: the job container did not start in {} s", CONNECT_LIMIT.as_secs())]
    Late,
    /// What came is not this version's step host.
    #[error("failed to greet the step host: it must be of the same image as the agent")]
    Greeting,
    /// The socket broke.
    #[error("failed to accept the step host's connection")]
    Socket(#[from] io::Error),
}

/// A socket that waits for the step host.
pub(crate) struct HostSocket {
    listener: UnixListener,
    path: PathBuf,
}

/// The step host's connection, and what it said of itself.
pub(crate) struct StepHost {
    pub(crate) stream: UnixStream,
    pub(crate) work: String,
    pub(crate) scripts: String,
    pub(crate) tasks: String,
}

impl HostSocket {
    /// Makes the socket.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        Ok(Self {
            listener: UnixListener::bind(path)?,
            path: path.to_owned(),
        })
    }

    /// Waits for the one connection; from then on nobody else can connect.
    pub(crate) async fn accept(self) -> Result<StepHost, AcceptError> {
        let accepted = timeout(CONNECT_LIMIT, self.listener.accept()).await;
        std::fs::remove_file(&self.path)?;
        let (stream, _) = accepted.map_err(|_| AcceptError::Late)??;
        timeout(GREETING_LIMIT, greet(stream))
            .await
            .map_err(|_| AcceptError::Greeting)?
    }
}

async fn greet(stream: UnixStream) -> Result<StepHost, AcceptError> {
    let mut framed = Framed::new(stream, FrameCodec::<Answer, Request>::new(STEP_HOST));
    let Some(Ok(frame)) = framed.next().await else {
        return Err(AcceptError::Greeting);
    };
    let parts = framed.into_parts();
    match frame.header {
        Answer::Hello {
            version: VERSION,
            work,
            scripts,
            tasks,
        } if parts.read_buf.is_empty() => Ok(StepHost {
            stream: parts.io,
            work,
            scripts,
            tasks,
        }),
        _ => Err(AcceptError::Greeting),
    }
}

/// Watches an idle connection; a step host that ends, or speaks without being asked, is lost. Gives the stream
/// back when told to stop.
pub(crate) async fn watch(
    stream: UnixStream,
    stop: CancellationToken,
    events: mpsc::Sender<Happening>,
) -> UnixStream {
    tokio::select! {
        () = stop.cancelled() => {}
        () = readable(&stream) => {
            let _ = events.send(Event::StepHostLost.into()).await;
        }
    }
    stream
}

async fn readable(stream: &UnixStream) {
    loop {
        if stream.ready(Interest::READABLE).await.is_err() {
            return;
        }
        let peeked = stream.try_io(Interest::READABLE, || {
            let mut byte = [0];
            recv(stream.as_raw_fd(), &mut byte, MsgFlags::MSG_PEEK).map_err(io::Error::from)
        });
        match peeked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => return,
        }
    }
}
