//! The operator's own program, as often as a test wants it: started, killed, told to stop, started again.

use super::cluster::{free_port, tail};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// How the program is started, whatever its name.
pub(crate) struct Start {
    /// The operator's namespace.
    pub(crate) namespace: String,
    /// Where the sealed keys are.
    pub(crate) identities: String,
    /// Where the agents are.
    pub(crate) pools: String,
    /// The URL of the identity API, as agents are told it.
    pub(crate) identity_url: String,
    /// How the API server is reached.
    pub(crate) kubeconfig: PathBuf,
    /// Where logs go.
    pub(crate) directory: PathBuf,
}

struct Process {
    child: Child,
    identity: u16,
    health: u16,
}

/// The processes, by the name of their pod.
pub(crate) struct Operators {
    start: Start,
    running: Mutex<BTreeMap<String, Process>>,
}

impl Operators {
    /// Nothing runs yet.
    pub(crate) fn new(start: Start) -> Self {
        Self {
            start,
            running: Mutex::default(),
        }
    }

    /// Starts the operator of a pod.
    pub(crate) fn start(&self, pod: &str) {
        let Start {
            namespace,
            identities,
            pools,
            identity_url,
            kubeconfig,
            directory,
        } = &self.start;
        let log = directory.join(format!("{pod}.log"));
        let log = File::options().create(true).append(true).open(log).unwrap();
        let (identity, health) = (free_port(), free_port());
        let child = Command::new(env!("CARGO_BIN_EXE_dayfly-operator"))
            .args(["run", "--namespace", namespace, "--pod-name", pod])
            .args(["--identities-namespace", identities])
            .args(["--watch-namespaces", pools])
            .args(["--identity-url", identity_url])
            .args(["--identity-listen", &format!("127.0.0.1:{identity}")])
            .args(["--health-listen", &format!("127.0.0.1:{health}")])
            .args(["--agent-image", "dayfly/agent:test"])
            .args(["--log", "info,kube_client=off"])
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let process = Process {
            child,
            identity,
            health,
        };
        let before = self.running.lock().unwrap().insert(pod.to_owned(), process);
        assert!(before.is_none(), "operator {pod} runs already");
    }

    /// SIGKILL; returns when the process is dead.
    pub(crate) fn kill(&self, pod: &str) {
        if let Some(mut process) = self.running.lock().unwrap().remove(pod) {
            process.child.kill().unwrap();
            process.child.wait().unwrap();
        }
    }

    /// Kills all there are.
    pub(crate) fn kill_all(&self) {
        let pods: Vec<String> = self.running.lock().unwrap().keys().cloned().collect();
        for pod in pods {
            self.kill(&pod);
        }
    }

    /// Sends a signal, as in `TERM`; the process stays in the list until it is killed or [`Self::ended`].
    pub(crate) fn signal(&self, pod: &str, signal: &str) {
        let id = self.running.lock().unwrap()[pod].child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// The exit code of one that ended by itself; it is in the list no more then.
    pub(crate) fn ended(&self, pod: &str) -> Option<i32> {
        let mut running = self.running.lock().unwrap();
        let status = running.get_mut(pod)?.child.try_wait().unwrap()?;
        running.remove(pod);
        Some(status.code().unwrap_or(-1))
    }

    /// Whether a pod's operator runs.
    pub(crate) fn runs(&self, pod: &str) -> bool {
        let mut running = self.running.lock().unwrap();
        let process = running.get_mut(pod);
        process.is_some_and(|process| process.child.try_wait().unwrap().is_none())
    }

    /// Where the identity API of a pod's operator listens.
    pub(crate) fn identity_port(&self, pod: &str) -> Option<u16> {
        let running = self.running.lock().unwrap();
        running.get(pod).map(|process| process.identity)
    }

    /// Where a pod's operator tells its health.
    pub(crate) fn health_url(&self, pod: &str) -> String {
        let running = self.running.lock().unwrap();
        format!("http://127.0.0.1:{}", running[pod].health)
    }

    /// The process id.
    pub(crate) fn id(&self, pod: &str) -> u32 {
        self.running.lock().unwrap()[pod].child.id()
    }

    /// Everything that a pod's operators wrote.
    pub(crate) fn log(&self, pod: &str) -> String {
        let path = self.start.directory.join(format!("{pod}.log"));
        std::fs::read_to_string(path).unwrap_or_default()
    }
}

impl Operators {
    /// The end of what each of them wrote, for the person who looks at a test that failed.
    pub(crate) fn show(&self) {
        let files = std::fs::read_dir(&self.start.directory);
        for entry in files.into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "log") {
                eprintln!("--- {}\n{}", path.display(), tail(&path, 60));
            }
        }
    }
}

impl Drop for Operators {
    fn drop(&mut self) {
        self.kill_all();
    }
}
