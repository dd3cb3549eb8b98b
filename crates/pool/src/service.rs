//! The service: its parts, and the unit of work that every operation is one of.

use crate::clock::Clock;
use crate::content::{ContentError, Contents};
use crate::git::GitError;
use crate::hook::{QueueBell, WakeHook};
use crate::issuers::Issuers;
use crate::keyfile::{KeyFileError, SealedValueError, ServiceKeys};
use crate::metrics::Metrics;
use crate::rules::limits::Limits;
use crate::rules::news::News;
use crate::rules::refusal::Refusal;
use crate::store::counters::{self, Counter};
use crate::store::dialect::{Conn, WriteTransaction};
use crate::store::statement::DatabaseError;
use crate::store::{Place, Store, StoreError, instance};
use crate::throttle::Throttle;
use crate::wakes::Wakes;
use crate::watches::Watches;
use dayfly_wire::ids::{AgentId, RequestId, SessionId};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long a question for messages is held when there is none.
pub const POLL_HOLD: Duration = Duration::from_secs(50);

/// How long a job is kept after its end.
pub const RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How a service is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the database, the keys and the repositories are.
    pub data_dir: PathBuf,
    /// The file with the URL of a PostgreSQL database that is used instead of one in the data directory.
    pub database_url_file: Option<PathBuf>,
    /// The file with the keys that replicas share, instead of one in the data directory.
    pub keys_file: Option<PathBuf>,
    /// The URL that clients use, with the collection, without a trailing slash.
    pub public_url: String,
    /// How long a question for messages is held; [`POLL_HOLD`] outside tests.
    pub poll_hold: Duration,
    /// How long a job is kept after its end, with its logs; [`RETENTION`] unless said otherwise.
    pub retention: SignedDuration,
    /// How many finished runs of each pipeline are kept at most; no limit when none.
    pub retained_runs: Option<i64>,
    /// Whom to tell that a queue has changed.
    pub wake_hook: Option<Arc<WakeHook>>,
    /// For whom jobs may have identity tokens, beside [`crate::rules::oidc::AUDIENCE`].
    pub oidc_audiences: Vec<String>,
    /// What it takes at most.
    pub limits: Limits,
}

impl Settings {
    /// Where the database is.
    pub fn place(&self) -> Place {
        match &self.database_url_file {
            Some(file) => Place::UrlFile(file.clone()),
            None => Place::Directory(self.data_dir.clone()),
        }
    }
}

/// Why a service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The URL cannot be used.
    #[error("failed to use the public URL {url:?}: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// Why.
        reason: &'static str,
    },
    /// The data directory cannot be used.
    #[error("failed to use the data directory {path}: {source}")]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The keys cannot be had.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// The database cannot be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys are another service's.
    #[error(
        "failed to use the database: it belongs to service {database}, and the keys to {keys}; \
         every replica needs the keys that the database was begun with"
    )]
    OtherService {
        /// Whose the database is.
        database: Uuid,
        /// Whose the keys are.
        keys: Uuid,
    },
}

/// Why an operation did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The rules refuse it: the caller's matter.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A sealed value failed.
    #[error(transparent)]
    Sealed(#[from] SealedValueError),
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// Stored content failed.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A key or a token failed.
    #[error("failed to use a key: {0}")]
    Key(String),
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        Self::Store(error.into())
    }
}

/// The service.
pub struct Service {
    /// Its database.
    pub store: Store,
    /// Its id and keys.
    pub keys: ServiceKeys,
    /// Tells this replica from the others.
    pub replica: Uuid,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
    /// Since when it serves without a break.
    since: Mutex<Timestamp>,
    /// How it is set up.
    pub settings: Settings,
    /// Attachments, tasks and artifacts.
    pub contents: Contents,
    /// Long polls that wait.
    pub wakes: Wakes<AgentId>,
    /// When sessions were used last, as far as it is not written down yet.
    pub seen: Mutex<HashMap<SessionId, Timestamp>>,
    /// Rings when a queue has changed.
    pub queue_bell: QueueBell,
    /// Followers of jobs that wait.
    pub followers: Wakes<RequestId>,
    /// Who watches which job.
    pub watches: Watches,
    /// Issuers whose word about service principals counts.
    pub issuers: Issuers,
    /// Slows those who try credentials.
    pub throttle: Throttle,
    /// What it counts.
    pub metrics: Metrics,
    /// Cancelled when it is to end.
    pub shutdown: CancellationToken,
    /// Bounds the git processes that run at once.
    pub git_slots: Arc<tokio::sync::Semaphore>,
}

/// Git processes that run at once; each takes memory as a repository is large.
const GIT_SLOTS: usize = 16;

