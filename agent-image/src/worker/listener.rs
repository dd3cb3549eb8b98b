//! The listener, as the worker hears it.

use super::report::sender::Reporter;
use crate::control::{Facts, FromWorker, LIMITS, ToWorker, WorkerCodec};
use crate::host::frame::Frame;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, FramedWrite};
use tokio_util::sync::CancellationToken;

/// How long the job may take to arrive.
const JOB_LIMIT: Duration = Duration::from_secs(30);
/// How long the reason of a lost step host is waited for; the operator has five seconds.
const TERMINATION_LIMIT: Duration = Duration::from_secs(6);
/// How long the permission to report the end is waited for; the operator has five seconds.
const COMPLETION_LIMIT: Duration = Duration::from_secs(8);

/// The connection to the listener.
pub(crate) struct Listener {
    sink: Mutex<FramedWrite<OwnedWriteHalf, WorkerCodec>>,
    heard: Heard,
}

#[derive(Clone)]
struct Heard {
    canceled: CancellationToken,
    may_complete: CancellationToken,
    termination: watch::Sender<Option<Option<String>>>,
    feed_interval: watch::Sender<Option<u64>>,
}

impl Listener {
    /// Receives the job; `None` when none comes.
    pub(crate) async fn connect(stream: UnixStream) -> Option<(Self, Facts, Bytes)> {
        let (read, write) = stream.into_split();
        let mut frames = FramedRead::new(read, WorkerCodec::new(LIMITS));
        let first = timeout(JOB_LIMIT, frames.next()).await.ok()??.ok()?;
        let ToWorker::Run { facts } = first.header else {
            return None;
        };
        let heard = Heard {
            canceled: CancellationToken::new(),
            may_complete: CancellationToken::new(),
            termination: watch::Sender::new(None),
            feed_interval: watch::Sender::new(None),
        };
        tokio::spawn(hear(frames, heard.clone()));
        let listener = Self {
            sink: Mutex::new(FramedWrite::new(write, WorkerCodec::new(LIMITS))),
            heard,
        };
        Some((listener, *facts, first.payload))
    }

    /// Cancelled when the job is to end, also because the listener is gone.
    pub(crate) fn canceled(&self) -> &CancellationToken {
        &self.heard.canceled
    }

    /// How often live lines are wanted.
    pub(crate) fn feed_interval(&self) -> watch::Receiver<Option<u64>> {
        self.heard.feed_interval.subscribe()
    }

    /// Waits until the job's end may be reported, but not for long.
    pub(crate) async fn may_complete(&self) {
        if timeout(COMPLETION_LIMIT, self.heard.may_complete.cancelled())
            .await
            .is_err()
        {
            tracing::warn!(
                "the listener does not say whether the job's end may be reported; reporting it"
            );
        }
    }

    /// Why the step host is gone, as far as anybody knows.
    pub(crate) async fn why_step_host_lost(&self) -> Option<String> {
        self.say(FromWorker::StepHostLost).await;
        let mut termination = self.heard.termination.subscribe();
        let reason = timeout(TERMINATION_LIMIT, termination.wait_for(Option::is_some))
            .await
            .ok()?
            .ok()?;
        reason.clone().flatten()
    }

    /// Tells the listener something; a listener that is gone does not hear it.
    pub(crate) async fn say(&self, header: FromWorker) {
        let frame = Frame {
            header,
            payload: Bytes::new(),
        };
        if let Err(error) = self.sink.lock().await.send(frame).await {
            tracing::warn!(%error, "failed to tell the listener something");
        }
    }
}

async fn hear(mut frames: FramedRead<OwnedReadHalf, WorkerCodec>, heard: Heard) {
    while let Some(Ok(frame)) = frames.next().await {
        match frame.header {
            ToWorker::Cancel { seconds } => {
                tracing::info!(seconds, "the job is canceled");
                heard.canceled.cancel();
            }
            ToWorker::MayComplete => heard.may_complete.cancel(),
            ToWorker::FeedInterval { milliseconds } => {
                heard.feed_interval.send_replace(Some(milliseconds));
            }
            ToWorker::Termination { reason } => {
                heard.termination.send_replace(Some(reason));
            }
            ToWorker::Run { .. } => {
                tracing::error!("the listener sent a second job; it is not run")
            }
        }
    }
    tracing::warn!("the listener is gone; ending the job");
    heard.canceled.cancel();
    heard.may_complete.cancel();
}

/// Passes the wish for live lines on.
pub(crate) async fn follow_feed_interval(
    mut interval: watch::Receiver<Option<u64>>,
    reporter: Arc<Reporter>,
) {
    while interval.changed().await.is_ok() {
        let milliseconds = *interval.borrow();
        if let Some(milliseconds) = milliseconds {
            reporter.set_feed_interval(milliseconds);
        }
    }
}
