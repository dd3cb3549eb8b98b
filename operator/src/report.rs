//! Events on AgentPools; the only caller of the recorder, which aggregates repeated ones.

use crate::crd::conditions::Reason;
use crate::crd::pool::AgentPool;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};

/// The longest note that the API server takes.
const MAX_NOTE: usize = 1024;

/// Publishes Events.
pub struct Reports {
    recorder: Recorder,
}

impl Reports {
    /// Reports as this process.
    pub fn new(client: Client, instance: Option<String>) -> Self {
        let reporter = Reporter {
            controller: crate::names::FIELD_MANAGER.to_owned(),
            instance,
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Something went as it should.
    pub async fn normal(&self, about: &ObjectReference, reason: Reason, note: impl Into<String>) {
        self.publish(about, EventType::Normal, reason.as_str(), note.into())
            .await;
    }

    /// Something did not.
    pub async fn warning(&self, about: &ObjectReference, reason: Reason, note: impl Into<String>) {
        self.publish(about, EventType::Warning, reason.as_str(), note.into())
            .await;
    }

    /// A condition turned bad.
    pub async fn condition(&self, about: &ObjectReference, reason: &str, note: &str) {
        self.publish(about, EventType::Warning, reason, note.to_owned())
            .await;
    }

    async fn publish(&self, about: &ObjectReference, type_: EventType, reason: &str, note: String) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.chars().take(MAX_NOTE).collect()),
            action: reason.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, about).await {
            tracing::debug!(%error, reason, "failed to publish an Event");
        }
    }
}

/// How an Event refers to an AgentPool.
pub fn reference(pool: &AgentPool) -> ObjectReference {
    pool.object_ref(&())
}
