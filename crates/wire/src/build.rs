//! Runs and pipelines ("builds" and "definitions"), as the Build REST area writes them.

use crate::enums::wire_enum;

wire_enum! {
    /// Where a run is in its life.
    BuildStatus {
        /// At least one job was taken by an agent.
        InProgress = 1 as "inProgress",
        /// Every job has ended.
        Completed = 2 as "completed",
        /// Its end was asked for, and some job has not ended.
        Cancelling = 4 as "cancelling",
        /// No job was taken yet.
        NotStarted = 32 as "notStarted",
    }
}

wire_enum! {
    /// How a run ended.
    BuildResult {
        /// All went well.
        Succeeded = 2 as "succeeded",
        /// Ended well, with warnings or errors that were allowed.
        PartiallySucceeded = 4 as "partiallySucceeded",
        /// A job failed.
        Failed = 8 as "failed",
        /// Ended because somebody asked for it.
        Canceled = 32 as "canceled",
    }
}

wire_enum! {
    /// Why there is a run.
    BuildReason {
        /// Somebody queued it.
        Manual = 1 as "manual",
        /// A push.
        IndividualCi = 2 as "individualCI",
        /// Several pushes at once.
        BatchedCi = 4 as "batchedCI",
        /// A schedule.
        Schedule = 8 as "schedule",
        /// Another run's end.
        BuildCompletion = 512 as "buildCompletion",
    }
}
