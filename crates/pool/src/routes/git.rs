//! Git over HTTP: the three calls of the smart protocol, piped through `git http-backend`.

use super::App;
use super::extract::{Authenticated, Parameters, Segments};
use super::reply::{Problem, Reply, streamed};
use crate::git::{self, Backend, Exchange};
use crate::rules::access::Caller;
use crate::rules::entities::Repository;
use crate::rules::refusal::{Kind, Refusal};
use crate::rules::trigger;
use crate::service::Failure;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::io::ReaderStream;

const UPLOAD_PACK: &str = "git-upload-pack";
const RECEIVE_PACK: &str = "git-receive-pack";
/// The largest body of a fetch: what the client has and wants.
const MAX_FETCH: usize = 64 * 1024 * 1024;
/// The largest push.
const MAX_PUSH: usize = 4 * 1024 * 1024 * 1024;
/// How long one exchange may take.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// How long a client waits for its turn.
const TURN: Duration = Duration::from_secs(60);

pub(crate) fn routes() -> Router<App> {
    const REPOSITORY: &str = "/{project}/_git/{repository}";
    Router::new()
        .route(&format!("{REPOSITORY}/info/refs"), get(references))
        .route(&format!("{REPOSITORY}/{UPLOAD_PACK}"), post(upload_pack))
        .route(&format!("{REPOSITORY}/{RECEIVE_PACK}"), post(receive_pack))
        .layer(DefaultBodyLimit::disable())
}

async fn references(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, repository)): Segments<(String, String)>,
    parameters: Parameters,
    request: Request,
) -> Reply {
    let writing = match parameters.text("service") {
        Some(UPLOAD_PACK) => false,
        Some(RECEIVE_PACK) => true,
        // The dumb protocol would read the repository's files one by one.
        Some(_) | None => {
            return Err(Refusal::invalid("service: git-upload-pack or git-receive-pack").into());
        }
    };
    let call = Call {
        service: "info/refs",
        writing,
        most: 0,
    };
    call.serve(app, &caller, &project, &repository, request)
        .await
}

async fn upload_pack(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, repository)): Segments<(String, String)>,
    request: Request,
) -> Reply {
    let call = Call {
        service: UPLOAD_PACK,
        writing: false,
        most: MAX_FETCH,
    };
    call.serve(app, &caller, &project, &repository, request)
        .await
}

async fn receive_pack(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Segments((project, repository)): Segments<(String, String)>,
    request: Request,
) -> Reply {
    let call = Call {
        service: RECEIVE_PACK,
        writing: true,
        most: MAX_PUSH,
    };
    call.serve(app, &caller, &project, &repository, request)
        .await
}

/// One of the three calls.
struct Call {
    service: &'static str,
    writing: bool,
    most: usize,
}

impl Call {
    async fn serve(
        self,
        app: App,
        caller: &Caller,
        project: &str,
        name: &str,
        request: Request,
    ) -> Reply {
        let name = name.strip_suffix(".git").unwrap_or(name);
        let repository = app
            .repository_for_git(caller, project, name, self.writing)
            .await?;
        let room = if self.writing {
            Some(app.repository_room(&repository).await?)
        } else {
            None
        };
        let permit = turn(&app).await?;
        app.metrics.git_requests.inc();
        let (parts, body) = request.into_parts();
        let header = |name: &str| value(&parts.headers, name);
        let pusher = match caller {
            Caller::Job(_) => trigger::JOB.to_owned(),
            Caller::Administrator { .. } | Caller::Listener(_) => {
                trigger::pusher_of(&caller.name())
            }
        };
        let mut child = git::start(&Exchange {
            root: app.repositories_dir(),
            path_info: format!("/{}.git/{}", repository.id, self.service),
            method: parts.method.as_str(),
            query: parts.uri.query().unwrap_or_default(),
            content_type: header(CONTENT_TYPE.as_str()),
            content_encoding: header(CONTENT_ENCODING.as_str()),
            protocol: header("git-protocol"),
            most: room,
            pusher: self.writing.then_some(pusher.as_str()),
        })
        .map_err(Failure::from)?;
        let stdin = child.stdin.take();
        let most = self.most;
        // Git may answer before it has read everything, so the body flows beside the answer.
        let feeding = tokio::spawn(async move {
            if let Some(stdin) = stdin {
                feed(stdin, body, most).await;
            }
        });
        let backend = tokio::time::timeout(LONGEST, git::answer(child))
            .await
            .map_err(|_| Failure::from(git::GitError::Timeout("answer a client")))?
            .map_err(Failure::from)?;
        let looking = (self.service == RECEIVE_PACK).then(|| LookOnDrop(app, repository));
        Ok(respond(backend, (permit, AbortOnDrop(feeding), looking)))
    }
}

/// Looks at what was pushed when the answer is dropped: git has written the branches before it ended its answer.
struct LookOnDrop(App, Repository);

impl Drop for LookOnDrop {
    fn drop(&mut self) {
        let (app, repository) = (Arc::clone(&self.0), self.1.clone());
        tokio::spawn(async move {
            if let Err(error) = app.check_in(&repository).await {
                // It is looked at again in a while.
                tracing::error!(repository = %repository.name, %error, "failed to look at what was pushed");
            }
        });
    }
}

/// Ends the task that feeds git when the answer is dropped.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a OsStr> {
    headers
        .get(name)
        .map(|value| OsStr::from_bytes(value.as_bytes()))
}

async fn turn(app: &App) -> Result<OwnedSemaphorePermit, Problem> {
    let acquired = tokio::time::timeout(TURN, app.git_slots.clone().acquire_owned()).await;
    match acquired {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) | Err(_) => {
            Err(Refusal::new(Kind::Internal, "too many git requests at once; try again").into())
        }
    }
}

/// Gives git the body; a body that is too long is broken off, and git then refuses it as incomplete.
async fn feed(mut stdin: ChildStdin, body: Body, most: usize) {
    let mut rest = most;
    let mut pieces = body.into_data_stream();
    while let Some(Ok(piece)) = pieces.next().await {
        if piece.len() > rest || stdin.write_all(&piece).await.is_err() {
            return;
        }
        rest -= piece.len();
    }
    // Closing is what tells git that the body is over; an error here shows in its answer.
    let _ = stdin.shutdown().await;
}

/// What lives as long as an answer is read.
type Held = (OwnedSemaphorePermit, AbortOnDrop, Option<LookOnDrop>);

fn respond(backend: Backend, held: Held) -> Response {
    let mut builder = Response::builder().status(backend.status);
    for (name, value) in &backend.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            builder = builder.header(name, value);
        }
    }
    let Backend { child, output, .. } = backend;
    // The process, its turn and its feeder live as long as the answer is read.
    let held = (child, held);
    streamed(
        builder,
        Body::from_stream(with_end(ReaderStream::new(output), held)),
    )
}

/// The stream, ended when it takes too long; `held` is let go of when it ends.
fn with_end<H: Send + 'static>(
    pieces: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    held: H,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    let deadline = tokio::time::Instant::now() + LONGEST;
    stream::try_unfold(
        (Box::pin(pieces), held),
        move |(mut pieces, held)| async move {
            match tokio::time::timeout_at(deadline, pieces.try_next()).await {
                Ok(piece) => Ok(piece?.map(|piece| (piece, (pieces, held)))),
                Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut)),
            }
        },
    )
}
