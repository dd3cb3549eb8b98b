//! The agent's side of the step host's connection.

use super::frame::{Frame, FrameCodec, FrameError, STEP_HOST};
use super::protocol::{
    Answer, Exit, FileKind, Hashed, ListedFile, OutOfMemory, PIECE, ProcessNumber, Program,
    Request, RequestNumber, Stream,
};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::codec::{FramedRead, FramedWrite};
use tokio_util::sync::CancellationToken;

/// Output that waits to be handled; more waits in the step host.
const PENDING_OUTPUT: usize = 16;

/// Why the step host did not do something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    /// It said no.
    #[error("{0}")]
    Refused(String),
    /// It is gone, and with it the job container.
    #[error("the job container is gone")]
    Lost,
}

/// What happens to a process.
pub(crate) enum ProcessEvent {
    /// It wrote something.
    Output(Stream, Bytes),
    /// It ended; nothing more comes.
    Exited(Exit, Option<OutOfMemory>),
}

/// A process in the job container.
pub(crate) struct Process {
    number: ProcessNumber,
    events: mpsc::Receiver<ProcessEvent>,
}

/// A connection to a step host; cheap to clone.
#[derive(Clone)]
pub(crate) struct Link {
    requests: mpsc::Sender<Frame<Request>>,
    waiting: Arc<Mutex<Waiting>>,
    numbers: Arc<AtomicU32>,
    lost: CancellationToken,
}

#[derive(Default)]
struct Waiting {
    answers: HashMap<RequestNumber, oneshot::Sender<Frame<Answer>>>,
    processes: HashMap<ProcessNumber, mpsc::Sender<ProcessEvent>>,
}

impl Link {
    /// Takes a connection over; its greeting has been read.
    pub(crate) fn new(stream: UnixStream) -> Self {
        let (read, write) = stream.into_split();
        let (requests, outbox) = mpsc::channel(PENDING_OUTPUT);
        let link = Self {
            requests,
            waiting: Arc::default(),
            numbers: Arc::default(),
            lost: CancellationToken::new(),
        };
        tokio::spawn(write_requests(write, outbox, link.lost.clone()));
        tokio::spawn(read_answers(
            read,
            Arc::clone(&link.waiting),
            link.lost.clone(),
        ));
        link
    }

    /// Writes a file, in pieces.
    pub(crate) async fn write(
        &self,
        path: &str,
        mode: u32,
        content: &[u8],
    ) -> Result<(), HostError> {
        let mut pieces = content.chunks(PIECE);
        let first = pieces.next().unwrap_or_default();
        for (index, piece) in std::iter::once(first).chain(pieces).enumerate() {
            let path = path.to_owned();
            let append = index > 0;
            let make = move |request| Request::Write {
                request,
                path,
                mode,
                append,
            };
            self.ask(make, Bytes::copy_from_slice(piece)).await?;
        }
        Ok(())
    }

    /// Writes a piece of a file: the first makes it, the others add to it.
    pub(crate) async fn put(
        &self,
        path: &str,
        mode: u32,
        append: bool,
        piece: Bytes,
    ) -> Result<(), HostError> {
        let path = path.to_owned();
        let make = |request| Request::Write {
            request,
            path,
            mode,
            append,
        };
        self.ask(make, piece).await.map(drop)
    }

    /// The files at and below a path.
    pub(crate) async fn list(&self, path: &str) -> Result<Vec<ListedFile>, HostError> {
        let mut all = Vec::new();
        loop {
            let (path, skip) = (path.to_owned(), all.len());
            let make = |request| Request::List {
                request,
                path,
                skip,
            };
            match self.ask(make, Bytes::new()).await? {
                Answer::Listed { files, more, .. } => {
                    let done = !more || files.is_empty();
                    all.extend(files);
                    if done {
                        return Ok(all);
                    }
                }
                other => return Err(out_of_turn(&other)),
            }
        }
    }

    /// A piece of a file at or below a path, from `offset` on.
    pub(crate) async fn read(
        &self,
        root: &str,
        path: &str,
        offset: u64,
    ) -> Result<Bytes, HostError> {
        let number = self.next_number();
        let request = Request::Read {
            request: number,
            root: root.to_owned(),
            path: path.to_owned(),
            offset,
        };
        let answer = self.exchange(number, request, Bytes::new()).await?;
        match answer.header {
            Answer::Content { .. } => Ok(answer.payload),
            other => Err(out_of_turn(&other)),
        }
    }

