//! A control plane of the test program's own: etcd and the API server as processes, in a directory of their own. They
//! end with the test program, however that ends.

use super::{DEADLINE, until};
use dayfly_operator::crd;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions::is_crd_established};
use kube::{Api, Client, ResourceExt};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::sync::OnceCell;

/// What an administrator of the test cluster shows.
const TOKEN: &str = "test-administrator";
/// Ends when the test program's end of its input is closed, and takes everything with it.
const WARDEN: &str = r#"
trap '' INT TERM HUP
"$1/etcd" --data-dir "$2/etcd" --unsafe-no-fsync --log-level warn \
  --listen-client-urls "http://127.0.0.1:$3" --advertise-client-urls "http://127.0.0.1:$3" \
  --listen-peer-urls "http://127.0.0.1:$4" --initial-advertise-peer-urls "http://127.0.0.1:$4" \
  --initial-cluster "default=http://127.0.0.1:$4" >"$2/etcd.log" 2>&1 &
etcd=$!
"$1/kube-apiserver" --etcd-servers "http://127.0.0.1:$3" --bind-address 127.0.0.1 --advertise-address 127.0.0.1 \
  --secure-port "$5" --tls-cert-file "$2/server.crt" --tls-private-key-file "$2/server.key" \
  --token-auth-file "$2/tokens.csv" --authorization-mode RBAC --service-cluster-ip-range 10.96.0.0/16 \
  --service-account-issuer https://kubernetes.default.svc \
  --service-account-key-file "$2/accounts.pub" --service-account-signing-key-file "$2/accounts.key" \
  --audit-policy-file "$2/audit.yaml" --audit-log-path "$2/audit.log" --audit-log-maxsize 1024 \
  >"$2/apiserver.log" 2>&1 &
apiserver=$!
read -r _
kill -9 $apiserver $etcd
wait
rm -rf "$2"
"#;
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\n\
                            rules: [{ level: Metadata }]\n";

static SHARED: OnceCell<Option<Cluster>> = OnceCell::const_new();

/// The control plane.
pub(crate) struct Cluster {
    /// Where its API server is.
    pub(crate) url: String,
    /// Whom to trust there (PEM).
    pub(crate) authority: String,
    directory: PathBuf,
    programs: PathBuf,
    /// It ends when its input does, which is open for as long as the test program lives.
    _warden: Child,
}

impl Cluster {
    /// The test program's cluster; none where its programs are not built, which CI does before.
    pub(crate) async fn shared() -> Option<&'static Self> {
        let start = || async {
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            let programs = programs();
            if !programs.join("kube-apiserver").exists() {
                assert!(
                    std::env::var_os("CI").is_none(),
                    "{} has no kube-apiserver: e2e/cluster/build.sh builds it",
                    programs.display()
                );
                eprintln!("skipped: no kube-apiserver in {}", programs.display());
                return None;
            }
            Some(Self::start(programs).await)
        };
        SHARED.get_or_init(start).await.as_ref()
    }

    async fn start(programs: PathBuf) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("dayfly-control-plane-")
            .tempdir()
            .unwrap()
            .keep();
        let authority = write_certificates(&directory);
        let tokens = format!("{TOKEN},administrator,administrator,system:masters\n");
        std::fs::write(directory.join("tokens.csv"), tokens).unwrap();
        std::fs::write(directory.join("audit.yaml"), AUDIT_POLICY).unwrap();
        let port = free_port();
        let warden = Command::new("sh")
            .args(["-c", WARDEN, "warden"])
            .args([&programs, &directory])
            .args([free_port(), free_port(), port].map(|port| port.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let cluster = Self {
            url: format!("https://127.0.0.1:{port}"),
            authority,
            directory,
            programs,
            _warden: warden,
        };
        cluster.wait_until_ready().await;
        cluster.install_definitions().await;
        cluster
    }

    async fn wait_until_ready(&self) {
        let http = self.http();
        until("the API server", DEADLINE, async || {
            let asked = http.get(format!("{}/readyz", self.url)).bearer_auth(TOKEN);
            match asked.send().await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(answer.text().await.unwrap_or_default()),
                Err(error) => Err(format!("{error}\n{}", self.log_tail())),
            }
        })
        .await;
    }

    fn log_tail(&self) -> String {
        tail(&self.directory.join("apiserver.log"), 5)
    }

    async fn install_definitions(&self) {
        let api: Api<CustomResourceDefinition> = Api::all(self.administrator());
        let params = PatchParams::apply("tests").force();
        for document in crd::documents() {
            let name = document.name_any();
            api.patch(&name, &params, &Patch::Apply(&document))
                .await
                .unwrap();
            let established = await_condition(api.clone(), &name, is_crd_established());
            tokio::time::timeout(DEADLINE, established)
                .await
                .unwrap()
                .unwrap();
        }
    }

    /// A client that may do everything; for one runtime only, as all clients.
    pub(crate) fn administrator(&self) -> Client {
        self.client(&self.url, TOKEN)
    }

    fn client(&self, url: &str, token: &str) -> Client {
        let mut config = kube::Config::new(url.parse().unwrap());
        config.root_cert = Some(vec![certificate(&self.authority)]);
        config.auth_info.token = Some(token.to_owned().into());
        Client::try_from(config).unwrap()
    }

    /// Trusts the API server, and shows nothing.
    pub(crate) fn http(&self) -> reqwest::Client {
        let authority = reqwest::Certificate::from_pem(self.authority.as_bytes()).unwrap();
        reqwest::Client::builder()
            .tls_certs_only([authority])
            .no_proxy()
            .gzip(false)
            .build()
            .unwrap()
    }

    /// Everything that the API server was asked, as lines of JSON.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.directory.join("audit.log")
    }

    /// A program that was built with the cluster's.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }
}

fn programs() -> PathBuf {
    let cache = std::env::var_os("DAYFLY_CACHE").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into()));
    let cache = cache.unwrap_or_else(|| home().join(".cache/dayfly"));
    cache.join("cluster/bin")
}

/// The last lines of a file.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// A port that is free now, and that no outgoing connection is given: those come from 32768 on.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 180).unwrap() * 50;
    loop {
        let port = 20_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn certificate(pem: &str) -> Vec<u8> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(pem.as_bytes())
        .unwrap()
        .to_vec()
}

/// The API server's certificate and the key of its service accounts; returns the authority.
fn write_certificates(directory: &Path) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let server_key = KeyPair::generate().unwrap();
    let subjects = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let server = CertificateParams::new(subjects)
        .unwrap()
        .signed_by(&server_key, &issuer)
        .unwrap();
    let accounts = KeyPair::generate().unwrap();
    for (name, text) in [
        ("server.crt", server.pem()),
        ("server.key", server_key.serialize_pem()),
        ("accounts.pub", accounts.public_key_pem()),
        ("accounts.key", accounts.serialize_pem()),
    ] {
        std::fs::write(directory.join(name), text).unwrap();
    }
    authority
}
