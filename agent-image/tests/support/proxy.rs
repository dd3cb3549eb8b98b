//! A service in trouble: what the real one says, but for some calls of the agent's.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

const MOST: usize = 64 << 20;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The service does nothing and answers this.
    Status(u16),
    /// The service does nothing and asks to wait for so many seconds.
    Wait(u64),
    /// The service does it, and its answer breaks off.
    HalfAnswer,
    /// Nothing is done, and no answer ever comes.
    Stall,
    /// The service does it, and stops in the middle of its answer.
    StallHalfway,
}

/// Which calls.
#[derive(Debug)]
struct Rule {
    method: &'static str,
    /// Of its path; with a dollar sign its end.
    part: &'static str,
    trouble: Trouble,
    /// How many are left; none is forever.
    left: Option<u32>,
    met: u32,
}

pub struct Troubled {
    pub url: String,
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    upstream: Mutex<String>,
    rules: Mutex<Vec<Rule>>,
}

impl Troubled {
    /// A service in trouble in front of none yet.
    pub async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let builder = reqwest::Client::builder().no_proxy().no_gzip();
        let http = builder.redirect(reqwest::redirect::Policy::none());
        let inner = Arc::new(Inner {
            http: http.build().unwrap(),
            upstream: Mutex::default(),
            rules: Mutex::default(),
        });
        let app = Router::new().fallback(pass).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, inner }
    }

    /// The service behind it.
    pub fn in_front_of(&self, address: &str) {
        let end = address.find("/default").unwrap_or(address.len());
        *self.inner.upstream.lock().unwrap() = address[..end].to_owned();
    }

    /// Some calls of agents have trouble: so many of them, or all.
    pub fn trouble(
        &self,
        calls: (&'static str, &'static str),
        trouble: Trouble,
        left: Option<u32>,
    ) {
        let (method, part) = calls;
        self.inner.rules.lock().unwrap().push(Rule {
            method,
            part,
            trouble,
            left,
            met: 0,
        });
    }

    /// The calls that should have had trouble and were not made.
    pub fn not_met(&self) -> Vec<String> {
        let rules = self.inner.rules.lock().unwrap();
        let not_met = rules.iter().filter(|rule| rule.met == 0);
        not_met.map(|rule| format!("{rule:?}")).collect()
    }
}

impl Inner {
    fn trouble(&self, method: &str, path: &str) -> Option<Trouble> {
        let mut rules = self.rules.lock().unwrap();
        let rule = rules.iter_mut().find(|rule| {
            let is_meant = match rule.part.strip_suffix('$') {
                Some(end) => path.ends_with(end),
                None => path.contains(rule.part),
            };
            rule.method == method && is_meant && rule.left != Some(0)
        })?;
        rule.left = rule.left.map(|left| left - 1);
        rule.met += 1;
        Some(rule.trouble)
    }
}

async fn pass(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, MOST).await.unwrap();
    let path = head.uri.path_and_query().map_or("", |it| it.as_str());
    // The tests' own calls have no trouble.
    let of_agent = head
        .headers
        .get(header::AUTHORIZATION)
        .is_some_and(|value| value.to_str().unwrap().starts_with("Bearer"));
    let trouble = of_agent
        .then(|| inner.trouble(head.method.as_str(), path))
        .flatten();
    match trouble {
        Some(Trouble::Status(status)) => return refused(status, None),
        Some(Trouble::Wait(seconds)) => return refused(429, Some(seconds)),
        Some(Trouble::Stall) => std::future::pending().await,
        _ => {}
    }
    let url = format!("{}{path}", inner.upstream.lock().unwrap());
    let mut headers = head.headers.clone();
    for name in [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ] {
        headers.remove(name);
    }
    let sent = inner
        .http
        .request(head.method, url)
        .headers(headers)
        .body(body);
    let Ok(answer) = sent.send().await else {
        return refused(502, None);
    };
    let (status, headers) = (answer.status(), answer.headers().clone());
    let Ok(body) = answer.bytes().await else {
        return refused(502, None);
    };
    match trouble {
        Some(Trouble::HalfAnswer) => half(status, &headers, &body, false),
        Some(Trouble::StallHalfway) => half(status, &headers, &body, true),
        _ => respond(status, &headers, body.len(), Body::from(body)),
    }
}

fn refused(status: u16, after: Option<u64>) -> Response {
    let mut response = Response::builder().status(status);
    if let Some(after) = after {
        response = response.header(header::RETRY_AFTER, after);
    }
    response.body(Body::empty()).unwrap()
}

fn respond(status: StatusCode, headers: &HeaderMap, length: usize, body: Body) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        if !matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING) {
            response = response.header(name, value);
        }
    }
    response
        .header(header::CONTENT_LENGTH, length)
        .body(body)
        .unwrap()
}

/// One byte at least does not come.
fn half(status: StatusCode, headers: &HeaderMap, body: &Bytes, stalls: bool) -> Response {
    use futures::StreamExt;
    let status = if status == StatusCode::NO_CONTENT {
        StatusCode::OK
    } else {
        status
    };
    let first = body.slice(..body.len() / 2);
    let first = futures::stream::iter([Ok(first)]);
    let rest = futures::stream::once(async move {
        if stalls {
            std::future::pending::<()>().await;
        }
        Err(std::io::Error::other("the answer breaks off"))
    });
    let length = body.len() + 1;
    respond(
        status,
        headers,
        length,
        Body::from_stream(first.chain(rest)),
    )
}
