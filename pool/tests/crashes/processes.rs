//! Service processes behind one address, each of which may be killed and started again.

use crate::DEADLINE;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// The service: one process, or several on one PostgreSQL.
pub(crate) struct Processes {
    directory: tempfile::TempDir,
    database_url_file: Option<PathBuf>,
    addresses: Vec<SocketAddr>,
    running: Vec<Option<Child>>,
    /// The URL that stands for all of them.
    pub(crate) url: String,
}

impl Processes {
    /// Starts so many processes: one on SQLite, more on a database of this server.
    pub(crate) async fn start(count: usize, server: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database_url_file = match server {
            Some(server) => {
                let url = dayfly_pool_service::testing::create_database(server).await;
                let file = directory.path().join("database-url");
                std::fs::write(&file, url.unwrap()).unwrap();
                Some(file)
            }
            None => None,
        };
        let mut addresses = Vec::new();
        for _ in 0..count {
            // Free now; nobody else takes a port of the loopback interface in between but by bad luck.
            let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(free.local_addr().unwrap());
        }
        let url = balance(addresses.clone()).await;
        let mut processes = Self {
            directory,
            database_url_file,
            addresses,
            running: (0..count).map(|_| None).collect(),
            url,
        };
        let mut keys = processes.command("keys");
        keys.arg("create").arg("--output").arg(processes.keys());
        assert!(keys.status().await.unwrap().success());
        for index in 0..count {
            processes.start_again(index).await;
        }
        processes
    }

    /// A token with every scope.
    pub(crate) async fn pat(&self) -> String {
        let mut command = self.command("pat");
        command.args(["create", "--name", "load", "--scopes"]);
        command.arg("agentpools_manage,build_execute,code_write");
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Kills one of them with SIGKILL.
    pub(crate) async fn kill(&mut self, index: usize) {
        let mut child = self.running[index].take().unwrap();
        child.kill().await.unwrap();
    }

    /// Starts one of them, and waits until it listens.
    pub(crate) async fn start_again(&mut self, index: usize) {
        let address = self.addresses[index];
        let mut command = self.command("serve");
        if self.addresses.len() > 1 {
            command.arg("--keys-file").arg(self.keys());
        }
        command
            .args(["--listen", &address.to_string()])
            .args(["--public-url", &self.url])
            .stderr(self.log());
        let mut child = command.spawn().unwrap();
        let listening = async {
            while TcpStream::connect(address).await.is_err() {
                let ended = child.try_wait().unwrap();
                assert!(ended.is_none(), "the service ended: {}", self.errors());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(DEADLINE, listening).await;
        assert!(
            waited.is_ok(),
            "the service does not listen: {}",
            self.errors()
        );
        self.running[index] = Some(child);
    }

    /// What the service complained about, at its end.
    pub(crate) fn errors(&self) -> String {
        let text = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(20).collect();
        lines.join("\n")
    }

    fn keys(&self) -> PathBuf {
        self.directory.path().join("shared-keys.json")
    }

    fn log(&self) -> Stdio {
        let path = self.directory.path().join("log");
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path);
        file.unwrap().into()
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dayfly-pool"));
        command
            .arg(name)
            .env("DAYFLY_POOL_DATA_DIR", self.directory.path())
            .env("DAYFLY_LOG", "warn")
            .kill_on_drop(true);
        if let Some(file) = &self.database_url_file {
            command.env("DAYFLY_POOL_DATABASE_URL_FILE", file);
        }
        command
    }
}

/// Passes each connection on to the next address that takes it, as a Kubernetes Service does; answers its URL.
async fn balance(addresses: Vec<SocketAddr>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/default", listener.local_addr().unwrap());
    let addresses = Arc::new(addresses);
    let turn = AtomicUsize::new(0);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let first = turn.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(pass_on(client, Arc::clone(&addresses), first));
        }
    });
    url
}

async fn pass_on(mut client: TcpStream, addresses: Arc<Vec<SocketAddr>>, first: usize) {
    for offset in 0..addresses.len() {
        let address = addresses[(first + offset) % addresses.len()];
        if let Ok(mut server) = TcpStream::connect(address).await {
            // A connection that breaks off is what this is about.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
}
