//! The service: its parts, and the unit of work that every operation is one of.

use crate::clock::Clock;
use crate::content::{ContentError, Contents};
use crate::feed::Feed;
use crate::git::GitError;
use crate::hook::{QueueBell, WakeHook};
use crate::issuers::Issuers;
use crate::keyfile::{KeyFileError, SealedValueError, ServiceKeys};
use crate::metrics::Metrics;
use crate::rules::limits::Limits;
use crate::rules::refusal::Refusal;
use crate::store::dialect::{Conn, WriteTransaction};
use crate::store::{Store, StoreError};
use crate::throttle::Throttle;
use crate::wakes::Wakes;
use dayfly_wire::ids::{AgentId, RequestId};
use jiff::{SignedDuration, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a question for messages is held when there is none.
pub const POLL_HOLD: Duration = Duration::from_secs(50);

/// How long a job is kept after its end.
pub const RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How a service is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the database, the keys and the repositories are.
    pub data_dir: PathBuf,
    /// The URL that clients use, with the collection, without a trailing slash.
    pub public_url: String,
    /// How long a question for messages is held; [`POLL_HOLD`] outside tests.
    pub poll_hold: Duration,
    /// How long a job is kept after its end, with its logs; [`RETENTION`] unless said otherwise.
    pub retention: SignedDuration,
    /// Whom to tell that a queue has changed.
    pub wake_hook: Option<Arc<WakeHook>>,
    /// For whom jobs may have identity tokens, beside [`crate::rules::oidc::AUDIENCE`].
    pub oidc_audiences: Vec<String>,
    /// What it takes at most.
    pub limits: Limits,
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

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The service.
pub struct Service {
    /// Its database.
    pub store: Store,
    /// Its id and keys.
    pub keys: ServiceKeys,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
    /// How it is set up.
    pub settings: Settings,
    /// Attachments, tasks and artifacts.
    pub contents: Contents,
    /// Long polls that wait.
    pub wakes: Wakes,
    /// Rings when a queue has changed.
    pub queue_bell: QueueBell,
    /// Console lines.
    pub feed: Feed,
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
        Ok(Arc::new(Self {
            store: Store::open(&settings.data_dir).await?,
            keys: ServiceKeys::open(&settings.data_dir)?,
            clock,
            settings,
            contents,
            wakes: Wakes::default(),
            queue_bell: QueueBell::default(),
            feed: Feed::default(),
            issuers: Issuers::default(),
            throttle: Throttle::default(),
            metrics: Metrics::default(),
            shutdown: CancellationToken::new(),
            git_slots: Arc::new(tokio::sync::Semaphore::new(GIT_SLOTS)),
        }))
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
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
            agents: Vec::new(),
            requests: Vec::new(),
        })
    }
}

/// One operation on the store: all of it happens or nothing, and whoever waits for it hears of it afterwards.
pub struct Unit<'a> {
    service: &'a Service,
    transaction: WriteTransaction,
    /// The time of the operation.
    pub now: Timestamp,
    agents: Vec<AgentId>,
    requests: Vec<RequestId>,
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

    /// There will be something for this agent.
    pub fn wake_agent(&mut self, agent: AgentId) {
        self.agents.push(agent);
    }

    /// There will be something about this request, and so about its queue.
    pub fn wake_followers(&mut self, request: RequestId) {
        self.requests.push(request);
    }

    /// Makes it so, and wakes those who wait.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.transaction.commit().await?;
        for agent in self.agents {
            self.service.wakes.wake(agent);
        }
        if !self.requests.is_empty() {
            self.service.queue_bell.ring();
        }
        for request in self.requests {
            self.service.feed.wake(request);
        }
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
