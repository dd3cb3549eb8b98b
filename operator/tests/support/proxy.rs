//! Stands between the operator (and agents) and what they ask, counts what passes, and does harm where a test says so.

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What is asked of the other side.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// As `create secrets@system`, `patch agentpools/status@ci`, `DELETE agents/#`.
    pub(crate) kind: String,
    /// Whether it can change something.
    pub(crate) writes: bool,
    /// Whether the operator asks.
    pub(crate) by_operator: bool,
}

/// What happens to a call.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Nothing.
    Pass,
    /// The operator is dead before the other side sees the call.
    KillBefore,
    /// The other side has done it, and the operator dies before it hears so.
    KillAfter,
    /// It takes this long longer.
    Delay(Duration),
    /// The other side never sees it; this is the answer, with a `Retry-After` in seconds.
    Answer(u16, Option<u64>),
    /// The connection breaks before the other side sees it.
    Reset,
    /// The other side does it, and the connection breaks before the answer.
    LoseAnswer,
    /// The other side does it, and the connection breaks in the middle of the answer.
    HalfAnswer,
    /// The other side is asked twice, and the second answer counts.
    Twice,
    /// The answer that the same question had the last time.
    Stale,
}

/// Decides what happens to a call.
pub(crate) type Judge = Arc<dyn Fn(&Call) -> Fault + Send + Sync>;

/// What is on the other side.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The API server.
    Cluster,
    /// The pool service.
    Service,
}

/// The connection is cut without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
struct Cut;

/// One proxy.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    side: Side,
    upstream: String,
    http: reqwest::Client,
    judge: Mutex<Judge>,
    kill: Box<dyn Fn() + Send + Sync>,
    counts: Mutex<BTreeMap<String, usize>>,
    writes: Mutex<BTreeSet<String>>,
    last: Mutex<HashMap<String, (StatusCode, HeaderMap, Bytes)>>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Proxy {
    /// Begins to listen. `kill` ends the operator and returns when it is dead.
    pub(crate) fn start(
        side: Side,
        listener: TcpListener,
        upstream: String,
        http: reqwest::Client,
        kill: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            side,
            upstream,
            http,
            judge: Mutex::new(Arc::new(|_| Fault::Pass)),
            kill: Box::new(kill),
            counts: Mutex::default(),
            writes: Mutex::default(),
            last: Mutex::default(),
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self {
            url,
            shared,
            serving,
        }
    }

    /// Does harm from now on.
    pub(crate) fn judge(&self, judge: impl Fn(&Call) -> Fault + Send + Sync + 'static) {
        *self.shared.judge.lock().unwrap() = Arc::new(judge);
    }

    /// Does no harm any more.
    pub(crate) fn relent(&self) {
        self.judge(|_| Fault::Pass);
    }

    /// The kinds of calls by which the operator can have changed something.
    pub(crate) fn writes(&self) -> BTreeSet<String> {
        self.shared.writes.lock().unwrap().clone()
    }

    /// How often the operator asked for what, whatever came of it.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        self.shared.counts.lock().unwrap().clone()
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let shared = Arc::clone(&shared);
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            let service =
                hyper::service::service_fn(move |request| pass(Arc::clone(&shared), request));
            // A cut connection is what was asked for.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn pass(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(Body::new(body), usize::MAX)
        .await
        .map_err(|_| Cut)?;
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let call = call(shared.side, &parts.method, target, &parts.headers);
    if call.by_operator {
        let mut counts = shared.counts.lock().unwrap();
        *counts.entry(call.kind.clone()).or_default() += 1;
        if call.writes {
            shared.writes.lock().unwrap().insert(call.kind.clone());
        }
    }
    let judge = Arc::clone(&shared.judge.lock().unwrap());
    let fault = judge(&call);
    let send = || forward(&shared, &parts.method, target, &parts.headers, &body);
    match fault {
        Fault::Pass => send().await,
        Fault::KillBefore => {
            (shared.kill)();
            Err(Cut)
        }
        Fault::KillAfter => {
            let _ = send().await;
            (shared.kill)();
            Err(Cut)
        }
        Fault::Delay(time) => {
            tokio::time::sleep(time).await;
            send().await
        }
        Fault::Answer(status, after) => Ok(refusal(status, after)),
        Fault::Reset => Err(Cut),
        Fault::LoseAnswer => {
            let _ = send().await;
            Err(Cut)
        }
        Fault::HalfAnswer => Ok(halved(send().await?).await),
        Fault::Twice => {
            let _ = send().await;
            send().await
        }
        Fault::Stale => {
            let key = format!("{} {target}", parts.method);
            let last = shared.last.lock().unwrap().get(&key).cloned();
            match last {
                Some((status, headers, bytes)) => Ok(response(status, headers, bytes.into())),
                None => send().await,
            }
        }
    }
}