impl Service {
    /// Opens the data directory and makes a service of it.
    pub async fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StartError> {
        check_url(&settings.public_url)?;
        prepare(&settings.data_dir)?;
        let contents =
            Contents::open(&settings.data_dir).map_err(|source| StartError::DataDir {
                path: settings.data_dir.clone(),
                source,
            })?;
        let store = Store::open(&settings.place()).await?;
        let keys = match &settings.keys_file {
            Some(file) => ServiceKeys::open_file(file)?,
            None => ServiceKeys::open(&settings.data_dir)?,
        };
        check_keys(&store, &keys).await?;
        let metrics = Metrics::new(&store.times);
        Ok(Arc::new(Self {
            store,
            keys,
            replica: Uuid::new_v4(),
            since: Mutex::new(clock.now()),
            clock,
            settings,
            contents,
            wakes: Wakes::default(),
            seen: Mutex::default(),
            queue_bell: QueueBell::default(),
            followers: Wakes::default(),
            watches: Watches::default(),
            issuers: Issuers::default(),
            throttle: Throttle::default(),
            metrics,
            shutdown: CancellationToken::new(),
            git_slots: Arc::new(tokio::sync::Semaphore::new(GIT_SLOTS)),
        }))
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Since when it serves without a break, as far as it can tell.
    pub fn serving_since(&self) -> Timestamp {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It could not serve until now.
    pub fn was_away(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = self.now();
    }

    /// Where agents ask for their tokens; also the audience of their assertions.
    pub fn authorization_url(&self) -> String {
        format!("{}/_apis/oauth2/token", self.settings.public_url)
    }

    /// The directory of all repositories.
    pub fn repositories_dir(&self) -> PathBuf {
        self.settings.data_dir.join(REPOSITORIES)
    }

    /// Begins a unit of work.
    pub async fn begin(&self) -> Result<Unit<'_>, StoreError> {
        let transaction = self.store.write().await?;
        Ok(Unit {
            service: self,
            transaction,
            now: self.now(),
            news: News::default(),
            queue_changed: false,
            change: None,
        })
    }
}

/// One operation on the store: all of it happens or nothing, and whoever waits for it hears of it afterwards.
pub struct Unit<'a> {
    service: &'a Service,
    transaction: WriteTransaction,
    /// The time of the operation.
    pub now: Timestamp,
    news: News,
    queue_changed: bool,
    change: Option<i64>,
}

impl<'a> Unit<'a> {
    /// The connection of the transaction.
    pub fn conn(&mut self) -> &mut Conn {
        &mut self.transaction
    }

    /// The service that the unit belongs to.
    pub fn service(&self) -> &'a Service {
        self.service
    }

    /// The number under which its records are changed: all that it changes becomes visible at once.
    pub async fn change(&mut self) -> Result<i64, StoreError> {
        match self.change {
            Some(change) => Ok(change),
            None => {
                let change = counters::next(self.conn(), Counter::Change).await?;
                self.change = Some(change);
                Ok(change)
            }
        }
    }

    /// There will be something for this agent.
    pub fn wake_agent(&mut self, agent: AgentId) {
        self.news.agents.push(agent);
    }

    /// There will be something about this request, and so about its queue.
    pub fn wake_followers(&mut self, request: RequestId) {
        self.queue_changed = true;
        self.wake_readers(request);
    }

    /// There will be something to read of this request.
    pub fn wake_readers(&mut self, request: RequestId) {
        self.news.requests.push(request);
    }

    /// Makes it so, and wakes those who wait.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        let Service { store, replica, .. } = self.service;
        store
            .tell(&mut self.transaction, &self.news, *replica)
            .await?;
        self.transaction.commit().await?;
        if self.queue_changed {
            self.service.queue_bell.ring();
        }
        self.service.wake(&self.news);
        Ok(())
    }
}

const REPOSITORIES: &str = "repositories";

fn prepare(directory: &Path) -> Result<(), StartError> {
    std::fs::create_dir_all(directory.join(REPOSITORIES)).map_err(|source| StartError::DataDir {
        path: directory.to_owned(),
        source,
    })
}

/// What is sealed in the database opens with the keys that it was sealed with, and tokens of one replica count at the
/// others: keys that belong to something else are found now, not job by job.
async fn check_keys(store: &Store, keys: &ServiceKeys) -> Result<(), StartError> {
    let mut transaction = store.write().await?;
    let database = instance::claim(&mut transaction, keys.instance).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    if database == keys.instance {
        return Ok(());
    }
    Err(StartError::OtherService {
        database,
        keys: keys.instance,
    })
}

fn check_url(url: &str) -> Result<(), StartError> {
    let refused = |reason| {
        Err(StartError::Url {
            url: url.to_owned(),
            reason,
        })
    };
    let Ok(parsed) = url.parse::<http::Uri>() else {
        return refused("not a URL");
    };
    if !matches!(parsed.scheme_str(), Some("http" | "https")) || parsed.authority().is_none() {
        return refused("it must begin with http:// or https:// and name a host");
    }
    if parsed.query().is_some() || url.ends_with('/') || parsed.path().trim_matches('/').is_empty()
    {
        return refused("it must end in the collection, for example http://pool:8080/default");
    }
    Ok(())
}
