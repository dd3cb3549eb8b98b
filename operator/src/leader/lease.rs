//! The Lease `dayfly-operator` in the operator's namespace. Every write carries the version that was read, so that of two
//! who take it one is refused.

use super::decision::{DURATION, Sighting};
use crate::{clock, names};
use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use std::time::Duration;
use tokio::time::Instant;

/// Why the Lease was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else wrote it meanwhile.
    #[error("the lease was written by another process meanwhile")]
    Conflict,
    /// No answer in time.
    #[error("the API server did not answer in time")]
    Silent,
    /// The API server refused.
    #[error("the API server refused: {0}")]
    Kube(#[source] kube::Error),
}

impl From<kube::Error> for LeaseError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if matches!(status.code, 404 | 409) => Self::Conflict,
            other => Self::Kube(other),
        }
    }
}

/// The Lease as this process knows it.
pub struct Lease {
    api: Api<Object>,
    own: String,
    seen: Option<(Object, Instant)>,
}

impl Lease {
    /// Nothing was read yet.
    pub fn new(client: Client, namespace: &str, own: String) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            own,
            seen: None,
        }
    }

    /// How often the holder had changed when it was seen last.
    pub fn term(&self) -> i32 {
        self.spec().lease_transitions.unwrap_or(0)
    }

    /// The name under which this process holds it.
    pub fn own(&self) -> &str {
        &self.own
    }

    /// Reads it.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn look(&mut self) -> Result<Option<Sighting>, LeaseError> {
        let reading = self.api.get_opt(names::LEASE);
        let Ok(read) = tokio::time::timeout(DURATION, reading).await else {
            return Err(LeaseError::Silent);
        };
        let now = Instant::now();
        let version = |object: &Object| object.metadata.resource_version.clone();
        self.seen = read?.map(|object| match self.seen.take() {
            Some((known, since)) if version(&known) == version(&object) => (object, since),
            _ => (object, now),
        });
        Ok(self.seen.as_ref().map(|(object, since)| {
            let spec = object.spec.as_ref();
            let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
            Sighting {
                holder: spec
                    .and_then(|spec| spec.holder_identity.clone())
                    .unwrap_or_default(),
                term: spec.and_then(|spec| spec.lease_transitions).unwrap_or(0),
                duration: seconds
                    .and_then(|seconds| u64::try_from(seconds).ok())
                    .map(Duration::from_secs),
                since: *since,
            }
        }))
    }

    /// Writes the own name into it, as it was seen last.
    ///
    /// # Errors
    /// Another was faster, or it cannot be written.
    pub async fn take(&mut self) -> Result<(), LeaseError> {
        let before = self.spec();
        let now = MicroTime(clock::now());
        let changes = before.lease_transitions.unwrap_or(0);
        let own = before.holder_identity.as_deref() == Some(&self.own);
        self.write(LeaseSpec {
            holder_identity: Some(self.own.clone()),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            lease_transitions: Some(if own {
                changes
            } else {
                changes.saturating_add(1)
            }),
            ..before
        })
        .await
    }

    /// Says that this process is there.
    ///
    /// # Errors
    /// Another has written it, or it cannot be written.
    pub async fn renew(&mut self) -> Result<(), LeaseError> {
        self.write(LeaseSpec {
            renew_time: Some(MicroTime(clock::now())),
            ..self.spec()
        })
        .await
    }

    /// Leaves it to others.
    ///
    /// # Errors
    /// Another has written it, or it cannot be written.
    pub async fn release(&mut self) -> Result<(), LeaseError> {
        self.write(LeaseSpec {
            holder_identity: None,
            ..self.spec()
        })
        .await
    }

    fn spec(&self) -> LeaseSpec {
        let spec = self
            .seen
            .as_ref()
            .and_then(|(object, _)| object.spec.clone());
        spec.unwrap_or_default()
    }

    async fn write(&mut self, spec: LeaseSpec) -> Result<(), LeaseError> {
        let seen = self
            .seen
            .as_ref()
            .map(|(object, _)| object.metadata.clone());
        let params = PostParams::default();
        let object = |metadata| Object {
            metadata,
            spec: Some(spec),
        };
        let written = match seen {
            Some(metadata) => {
                let object = object(metadata);
                self.api.replace(names::LEASE, &params, &object).await
            }
            None => {
                let metadata = ObjectMeta {
                    name: Some(names::LEASE.to_owned()),
                    ..ObjectMeta::default()
                };
                self.api.create(&params, &object(metadata)).await
            }
        };
        self.seen = Some((written?, Instant::now()));
        Ok(())
    }
}
