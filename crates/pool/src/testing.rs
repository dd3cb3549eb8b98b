//! The service in a test's own process, on a port of its own, with a directory of its own, and with a database of its
//! own: SQLite, or PostgreSQL where `DAYFLY_TEST_POSTGRES` is the URL of a server.

mod database;

pub use database::create as create_database;

use crate::clock::{Clock, ManualClock, SystemClock};
use crate::hook::WakeHook;
use crate::ops::messages::SEALED;
use crate::ops::pats;
use crate::rules::access::{Caller, ListenClaims, Scopes};
use crate::rules::limits::Limits as Bounds;
use crate::rules::role::Roles;
use crate::server::{self, Limits, Options, ServeError};
use crate::service::{POLL_HOLD, RETENTION, Service, Settings};
use crate::store::requests;
use crate::tls::Certificates;
use dayfly_wire::ids::{AgentId, ClientId, PoolId, RequestId};
use dayfly_wire::job::JobMessage;
use dayfly_wire::queue::{QueueJob, QueuedJob};
use dayfly_wire::request::JobRequest;
use dayfly_wire::secret::SecretText;
use jiff::{SignedDuration, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Every scope that there is.
pub const ALL_SCOPES: &str = "agentpools_manage,build_execute,code_write";

/// Why a test's service did not do what it was asked for.
pub type TestError = Box<dyn std::error::Error + Send + Sync>;

/// How a test's service is to be.
pub struct PoolBuilder {
    clock: Option<Arc<ManualClock>>,
    poll_hold: Duration,
    directory: Option<PathBuf>,
    wake_hook: Option<Arc<WakeHook>>,
    oidc_audiences: Vec<String>,
    options: Options,
    bounds: Bounds,
    retained_runs: Option<i64>,
    public_url: Option<String>,
}

/// A running service. It ends, and its directory goes, when the handle is dropped.
pub struct PoolHandle {
    service: Arc<Service>,
    serving: JoinHandle<Result<(), ServeError>>,
    clock: Option<Arc<ManualClock>>,
    directory: PathBuf,
    owns_directory: bool,
    address: String,
}

impl PoolBuilder {
    /// With a clock that goes only when [`PoolHandle::advance`] says so.
    #[must_use]
    pub fn manual_clock(mut self, start: Timestamp) -> Self {
        self.clock = Some(Arc::new(ManualClock::new(start)));
        self
    }

    /// With a manual clock that the test keeps.
    #[must_use]
    pub fn clock(mut self, clock: Arc<ManualClock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// With a shorter long poll.
    #[must_use]
    pub fn poll_hold(mut self, hold: Duration) -> Self {
        self.poll_hold = hold;
        self
    }

    /// That gives identity tokens for one more audience.
    #[must_use]
    pub fn oidc_audience(mut self, audience: &str) -> Self {
        self.oidc_audiences.push(audience.to_owned());
        self
    }

    /// With other limits than those outside tests.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.limits = limits;
        self
    }

    /// With TLS.
    #[must_use]
    pub fn tls(mut self, certificates: Arc<Certificates>) -> Self {
        self.options.tls = Some(certificates);
        self
    }

    /// With other bounds on what clients send.
    #[must_use]
    pub fn bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// That keeps so many finished runs of each pipeline.
    #[must_use]
    pub fn retained_runs(mut self, most: i64) -> Self {
        self.retained_runs = Some(most);
        self
    }

    /// On a directory that was there before and stays.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// With somebody to call when a queue has changed.
    #[must_use]
    pub fn wake_hook(mut self, url: impl Into<String>, secret: SecretText) -> Self {
        let url = url.into();
        self.wake_hook = Some(Arc::new(WakeHook { url, secret }));
        self
    }

    /// Known under another URL than its own, as behind a proxy.
    #[must_use]
    pub fn public_url(mut self, url: impl Into<String>) -> Self {
        self.public_url = Some(url.into());
        self
    }

    /// As another replica of a service: with its database, its keys and its URL.
    #[must_use]
    pub fn beside(mut self, other: &PoolHandle) -> Self {
        self.public_url = Some(other.url().to_owned());
        self.directory(other.directory())
    }

    /// Opens it without a listener and without background tasks: nothing happens but what the test does.
    pub async fn open(mut self) -> Result<Arc<Service>, TestError> {
        self.open_at("http://pool.test/default".to_owned()).await
    }

    async fn open_at(&mut self, public_url: String) -> Result<Arc<Service>, TestError> {
        let directory = self.directory.get_or_insert_with(|| {
            std::env::temp_dir().join(format!("dayfly-pool-{}", Uuid::new_v4()))
        });
        let settings = Settings {
            data_dir: directory.clone(),
            database_url_file: database::url_file(directory).await?,
            keys_file: None,
            public_url,
            poll_hold: self.poll_hold,
            retention: RETENTION,
            retained_runs: self.retained_runs,
            wake_hook: self.wake_hook.clone(),
            oidc_audiences: self.oidc_audiences.clone(),
            limits: self.bounds,
        };
        let clock: Arc<dyn Clock> = match &self.clock {
            Some(clock) => Arc::<ManualClock>::clone(clock),
            None => Arc::new(SystemClock),
        };
        Ok(Service::open(settings, clock).await?)
    }

    /// Starts it on a free port of the loopback interface.
    pub async fn start(mut self) -> Result<PoolHandle, TestError> {
        let owns_directory = self.directory.is_none();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let scheme = self.options.tls.as_ref().map_or("http", |_| "https");
        let address = format!("{scheme}://{}/default", listener.local_addr()?);
        let public_url = self.public_url.clone().unwrap_or_else(|| address.clone());
        let service = self.open_at(public_url).await?;
        let directory = service.settings.data_dir.clone();
        let serving = tokio::spawn(server::serve(Arc::clone(&service), listener, self.options));
        Ok(PoolHandle {
            service,
            serving,
            clock: self.clock,
            directory,
            owns_directory,
            address,
        })
    }
}

impl PoolHandle {
    /// A service with the system clock.
    pub async fn start() -> Result<Self, TestError> {
        Self::builder().start().await
    }

    /// A service as the test wants it.
    pub fn builder() -> PoolBuilder {
        PoolBuilder {
            clock: None,
            poll_hold: POLL_HOLD,
            directory: None,
            wake_hook: None,
            oidc_audiences: Vec::new(),
            options: Options::default(),
            bounds: Bounds::default(),
            retained_runs: None,
            public_url: None,
        }
    }

    /// The base URL, with the collection, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.service.settings.public_url
    }

    /// Where this replica itself is reached; [`Self::url`] unless it is beside another one.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Everything that the service has written: its files, and the tables of a database that is elsewhere.
    pub async fn at_rest(&self) -> Result<Vec<(String, Vec<u8>)>, TestError> {
        let mut all = database::tables(&self.directory).await?;
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.is_file() {
                all.push((path.display().to_string(), std::fs::read(&path)?));
            }
        }
        Ok(all)
    }

    /// Every route as `METHOD /path`, sorted; a path's parameters are in braces.
    pub fn routes(&self) -> Vec<String> {
        crate::routes::list(self.url())
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.service.metrics.connections.value()
    }

    /// The service itself.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// A new personal access token; `scopes` as in `agentpools_manage,build_execute`.
    pub async fn pat(&self, scopes: &str) -> Result<SecretText, TestError> {
        self.pat_named("test", scopes, None).await
    }

    /// A new personal access token with a name and a life.
    pub async fn pat_named(
        &self,
        name: &str,
        scopes: &str,
        life: Option<SignedDuration>,
    ) -> Result<SecretText, TestError> {
        let scopes: Scopes = scopes.parse()?;
        let now = self.service.now();
        Ok(pats::create(&self.service.store, name, &scopes, life, now).await?)
    }

    /// Revokes tokens by name or id.
    pub async fn revoke(&self, name_or_id: &str) -> Result<usize, TestError> {
        let now = self.service.now();
        Ok(pats::revoke(&self.service.store, name_or_id, now).await?)
    }

    /// Makes a pool.
    pub async fn create_pool(&self, name: &str) -> Result<PoolId, TestError> {
        Ok(self.service.create_pool(&administrator()?, name).await?.id)
    }

    /// Queues a job to project `demo`.
    pub async fn queue(&self, job: QueueJob) -> Result<QueuedJob, TestError> {
        let queued = self.service.queue_job(&administrator()?, "demo", job).await;
        Ok(queued?)
    }

    /// Queues a job from its JSON form to project `demo`.
    pub async fn queue_json(&self, job: serde_json::Value) -> Result<QueuedJob, TestError> {
        self.queue(serde_json::from_value(job)?).await
    }

    /// Changes the message of a job that no agent has yet: Azure DevOps puts more into one than this service does.
    pub async fn amend(
        &self,
        request: RequestId,
        change: impl FnOnce(&mut JobMessage),
    ) -> Result<(), TestError> {
        let (keys, row) = (&self.service.keys, request.to_string());
        let mut unit = self.service.begin().await?;
        let sealed = requests::sealed_message(unit.conn(), request).await?;
        let plain = keys.open_sealed(SEALED, &row, &sealed)?;
        let mut message: JobMessage = serde_json::from_slice(&plain)?;
        change(&mut message);
        let sealed = keys.seal(SEALED, &row, &serde_json::to_vec(&message)?)?;
        requests::replace_message(unit.conn(), request, &sealed).await?;
        unit.commit().await?;
        Ok(())
    }

    /// Asks for the end of a job of project `demo`.
    pub async fn cancel(&self, request: RequestId) -> Result<(), TestError> {
        let caller = administrator()?;
        let cancelled = self
            .service
            .cancel_job(&caller, "demo", request, None)
            .await;
        Ok(cancelled?)
    }

    /// A request as an administrator sees it.
    pub async fn request(&self, pool: PoolId, request: RequestId) -> Result<JobRequest, TestError> {
        let found = self.service.request(&administrator()?, pool, request).await;
        Ok(found?)
    }

    /// Moves the manual clock on and does what is due then.
    pub async fn advance(&self, by: SignedDuration) -> Result<(), TestError> {
        let clock = self
            .clock
            .as_ref()
            .ok_or("this service has the system clock")?;
        clock.advance(by);
        self.service.sweep().await?;
        Ok(())
    }

    /// Ends the service and waits for it; its directory stays until the handle is dropped.
    pub async fn stop(&mut self) -> Result<(), TestError> {
        self.service.shutdown.cancel();
        (&mut self.serving).await??;
        Ok(())
    }
}

impl Drop for PoolHandle {
    fn drop(&mut self) {
        self.service.shutdown.cancel();
        self.serving.abort();
        if self.owns_directory {
            database::remove(&self.directory);
            // The operating system's own temporary directory is cleaned by others too.
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// Somebody who may do everything.
pub fn administrator() -> Result<Caller, TestError> {
    Ok(Caller::Administrator {
        name: "test".to_owned(),
        scopes: ALL_SCOPES.parse()?,
        roles: Roles::Unset,
    })
}

/// The caller that an agent's listen token stands for.
pub fn listener(pool: PoolId, agent: AgentId, client: ClientId, key_version: i64) -> Caller {
    Caller::Listener(ListenClaims {
        sub: client,
        agent,
        pool,
        key: key_version,
        iat: 0,
        exp: i64::MAX,
    })
}
