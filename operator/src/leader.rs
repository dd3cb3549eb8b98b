//! Which of several operators works: the one that holds the Lease. It says so by renewing it; when it has been silent for
//! long enough, another takes over.
//!
//! [`decision`] says what to do and [`lease`] does it; [`label`] leads agents to the leader. Times are of the own
//! monotonic clock: what another process wrote about its own time is never compared with it.

pub mod decision;
pub mod label;
pub mod lease;

use decision::{AGAIN, RENEW, Step, step};
use lease::{Lease, LeaseError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// Where this process stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is known of the Lease yet.
    #[default]
    Unknown,
    /// Another leads, or none does yet.
    Follows,
    /// This process leads. After this time another may, and nothing is begun unless the Lease is renewed.
    Leads {
        /// Until when.
        until: Instant,
    },
}

/// Another process leads: what this one remembers is not true any more.
#[derive(Debug, thiserror::Error)]
#[error("failed to keep the lead: {} leads now; this process has to begin anew", .0.as_deref().unwrap_or("nobody"))]
pub struct Deposed(Option<String>);

/// Holds the Lease, or waits for it.
pub struct Candidate {
    lease: Lease,
    standing: watch::Sender<Standing>,
}

impl Candidate {
    /// Begins to know nothing.
    pub fn new(lease: Lease, standing: watch::Sender<Standing>) -> Self {
        Self { lease, standing }
    }

    /// Waits until this process leads.
    pub async fn acquire(&mut self) {
        let mut told = None;
        loop {
            let begun = Instant::now();
            let wait = match self.turn().await {
                Ok(None) => return self.leads_since(begun),
                Ok(Some((holder, wait))) => {
                    self.standing.send_replace(Standing::Follows);
                    if told.as_ref() != Some(&holder) {
                        tracing::info!(leader = holder, "follows");
                        told = Some(holder);
                    }
                    wait
                }
                Err(LeaseError::Conflict) => AGAIN,
                Err(error) => {
                    tracing::warn!(%error, "failed to read or take the lease; it is tried again");
                    AGAIN
                }
            };
            sleep(wait).await;
        }
    }

    /// One look at the Lease: nothing when it is this process's now, else who holds it and how long to wait.
    async fn turn(&mut self) -> Result<Option<(String, Duration)>, LeaseError> {
        let seen = self.lease.look().await?;
        match step(self.lease.own(), seen.as_ref(), Instant::now()) {
            Step::Take => self.lease.take().await.map(|()| None),
            Step::Wait { holder, wait } => Ok(Some((holder, wait))),
        }
    }

    /// Renews the Lease for as long as nobody else has it.
    ///
    /// # Errors
    /// Ends only when another process leads, or has led.
    pub async fn keep(&mut self) -> Result<std::convert::Infallible, Deposed> {
        let mut failures = 0_u32;
        loop {
            let begun = Instant::now();
            let renewed = tokio::time::timeout(RENEW, self.lease.renew()).await;
            match renewed.unwrap_or(Err(LeaseError::Silent)) {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!("the lease was renewed; goes on");
                    }
                    failures = 0;
                    self.leads_since(begun);
                    sleep_until(begun + RENEW).await;
                    continue;
                }
                Err(LeaseError::Conflict) => self.look_again().await?,
                Err(error) if failures == 0 => {
                    tracing::warn!(%error, "failed to renew the lease; nothing is begun unless it is soon");
                }
                Err(_) => {}
            }
            failures = failures.saturating_add(1);
            sleep(AGAIN).await;
        }
    }

    fn leads_since(&self, renewed: Instant) {
        self.standing.send_replace(Standing::Leads {
            until: decision::valid_until(renewed),
        });
    }

    /// Somebody wrote it: this process, whose answer was lost, or another.
    async fn look_again(&mut self) -> Result<(), Deposed> {
        let term = self.lease.term();
        let Ok(seen) = self.lease.look().await else {
            return Ok(());
        };
        if decision::is_own(self.lease.own(), term, seen.as_ref()) {
            return Ok(());
        }
        self.standing.send_replace(Standing::Follows);
        let holder = seen
            .map(|seen| seen.holder)
            .filter(|holder| !holder.is_empty());
        Err(Deposed(holder))
    }

    /// Lets another lead at once.
    pub async fn release(mut self) {
        self.standing.send_replace(Standing::Follows);
        match tokio::time::timeout(Duration::from_secs(2), self.give_back()).await {
            Ok(Ok(())) => tracing::info!("released the lease"),
            Ok(Err(error)) => tracing::warn!(%error, "failed to release the lease; it runs out"),
            Err(_) => tracing::warn!("failed to release the lease in time; it runs out"),
        }
    }

    /// A renewal that was given up may have been carried out after all: the Lease is looked at again then.
    async fn give_back(&mut self) -> Result<(), LeaseError> {
        match self.lease.release().await {
            Err(LeaseError::Conflict) => {
                let term = self.lease.term();
                let seen = self.lease.look().await?;
                if !decision::is_own(self.lease.own(), term, seen.as_ref()) {
                    return Err(LeaseError::Conflict);
                }
                self.lease.release().await
            }
            other => other,
        }
    }
}
