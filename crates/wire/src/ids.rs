//! Identifiers as types of their own, so that an agent id is never passed where a pool id belongs.

use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

macro_rules! integer_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> { text.parse().map(Self) }
        }
    )*};
}

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> { text.parse().map(Self) }
        }
    )*};
}

integer_id! {
    /// An agent pool.
    PoolId;
    /// An agent's registration in a pool.
    AgentId;
    /// A job request: one job waiting for, or running on, an agent.
    RequestId;
    /// A message in an agent's queue; increases per agent.
    MessageId;
    /// A stored log of a plan.
    LogId;
    /// A pipeline (build definition).
    DefinitionId;
    /// A run of a pipeline (build).
    BuildId;
}

uuid_id! {
    /// An agent's OAuth client id, given at registration.
    ClientId;
    /// A live session of an agent.
    SessionId;
    /// A job; also the id of its timeline record.
    JobId;
    /// A plan: one run's orchestration.
    PlanId;
    /// A timeline of a plan.
    TimelineId;
    /// A record of a timeline: a job or a step.
    RecordId;
    /// A project; the scope of a plan.
    ProjectId;
    /// A task definition.
    TaskId;
}