fn refusal(status: u16, after: Option<u64>) -> Response<Body> {
    let mut response = Response::builder().status(status);
    if let Some(after) = after {
        response = response.header(header::RETRY_AFTER, after);
    }
    response.body(Body::from("trouble")).unwrap()
}

/// The first half of an answer, whose length promises all of it.
async fn halved(answer: Response<Body>) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    parts
        .headers
        .insert(header::CONTENT_LENGTH, (body.len() + 1).into());
    let half = body.slice(..body.len() / 2);
    let pieces = [Ok(half), Err(Cut)];
    Response::from_parts(parts, Body::from_stream(futures::stream::iter(pieces)))
}

async fn forward(
    shared: &Shared,
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response<Body>, Cut> {
    let mut headers = headers.clone();
    for name in [header::HOST, header::CONTENT_LENGTH, header::CONNECTION] {
        headers.remove(name);
    }
    let url = format!("{}{target}", shared.upstream);
    let asked = shared.http.request(method.clone(), url).headers(headers);
    let answer = asked.body(body.clone()).send().await.map_err(|_| Cut)?;
    let status = answer.status();
    let mut headers = answer.headers().clone();
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::CONNECTION);
    if target.contains("watch=") {
        let stream = Body::from_stream(answer.bytes_stream());
        return Ok(response(status, headers, stream));
    }
    let bytes = answer.bytes().await.map_err(|_| Cut)?;
    if *method == Method::GET {
        let kept = (status, headers.clone(), bytes.clone());
        let mut last = shared.last.lock().unwrap();
        last.insert(format!("{method} {target}"), kept);
    }
    Ok(response(status, headers, bytes.into()))
}

fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn call(side: Side, method: &Method, target: &str, headers: &HeaderMap) -> Call {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let agent = headers.get(header::USER_AGENT);
    let agent = agent
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    Call {
        kind: match side {
            Side::Cluster => cluster_kind(method, path, query),
            Side::Service => service_kind(method, path),
        },
        writes: *method != Method::GET && *method != Method::OPTIONS,
        by_operator: side == Side::Cluster || agent.starts_with("dayfly-operator/"),
    }
}

/// `/api/v1/namespaces/NAMESPACE/RESOURCE/NAME/SUBRESOURCE`, or below `/apis/GROUP/VERSION`.
fn cluster_kind(method: &Method, path: &str, query: &str) -> String {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let rest = match parts.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        other => return format!("{method} /{}", other.join("/")),
    };
    let (place, rest) = match rest {
        ["namespaces", name, rest @ ..] if !rest.is_empty() => {
            let (place, _) = name.split_once('-').unwrap_or((name, ""));
            (format!("@{place}"), rest)
        }
        other => (String::new(), other),
    };
    let (resource, named) = match rest {
        [resource, _, subresource] => (format!("{resource}/{subresource}"), true),
        [resource, _] => ((*resource).to_owned(), true),
        other => (other.join("/"), false),
    };
    let verb = match (method.as_str(), named) {
        ("GET", _) if query.contains("watch=") => "watch",
        ("GET", true) => "get",
        ("GET", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", _) => "delete",
        (other, _) => other,
    };
    format!("{verb} {resource}{place}")
}

/// What is behind the pool, with `#` for ids.
fn service_kind(method: &Method, path: &str) -> String {
    let mut parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    if let Some(at) = parts.iter().position(|part| *part == "_apis") {
        parts.drain(..=at);
    }
    let is_id = |part: &str| part.parse::<u64>().is_ok() || part.len() == 36;
    if let ["distributedtask", "pools", id, ..] = parts.as_slice()
        && is_id(id)
        && parts.len() > 3
    {
        parts.drain(..3);
    }
    let parts = parts
        .iter()
        .map(|part| if is_id(part) { "#" } else { part });
    format!("{method} {}", parts.collect::<Vec<_>>().join("/"))
}
