//! The whole on one machine: a real pool service in this process, and agent and step host as processes.
#![allow(dead_code, unreachable_pub)] // Every test file uses its own part of this.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // It is all test code.

pub mod operator;
pub mod pipelines;
pub mod pod;
pub mod proxy;
pub mod tasks;
pub mod tunnel;

use dayfly_client::{AgentQuery, Client, Credential, PlanScope};
use dayfly_keys::agent_key::AgentKey;
use dayfly_pool_service::rules::limits::Limits as Bounds;
use dayfly_pool_service::testing::{ALL_SCOPES, PoolHandle};
use dayfly_wire::agent::{Agent, AgentAuthorization, Property, SINGLE_USE};
use dayfly_wire::event::TaskResult;
use dayfly_wire::identity::ClaimedIdentity;
use dayfly_wire::ids::{AgentId, PoolId};
use dayfly_wire::queue::{GitRepository, QueuedJob};
use dayfly_wire::secret::SecretText;
use dayfly_wire::timeline::Record;
use std::future::Future;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const AGENT_USER: u32 = 10001;
pub const POOL: &str = "linux";
pub const PROJECT: &str = "demo";

/// How long anything is waited for; longer where sizes are larger.
fn limit() -> Duration {
    let given = std::env::var("DAYFLY_TEST_LIMIT").ok();
    let seconds = given.and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(120))
}

/// The agent, under a path that the agent's user can reach: the checkout may lie in root's home.
///
/// A hard link, because a copy could be open for writing in a child that another test forks just then.
pub fn agent_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let built = Path::new(env!("CARGO_BIN_EXE_dayfly-agent"));
        let inode = std::fs::metadata(built).unwrap().ino();
        let reachable = std::env::temp_dir().join(format!("dayfly-agent-under-test-{inode}"));
        match std::fs::hard_link(built, &reachable) {
            Ok(()) => reachable,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => reachable,
            // Another file system: there is nothing better than the path that cargo gave.
            Err(_) => built.to_path_buf(),
        }
    })
}

/// A pool service, and a directory for agents.
pub struct World {
    pub pool: PoolHandle,
    pub admin: Client,
    pub pat: SecretText,
    pub pool_id: PoolId,
    pub directory: tempfile::TempDir,
}

/// An agent and its step host.
pub struct AgentProcesses {
    pub name: String,
    pub directory: PathBuf,
    pub agent: Child,
    pub step_host: Child,
}

/// What became of a job.
pub struct Outcome {
    pub result: TaskResult,
    pub records: Vec<Record>,
    /// The job's stored log.
    pub log: String,
    /// Every stored log and every record as text.
    pub everything: String,
}

impl World {
    pub async fn start() -> Self {
        Self::within(Bounds::default()).await
    }

