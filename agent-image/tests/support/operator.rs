//! The operator's side of the identity API, as far as one agent sees it: real TLS, scripted answers.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::{Json, Router};
use dayfly_wire::identity::{Claim, ClaimedIdentity, Refusal, Termination};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// What the operator is to do, and what it was told.
#[derive(Default)]
pub struct Script {
    /// Answers to claims before the identity is given.
    pub claim_refusals: VecDeque<u16>,
    pub identity: Option<ClaimedIdentity>,
    /// How long the answer to `accepted` takes.
    pub accepted_delay: Duration,
    pub termination: Option<Termination>,
    /// Path, authorization, body.
    pub calls: Vec<(String, String, String)>,
    pub accepted_asked: Option<Instant>,
    pub accepted_answered: Option<Instant>,
}

pub struct Operator {
    pub url: String,
    pub ca: String,
    pub script: Arc<Mutex<Script>>,
}

impl Operator {
    pub async fn start(script: Script) -> Self {
        let (config, ca) = certificates();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(script));
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&script));
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), router));
        Self { url, ca, script }
    }

    pub fn calls(&self, path: &str) -> Vec<(String, String)> {
        let script = self.script.lock().unwrap();
        script
            .calls
            .iter()
            .filter(|(called, _, _)| called == path)
            .map(|(_, authorization, body)| (authorization.clone(), body.clone()))
            .collect()
    }
}

fn certificates() -> (ServerConfig, String) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &Issuer::new(ca, ca_key))
        .unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    (config, ca_pem)
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, router: Router) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
                    .await;
            }
        });
    }
}

type Answer = Result<Vec<u8>, (StatusCode, Json<Refusal>)>;

async fn answer(
    State(script): State<Arc<Mutex<Script>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let authorization = headers["authorization"].to_str().unwrap().to_owned();
    let text = String::from_utf8(body.to_vec()).unwrap();
    script
        .lock()
        .unwrap()
        .calls
        .push((uri.path().to_owned(), authorization, text.clone()));
    match (method.as_str(), uri.path()) {
        ("POST", "/v1/claim") => claim(&script, &text),
        ("POST", "/v1/accepted") => {
            let delay = {
                let mut script = script.lock().unwrap();
                script.accepted_asked = Some(Instant::now());
                script.accepted_delay
            };
            tokio::time::sleep(delay).await;
            script.lock().unwrap().accepted_answered = Some(Instant::now());
            Ok(Vec::new())
        }
        ("GET", "/v1/termination") => {
            let termination = script.lock().unwrap().termination.clone();
            Ok(termination.map_or_else(Vec::new, |known| serde_json::to_vec(&known).unwrap()))
        }
        ("POST", "/v1/listening" | "/v1/finished") => Ok(Vec::new()),
        other => panic!("{other:?}"),
    }
}

fn claim(script: &Mutex<Script>, body: &str) -> Answer {
    let mut script = script.lock().unwrap();
    let _: Claim = serde_json::from_str(body).unwrap();
    if let Some(status) = script.claim_refusals.pop_front() {
        let message = "not now".to_owned();
        let status = StatusCode::from_u16(status).unwrap();
        return Err((status, Json(Refusal { message })));
    }
    Ok(serde_json::to_vec(script.identity.as_ref().unwrap()).unwrap())
}