    /// What the files hold that patterns name.
    pub(crate) async fn hash(
        &self,
        base: &str,
        patterns: &[String],
        without: &[String],
    ) -> Result<Hashed, HostError> {
        let make = |request| Request::Hash {
            request,
            base: base.to_owned(),
            patterns: patterns.to_vec(),
            without: without.to_vec(),
        };
        match self.ask(make, Bytes::new()).await? {
            Answer::Hashed { hashed, .. } => Ok(hashed),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Packs folders into a new archive; gives its length.
    pub(crate) async fn pack(
        &self,
        roots: &[String],
        into: &str,
        most: u64,
    ) -> Result<u64, HostError> {
        let make = |request| Request::Pack {
            request,
            roots: roots.to_vec(),
            into: into.to_owned(),
            most,
        };
        self.amount(make).await
    }

    /// Unpacks an archive into folders; gives the number of files.
    pub(crate) async fn unpack(&self, archive: &str, roots: &[String]) -> Result<u64, HostError> {
        let make = |request| Request::Unpack {
            request,
            archive: archive.to_owned(),
            roots: roots.to_vec(),
        };
        self.amount(make).await
    }

    async fn amount(&self, make: impl FnOnce(RequestNumber) -> Request) -> Result<u64, HostError> {
        match self.ask(make, Bytes::new()).await? {
            Answer::Packed { amount, .. } => Ok(amount),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Removes a file or a tree.
    pub(crate) async fn remove(&self, path: &str) -> Result<(), HostError> {
        let path = path.to_owned();
        self.ask(|request| Request::Remove { request, path }, Bytes::new())
            .await
            .map(drop)
    }

    /// Makes a directory and those above it.
    pub(crate) async fn make_directory(&self, path: &str) -> Result<(), HostError> {
        let path = path.to_owned();
        self.ask(
            |request| Request::MakeDirectory { request, path },
            Bytes::new(),
        )
        .await
        .map(drop)
    }

    /// What is at a path.
    pub(crate) async fn look(&self, path: &str) -> Result<FileKind, HostError> {
        let path = path.to_owned();
        match self
            .ask(|request| Request::Look { request, path }, Bytes::new())
            .await?
        {
            Answer::Found { kind, .. } => Ok(kind),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Where a program is.
    pub(crate) async fn locate(
        &self,
        name: &str,
        prepend_path: &[String],
    ) -> Result<Option<String>, HostError> {
        let make = |request| Request::Locate {
            request,
            name: name.to_owned(),
            prepend_path: prepend_path.to_vec(),
        };
        match self.ask(make, Bytes::new()).await? {
            Answer::Located { path, .. } => Ok(path),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Kills everything in the job container, and gives the names of what ran.
    pub(crate) async fn kill_everything(&self) -> Result<Vec<String>, HostError> {
        let make = |request| Request::KillEverything { request };
        match self.ask(make, Bytes::new()).await? {
            Answer::Killed { processes, .. } => Ok(processes),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Starts a program; it reads the payload from the descriptor that [`Program::descriptor`] tells it.
    pub(crate) async fn start(
        &self,
        program: Program,
        payload: Bytes,
    ) -> Result<Process, HostError> {
        let number = self.next_number();
        let (sender, events) = mpsc::channel(PENDING_OUTPUT);
        self.lock().processes.insert(number, sender);
        let request = Request::Start {
            process: number,
            program,
        };
        let started = self.ask_numbered(number, request, payload).await;
        if started.is_err() {
            self.lock().processes.remove(&number);
        }
        started.map(|_| Process { number, events })
    }

    /// Asks a process to end, and makes it end.
    pub(crate) async fn stop(&self, process: &Process) -> Result<(), HostError> {
        let request = Request::Stop {
            process: process.number,
        };
        self.send(request, Bytes::new()).await
    }

    async fn ask(
        &self,
        make: impl FnOnce(RequestNumber) -> Request,
        payload: Bytes,
    ) -> Result<Answer, HostError> {
        let number = self.next_number();
        self.ask_numbered(number, make(number), payload).await
    }

    async fn ask_numbered(
        &self,
        number: RequestNumber,
        request: Request,
        payload: Bytes,
    ) -> Result<Answer, HostError> {
        let answer = self.exchange(number, request, payload).await?;
        Ok(answer.header)
    }

    async fn exchange(
        &self,
        number: RequestNumber,
        request: Request,
        payload: Bytes,
    ) -> Result<Frame<Answer>, HostError> {
        // The connection would not survive it.
        if !STEP_HOST.has_room_for(&request) {
            return Err(HostError::Refused(too_long(&request)));
        }
        let (sender, answer) = oneshot::channel();
        self.lock().answers.insert(number, sender);
        self.send(request, payload).await?;
        let answer = tokio::select! {
            answer = answer => answer.map_err(|_| HostError::Lost)?,
            () = self.lost.cancelled() => return Err(HostError::Lost),
        };
        match answer.header {
            Answer::Refused { reason, .. } => Err(HostError::Refused(reason)),
            header => Ok(Frame {
                header,
                payload: answer.payload,
            }),
        }
    }

    async fn send(&self, header: Request, payload: Bytes) -> Result<(), HostError> {
        self.requests
            .send(Frame { header, payload })
            .await
            .map_err(|_| HostError::Lost)
    }

    fn next_number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// What happens next; `None` when the step host is lost.
    pub(crate) async fn next(&mut self) -> Option<ProcessEvent> {
        self.events.recv().await
    }
}

fn too_long(request: &Request) -> String {
    match request {
        Request::Start { program, .. } => program.too_long(),
        Request::Stop { .. }
        | Request::Write { .. }
        | Request::Remove { .. }
        | Request::MakeDirectory { .. }
        | Request::Look { .. }
        | Request::Locate { .. }
        | Request::List { .. }
        | Request::Read { .. }
        | Request::Hash { .. }
        | Request::Pack { .. }
        | Request::Unpack { .. }
        | Request::KillEverything { .. } => "its paths are too long".to_owned(),
    }
}

fn out_of_turn(_: &Answer) -> HostError {
    HostError::Refused("the step host answered something else than was asked".to_owned())
}

async fn write_requests(
    write: OwnedWriteHalf,
    mut requests: mpsc::Receiver<Frame<Request>>,
    lost: CancellationToken,
) {
    let mut sink = FramedWrite::new(write, FrameCodec::<Answer, Request>::new(STEP_HOST));
    while let Some(request) = requests.recv().await {
        if let Err(error) = sink.send(request).await {
            tracing::warn!(%error, "failed to write to the step host");
            lost.cancel();
            return;
        }
    }
}

async fn read_answers(read: OwnedReadHalf, waiting: Arc<Mutex<Waiting>>, lost: CancellationToken) {
    let mut answers = FramedRead::new(read, FrameCodec::<Answer, Request>::new(STEP_HOST));
    loop {
        match answers.next().await {
            Some(Ok(frame)) => deliver(frame, &waiting).await,
            Some(Err(FrameError::Broken(_))) | None => break,
            Some(Err(error)) => {
                tracing::error!(%error, "the step host does not keep to the protocol");
                break;
            }
        }
    }
    lost.cancel();
    // Ends every wait for a process.
    *waiting.lock().unwrap_or_else(PoisonError::into_inner) = Waiting::default();
}

/// Answers to questions that nobody asked are dropped.
async fn deliver(frame: Frame<Answer>, waiting: &Mutex<Waiting>) {
    let Frame { header, payload } = frame;
    let (number, event, last) = match header {
        Answer::Output { process, stream } => {
            (process, ProcessEvent::Output(stream, payload), false)
        }
        Answer::Exited {
            process,
            exit,
            out_of_memory,
        } => (process, ProcessEvent::Exited(exit, out_of_memory), true),
        Answer::Hello { .. } => return,
        Answer::Done { request }
        | Answer::Refused { request, .. }
        | Answer::Found { request, .. }
        | Answer::Located { request, .. }
        | Answer::Listed { request, .. }
        | Answer::Content { request }
        | Answer::Hashed { request, .. }
        | Answer::Packed { request, .. }
        | Answer::Killed { request, .. }
        | Answer::Started {
            process: request, ..
        } => {
            let asker = lock(waiting).answers.remove(&request);
            if let Some(asker) = asker {
                let _ = asker.send(Frame { header, payload });
            }
            return;
        }
    };
    let receiver = if last {
        lock(waiting).processes.remove(&number)
    } else {
        lock(waiting).processes.get(&number).cloned()
    };
    if let Some(receiver) = receiver {
        // Waits while the step's output is handled; that holds back the step host, and it the step.
        let _ = receiver.send(event).await;
    }
}

fn lock(waiting: &Mutex<Waiting>) -> std::sync::MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