    /// With a service that takes other amounts.
    pub async fn within(bounds: Bounds) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let pool = PoolHandle::builder().bounds(bounds).start();
        Self::of(pool.await.unwrap()).await
    }

    /// Agents reach the service through one that has trouble with some of their calls.
    pub async fn in_trouble() -> (Self, proxy::Troubled) {
        let troubled = proxy::Troubled::start().await;
        let url = format!("{}/default", troubled.url);
        let pool = PoolHandle::builder().public_url(url).start().await.unwrap();
        troubled.in_front_of(pool.address());
        (Self::of(pool).await, troubled)
    }

    async fn of(pool: PoolHandle) -> Self {
        let pat = pool.pat(ALL_SCOPES).await.unwrap();
        let admin = Client::builder(pool.url())
            .credential(Credential::Pat(pat.duplicate()))
            .build()
            .unwrap();
        let pool_id = pool.create_pool(POOL).await.unwrap();
        Self {
            pool,
            admin,
            pat,
            pool_id,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// Registers an agent, as the operator does, and gives its identity.
    pub async fn identity(&self, name: &str, single_use: bool) -> ClaimedIdentity {
        let key = AgentKey::generate().unwrap();
        let mut draft = Agent {
            name: name.to_owned(),
            version: Some("4.260.0".to_owned()),
            os_description: Some("Linux".to_owned()),
            enabled: Some(true),
            max_parallelism: Some(1),
            authorization: Some(AgentAuthorization {
                public_key: Some(key.public().to_wire()),
                ..AgentAuthorization::default()
            }),
            ..Agent::default()
        };
        if single_use {
            draft
                .properties
                .insert(SINGLE_USE.to_owned(), Property::boolean(true));
        }
        let agent = self
            .admin
            .register_agent(self.pool_id, &draft)
            .await
            .unwrap();
        let authorization = agent.authorization.unwrap();
        let url = authorization.authorization_url.unwrap();
        ClaimedIdentity {
            agent_id: agent.id,
            agent_name: agent.name,
            pool_id: self.pool_id,
            server_url: self.pool.url().to_owned(),
            client_id: authorization.client_id.unwrap(),
            authorization_url: url.clone(),
            token_url: url,
            private_key: key.to_base64().unwrap(),
            agent_version: "4.260.0".to_owned(),
            system_capabilities: Default::default(),
            callback_token: SecretText::new(String::new()),
            idle_timeout_seconds: 0,
            ca_bundle: None,
            proxy: None,
        }
    }

    /// Registers and starts an agent with its step host.
    pub async fn agent(&self, name: &str) -> AgentProcesses {
        let identity = self.identity(name, false).await;
        self.agent_with(&identity)
    }

    pub fn agent_with(&self, identity: &ClaimedIdentity) -> AgentProcesses {
        self.agent_in_image(identity, |_| {})
    }

    /// With more on its command line.
    pub fn agent_that(&self, identity: &ClaimedIdentity, more: &[&str]) -> AgentProcesses {
        let mut command = self.listening(identity);
        command.args(more);
        self.start_agent(&identity.agent_name, command)
    }

    fn listening(&self, identity: &ClaimedIdentity) -> Command {
        let directory = self.agent_directory(&identity.agent_name);
        let file = directory.join("identity.json");
        std::fs::write(&file, serde_json::to_vec(identity).unwrap()).unwrap();
        let mut command = Command::new(agent_program());
        command.arg("listen").arg("--identity-file").arg(&file);
        command
    }

    /// With a job container that is not as this machine is.
    pub fn agent_in_image(
        &self,
        identity: &ClaimedIdentity,
        image: impl FnOnce(&mut Command),
    ) -> AgentProcesses {
        let command = self.listening(identity);
        self.start_agent_in(&identity.agent_name, command, image)
    }

    /// Removes an agent, so that another may have its name and its directory.
    pub async fn forget(&self, name: &str) {
        let id = self.agent_id(name).await;
        self.admin.delete_agent(self.pool_id, id).await.unwrap();
        std::fs::remove_dir_all(self.directory.path().join(name)).unwrap();
    }

    /// The stored log of one record.
    pub async fn log_of(&self, job: &QueuedJob, outcome: &Outcome, name: &str) -> String {
        let log = outcome.record(name).log.as_ref().unwrap().id;
        self.admin.log_text(&self.scope(job), log).await.unwrap()
    }

    /// Where agents look for a cache volume; there is none until a test makes it.
    pub fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    /// Gives agents a cache volume.
    pub fn with_cache(&self) {
        std::fs::create_dir(self.cache()).unwrap();
        give_away(&self.cache());
    }

    /// A directory for an agent, as its pod's volumes.
    pub fn agent_directory(&self, name: &str) -> PathBuf {
        let directory = self.directory.path().join(name);
        for part in ["pages", "volume/work", "scripts"] {
            std::fs::create_dir_all(directory.join(part)).unwrap();
        }
        directory
    }

    /// Starts a `listen` that lacks only what every agent is given, and a step host.
    pub fn start_agent(&self, name: &str, listen: Command) -> AgentProcesses {
        self.start_agent_in(name, listen, |_| {})
    }

    fn start_agent_in(
        &self,
        name: &str,
        mut listen: Command,
        image: impl FnOnce(&mut Command),
    ) -> AgentProcesses {
        let directory = self.agent_directory(name);
        give_away(&directory);
        let socket = directory.join("s.sock");
        let agent = logged(
            listen
                .arg("--socket")
                .arg(&socket)
                .arg("--work")
                .arg(directory.join("volume"))
                .arg("--pages")
                .arg(directory.join("pages"))
                .arg("--cache")
                .arg(self.cache()),
            &directory.join("agent.log"),
        );
        let mut step_host = Command::new(agent_program());
        image(&mut step_host);
        let step_host = logged(
            step_host
                .args(["step-host", "--not-process-one", "--socket"])
                .arg(&socket)
                .arg("--work")
                .arg(directory.join("volume/work"))
                .arg("--scripts")
                .arg(directory.join("scripts"))
                .arg("--tasks")
                .arg(directory.join("volume/tasks"))
                .env("HOME", directory.join("volume/work/home"))
                .env("DAYFLY_ONLY_OURS", "not for steps"),
            &directory.join("step-host.log"),
        );
        AgentProcesses {
            name: name.to_owned(),
            directory,
            agent,
            step_host,
        }
    }

    /// Queues a job of these steps.
    pub async fn queue(&self, job: serde_json::Value) -> QueuedJob {
        let mut job = job;
        job["pool"] = POOL.into();
        self.pool.queue_json(job).await.unwrap()
    }

    /// Waits for a job's end; its logs, which may be long, are left where they are.
    pub async fn ended(&self, job: &QueuedJob) -> (TaskResult, Vec<Record>) {
        let result = wait_for("the job's end", || async {
            let job = self.admin.job(PROJECT, job.request_id).await.unwrap();
            job.result
        })
        .await;
        let scope = self.scope(job);
        let timeline = self.admin.timeline(&scope, job.timeline_id).await.unwrap();
        (result, timeline.records.unwrap_or_default())
    }

    /// Waits for a job's end.
    pub async fn outcome(&self, job: &QueuedJob) -> Outcome {
        let (result, records) = self.ended(job).await;
        let scope = self.scope(job);
        let mut everything = serde_json::to_string(&records).unwrap();
        let mut log = String::new();
        for record in &records {
            if let Some(reference) = &record.log {
                let text = self.admin.log_text(&scope, reference.id).await.unwrap();
                everything += &text;
                if record.id.0 == job.job_id.0 {
                    log = text;
                }
            }
        }
        Outcome {
            result,
            records,
            log,
            everything,
        }
    }

    pub fn scope(&self, job: &QueuedJob) -> PlanScope {
        PlanScope {
            project: job.project_id,
            hub: "Build".to_owned(),
            plan: job.plan_id,
        }
    }

    /// Waits until a line of the job's live view holds a text.
    pub async fn line(&self, job: &QueuedJob, text: &str) {
        wait_for(&format!("the line {text:?}"), || async {
            let page = self
                .admin
                .follow_job(PROJECT, job.request_id, 0)
                .await
                .unwrap();
            page.value
                .iter()
                .any(|entry| entry.line.contains(text))
                .then_some(())
        })
        .await;
    }

    /// Makes a repository with these files, and gives the commit.
    pub async fn repository(&self, name: &str, files: &[(&str, &str)]) -> String {
        let draft = GitRepository {
            name: name.to_owned(),
            ..GitRepository::default()
        };
        self.admin.create_repository(PROJECT, &draft).await.unwrap();
        let directory = self.directory.path().join(format!("source-{name}"));
        std::fs::create_dir_all(&directory).unwrap();
        git(&directory, &["init", "-q", "-b", "main", "."]);
        for (path, content) in files {
            let path = directory.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        self.push(name, "the first commit")
    }

    /// Changes a file of a repository, and gives the commit.
    pub async fn commit(&self, name: &str, path: &str, content: &str) -> String {
        let directory = self.directory.path().join(format!("source-{name}"));
        std::fs::write(directory.join(path), content).unwrap();
        self.push(name, "another commit")
    }

    /// Runs git in a repository's sources; what it changes is pushed with the next commit.
    pub fn git(&self, name: &str, arguments: &[&str]) -> String {
        let directory = self.directory.path().join(format!("source-{name}"));
        git(&directory, arguments)
    }

    /// Makes a commit of a repository the submodule of another, and pushes that.
    pub async fn submodule(&self, name: &str, path: &str, url: &str, commit: &str) -> String {
        let entry = format!("160000,{commit},{path}");
        self.git(name, &["update-index", "--add", "--cacheinfo", &entry]);
        for (key, value) in [("path", path), ("url", url)] {
            let key = format!("submodule.{path}.{key}");
            self.git(name, &["config", "-f", ".gitmodules", &key, value]);
        }
        self.git(name, &["add", ".gitmodules"]);
        // An empty directory stands for what is not checked out; without it git would take the entry for removed.
        let directory = self.directory.path().join(format!("source-{name}"));
        std::fs::create_dir_all(directory.join(path)).unwrap();
        self.push(name, "a submodule")
    }

    pub async fn agent_id(&self, name: &str) -> AgentId {
        let query = AgentQuery::default();
        let agents = self.admin.agents(self.pool_id, &query).await.unwrap();
        agents.iter().find(|agent| agent.name == name).unwrap().id
    }

    fn push(&self, name: &str, message: &str) -> String {
        let directory = self.directory.path().join(format!("source-{name}"));
        git(&directory, &["add", "-A"]);
        git(&directory, &["commit", "-q", "-m", message]);
        let url = format!("{}/{PROJECT}/_git/{name}", self.pool.url()).replacen(
            "://",
            &format!("://x:{}@", self.pat.expose()),
            1,
        );
        git(&directory, &["push", "-q", &url, "main"]);
        git(&directory, &["rev-parse", "HEAD"]).trim().to_owned()
    }
}

impl AgentProcesses {
    /// Waits for the agent's end, and the step host's.
    pub async fn exit(&mut self) -> ExitStatus {
        let name = self.name.clone();
        let agent = &mut self.agent;
        let status = wait_for(&format!("the end of {name}"), || {
            let status = agent.try_wait().unwrap();
            async move { status }
        })
        .await;
        let step_host = &mut self.step_host;
        wait_for(&format!("the end of {name}'s step host"), || {
            let status = step_host.try_wait().unwrap();
            async move { status }
        })
        .await;
        status
    }

    pub fn agent_log(&self) -> String {
        std::fs::read_to_string(self.directory.join("agent.log")).unwrap_or_default()
    }

    pub fn job_directory(&self) -> PathBuf {
        self.directory.join("volume/work/1")
    }
}

impl Drop for AgentProcesses {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("SHOW_LOGS").is_some() {
            println!("--- {} agent\n{}", self.name, self.agent_log());
            let host = std::fs::read_to_string(self.directory.join("step-host.log"));
            println!("--- {} step host\n{}", self.name, host.unwrap_or_default());
        }
        for child in [&mut self.agent, &mut self.step_host] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Outcome {
    pub fn record(&self, name: &str) -> &Record {
        self.records
            .iter()
            .find(|record| record.name.as_deref() == Some(name))
            .unwrap_or_else(|| panic!("no record {name:?} in {:#?}", self.names()))
    }

    pub fn names(&self) -> Vec<&str> {
        let mut records: Vec<_> = self.records.iter().collect();
        records.sort_by_key(|record| record.order);
        records
            .iter()
            .filter(|record| record.kind.as_deref() == Some("Task"))
            .filter_map(|record| record.name.as_deref())
            .collect()
    }
}

/// Asks until there is an answer; the deadline names what was waited for.
pub async fn wait_for<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + limit();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// As in a pod, the processes are nobody special: root gives them a user of their own.
pub fn as_agent_user(command: &mut Command) -> &mut Command {
    if is_root() {
        command.uid(AGENT_USER).gid(AGENT_USER);
    }
    command
}

/// Lets the agent's user have a directory, and reach it.
pub fn give_away(directory: &Path) {
    if !is_root() {
        return;
    }
    for above in directory
        .ancestors()
        .skip(1)
        .filter(|above| above.starts_with(std::env::temp_dir()))
    {
        if above != std::env::temp_dir() {
            std::fs::set_permissions(above, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    let status = Command::new("chown")
        .args(["-R", &format!("{AGENT_USER}:{AGENT_USER}")])
        .arg(directory)
        .status()
        .unwrap();
    assert!(
        status.success(),
        "failed to give {} away",
        directory.display()
    );
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn logged(command: &mut Command, log: &Path) -> Child {
    started(as_agent_user(command), log)
}

fn started(command: &mut Command, log: &Path) -> Child {
    let file = std::fs::File::create(log).unwrap();
    command
        .env(
            "DAYFLY_LOG",
            "debug,hyper=info,reqwest=info,hyper_util=info,h2=info,hickory=info",
        )
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap()
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The processes below a process: pid, command line.
pub fn descendants(root: u32) -> Vec<(u32, String)> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        let after = &stat[stat.rfind(')').unwrap() + 2..];
        let parent: u32 = after.split(' ').nth(1).unwrap().parse().unwrap();
        parents.push((pid, parent));
    }
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let current = found[at];
        found.extend(
            parents
                .iter()
                .filter(|(_, parent)| *parent == current)
                .map(|(pid, _)| *pid),
        );
        at += 1;
    }
    found
        .into_iter()
        .skip(1)
        .map(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            (pid, String::from_utf8_lossy(&line).replace('\0', " "))
        })
        .collect()
}

/// Sends a signal to a process that this test started.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status()
        .unwrap();
    assert!(status.success(), "failed to signal {pid}");
}
