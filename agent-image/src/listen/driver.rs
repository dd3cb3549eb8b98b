//! Performs what [`stage`](super::stage) decides.

use super::accept::{StepHost, watch as watch_step_host};
use super::crash;
use super::identity::Claimed;
use super::incoming::{Contact, Job};
use super::lock;
use super::operator::Callbacks;
use super::poll::{self, OpenSession, Poller};
use super::send_after;
use super::stage::{Effect, Event, Stage, Unreported};
use super::worker_process::Worker;
use crate::control::{Facts, ToWorker};
use crate::exit::Exit;
use bytes::Bytes;
use dayfly_client::Client;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{PoolId, RequestId, SessionId};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long the operator may take before a job's end is reported without its answer.
const ACCEPTED_LIMIT: Duration = Duration::from_secs(5);
/// How long closing the session may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// An event, and the job that came with it.
pub(crate) struct Happening {
    pub(crate) event: Event,
    pub(crate) job: Option<Job>,
}

impl From<Event> for Happening {
    fn from(event: Event) -> Self {
        Self { event, job: None }
    }
}

/// Owns everything that effects need.
pub(crate) struct Driver {
    client: Client,
    pool: PoolId,
    callbacks: Option<Arc<Callbacks>>,
    facts: Facts,
    session: watch::Sender<SessionId>,
    open_session: Option<OpenSession>,
    events: mpsc::Sender<Happening>,
    step_host: JoinHandle<UnixStream>,
    stop_watching: CancellationToken,
    job: Option<Bytes>,
    contact: Option<Arc<Contact>>,
    worker: Option<Worker>,
    lock: JoinSet<()>,
}

impl Driver {
    pub(crate) fn new(
        client: Client,
        claimed: Claimed,
        facts: Facts,
        step_host: StepHost,
        session: OpenSession,
        events: mpsc::Sender<Happening>,
    ) -> Self {
        let stop_watching = CancellationToken::new();
        let watching = watch_step_host(step_host.stream, stop_watching.clone(), events.clone());
        Self {
            client,
            pool: claimed.identity.pool_id,
            callbacks: claimed.callbacks,
            facts,
            session: watch::Sender::new(session.id),
            open_session: Some(session),
            events,
            step_host: tokio::spawn(watching),
            stop_watching,
            job: None,
            contact: None,
            worker: None,
            lock: JoinSet::new(),
        }
    }

    /// Until the agent leaves.
    pub(crate) async fn run(
        mut self,
        poller: Poller,
        mut inbox: mpsc::Receiver<Happening>,
    ) -> Exit {
        let polling = self.open_session.take().map(|session| {
            tokio::spawn(poller.poll(session, self.session.clone(), self.events.clone()))
        });
        let mut stage = Stage::Idle;
        while let Some(Happening { event, job }) = inbox.recv().await {
            if let (Stage::Idle, Some(job)) = (&stage, job) {
                self.keep(job);
            }
            let (next, effects) = stage.next(event);
            stage = next;
            for effect in effects {
                if let Some((exit, result)) = self.perform(effect).await {
                    if let Some(polling) = &polling {
                        polling.abort();
                    }
                    self.leave(result).await;
                    return exit;
                }
            }
        }
        Exit::Setup
    }

    fn keep(&mut self, job: Job) {
        let Job { body, contact } = job;
        tracing::info!(job = %contact.job, request = %contact.request, "took a job");
        self.job = Some(Bytes::from_owner(body));
        self.contact = Some(Arc::new(contact));
    }

    async fn perform(&mut self, effect: Effect) -> Option<(Exit, Option<TaskResult>)> {
        match effect {
            Effect::Acknowledge(message) => {
                let session = *self.session.borrow();
                let client = self.client.clone();
                tokio::spawn(poll::acknowledge(client, self.pool, session, message));
            }
            Effect::PostAccepted(request) => self.post_accepted(request),
            Effect::HoldLock(request) => {
                let held = lock::hold(self.client.clone(), self.pool, request, self.events.clone());
                self.lock.spawn(held);
            }
            Effect::StartWorker => self.start_worker().await,
            Effect::CancelWorker(time) => {
                self.tell(ToWorker::Cancel {
                    seconds: time.as_secs(),
                })
                .await;
            }
            Effect::AllowCompletion => self.tell(ToWorker::MayComplete).await,
            Effect::SetFeedInterval(milliseconds) => {
                self.tell(ToWorker::FeedInterval { milliseconds }).await;
            }
            Effect::ExplainStepHost => {
                let reason = match &self.callbacks {
                    Some(callbacks) => callbacks.termination().await,
                    None => None,
                };
                self.tell(ToWorker::Termination { reason }).await;
            }
            Effect::StartCancelClock(time) => {
                tokio::spawn(send_after(time, Event::CancelOverdue, self.events.clone()));
            }
            Effect::KillWorker => {
                if let Some(worker) = &self.worker {
                    worker.kill();
                }
            }
            Effect::ReportEnd(unreported) => self.report_end(unreported),
            Effect::Leave { exit, result } => return Some((exit, result)),
        }
        None
    }

    /// The operator is told for as long as it takes; the job's end waits only so long.
    fn post_accepted(&self, request: RequestId) {
        let (events, callbacks) = (self.events.clone(), self.callbacks.clone());
        tokio::spawn(async move {
            if let Some(callbacks) = callbacks {
                let telling = tokio::spawn(async move { callbacks.accepted(request).await });
                if timeout(ACCEPTED_LIMIT, telling).await.is_err() {
                    tracing::warn!(
                        "the operator has not confirmed the job yet; the job's end does not wait for it"
                    );
                }
            }
            let _ = events.send(Event::MayComplete.into()).await;
        });
    }

    async fn start_worker(&mut self) {
        self.stop_watching.cancel();
        let started = match ((&mut self.step_host).await, self.job.take()) {
            (Ok(step_host), Some(job)) => {
                Worker::start(self.facts.clone(), job, step_host, self.events.clone())
            }
            _ => Err(std::io::Error::other("there is no step host or no job")),
        };
        match started {
            Ok(worker) => self.worker = Some(worker),
            Err(error) => {
                tracing::error!(%error, "failed to start the worker");
                let end = super::stage::WorkerEnd {
                    status: format!("it could not be started: {error}"),
                    ..Default::default()
                };
                let _ = self.events.try_send(Event::WorkerEnded(end).into());
            }
        }
    }

    async fn tell(&self, what: ToWorker) {
        if let Some(worker) = &self.worker {
            worker.tell(what).await;
        }
    }

    fn report_end(&self, unreported: Unreported) {
        let (events, contact) = (self.events.clone(), self.contact.clone());
        let facts = self.facts.clone();
        tokio::spawn(async move {
            let reported = match contact {
                Some(contact) => crash::report(&contact, &unreported, &facts).await,
                None => false,
            };
            let _ = events.send(Event::EndReported(reported).into()).await;
        });
    }

    /// The session first: from then on the service knows that the agent is gone.
    async fn leave(mut self, result: Option<TaskResult>) {
        self.lock.abort_all();
        let session = *self.session.borrow();
        match timeout(CLOSE_LIMIT, self.client.delete_session(self.pool, session)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "failed to close the session"),
            Err(_) => tracing::warn!("failed to close the session in time"),
        }
        if let Some(callbacks) = &self.callbacks {
            callbacks.finished(result).await;
        }
        tracing::info!(result = result.map(TaskResult::as_str), "leaving");
    }
}
