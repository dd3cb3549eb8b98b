//! Where the agent is in its life, and what follows from what happens. Pure: every effect is only named here.

use crate::exit::Exit;
use crate::worker::result;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{JobId, MessageId, RequestId};
use std::time::Duration;

/// The shortest time that a canceled job is given, whatever the message says.
const SHORTEST_CANCEL: Duration = Duration::from_secs(60);
/// How long after that time the worker is killed.
const KILL_AFTER: Duration = Duration::from_secs(60);
/// The longest time that is believed.
const LONGEST_CANCEL: Duration = Duration::from_secs(35_790 * 60);

/// The stages after the session was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waiting for a job.
    Idle,
    /// A job was taken; its lock is not held yet.
    Locking(Taken),
    /// The worker runs.
    Running(Taken),
    /// The worker ended without reporting; the listener does, as soon as it may.
    Reporting(Taken, Unreported),
    /// Over.
    Left,
}

/// The one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Its id.
    pub(crate) job: JobId,
    /// Somebody canceled it, with this time to end.
    pub(crate) canceled: Option<Duration>,
    /// The operator has answered, or has had its time: the end may be reported.
    pub(crate) may_complete: bool,
}

/// An end that the worker did not report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreported {
    /// What to report.
    pub(crate) result: TaskResult,
    /// Why the worker did not, for a person.
    pub(crate) reason: String,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A job message.
    Job {
        /// Its message.
        message: MessageId,
        /// The job.
        job: JobId,
        /// Its request.
        request: RequestId,
    },
    /// A cancellation.
    Cancel {
        /// Its message.
        message: MessageId,
        /// Which job.
        job: JobId,
        /// How long it may take.
        timeout: Duration,
    },
    /// How often live lines are wanted.
    FeedInterval {
        /// Its message.
        message: MessageId,
        /// Which job.
        job: JobId,
        /// Milliseconds.
        milliseconds: u64,
    },
    /// A message that means nothing here.
    Meaningless {
        /// Its message.
        message: MessageId,
    },
    /// The lock is held.
    LockHeld,
    /// The lock cannot be had.
    LockRefused,
    /// The lock was held and is lost.
    LockLost,
    /// The operator answered, or had its time.
    MayComplete,
    /// The worker lost the step host and asks why.
    WorkerLostStepHost,
    /// The worker ended.
    WorkerEnded(WorkerEnd),
    /// A canceled job's time is over.
    CancelOverdue,
    /// The end that the worker did not report was reported, or could not be.
    EndReported(bool),
    /// The step host is gone, without a job.
    StepHostLost,
    /// The service does not want this agent.
    ServiceRefuses,
    /// Kubernetes asks the agent to end.
    Terminate,
    /// No job for too long.
    IdleTooLong,
}

/// How a worker ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkerEnd {
    /// The service has the job's result.
    pub(crate) reported: Option<TaskResult>,
    /// The result that it was about to report.
    pub(crate) ending: Option<TaskResult>,
    /// The exit code, or why there is none.
    pub(crate) status: String,
    /// The last lines that it wrote.
    pub(crate) last_words: String,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Remove a message from the queue.
    Acknowledge(MessageId),
    /// Tell the operator; `MayComplete` follows.
    PostAccepted(RequestId),
    /// Renew the lock, now and every minute; `LockHeld` or `LockRefused` follows.
    HoldLock(RequestId),
    /// Start the worker; `WorkerEnded` follows.
    StartWorker,
    /// Tell the worker to end the job.
    CancelWorker(Duration),
    /// Tell the worker that it may report the end.
    AllowCompletion,
    /// Tell the worker how often live lines are wanted.
    SetFeedInterval(u64),
    /// Ask the operator why the job container ended, and tell the worker.
    ExplainStepHost,
    /// `CancelOverdue` follows after this time.
    StartCancelClock(Duration),
    /// Kill the worker.
    KillWorker,
    /// Report the job's end in the worker's place; `EndReported` follows.
    ReportEnd(Unreported),
    /// Close the session, tell the operator, exit.
    Leave {
        /// How.
        exit: Exit,
        /// The job's result.
        result: Option<TaskResult>,
    },
}

impl Stage {
    /// What an event leads to.
    pub(crate) fn next(self, event: Event) -> (Self, Vec<Effect>) {
        match self {
            Self::Idle => idle(&event),
            Self::Locking(taken) => locking(taken, event),
            Self::Running(taken) => running(taken, event),
            Self::Reporting(taken, unreported) => reporting(taken, unreported, &event),
            Self::Left => (Self::Left, Vec::new()),
        }
    }
}

fn idle(event: &Event) -> (Stage, Vec<Effect>) {
    match *event {
        Event::Job {
            message,
            job,
            request,
        } => {
            let taken = Taken {
                job,
                canceled: None,
                may_complete: false,
            };
            let effects = vec![
                Effect::HoldLock(request),
                Effect::Acknowledge(message),
                Effect::PostAccepted(request),
            ];
            (Stage::Locking(taken), effects)
        }
        Event::Meaningless { message } | Event::FeedInterval { message, .. } => {
            (Stage::Idle, vec![Effect::Acknowledge(message)])
        }
        Event::Terminate | Event::IdleTooLong => leave(Exit::Done, None),
        Event::StepHostLost => leave(Exit::StepHostLost, None),
        Event::ServiceRefuses => leave(Exit::ServiceRefused, None),
        // A cancellation of a job that is not ours is left to whoever has it.
        Event::Cancel { .. }
        | Event::LockHeld
        | Event::LockRefused
        | Event::LockLost
        | Event::MayComplete
        | Event::WorkerLostStepHost
        | Event::WorkerEnded(_)
        | Event::CancelOverdue
        | Event::EndReported(_) => (Stage::Idle, Vec::new()),
    }
}

fn locking(mut taken: Taken, event: Event) -> (Stage, Vec<Effect>) {
    match event {
        Event::LockHeld => {
            let mut effects = vec![Effect::StartWorker];
            if taken.may_complete {
                effects.push(Effect::AllowCompletion);
            }
            if let Some(time) = taken.canceled {
                effects.extend(cancel(time));
            }
            (Stage::Running(taken), effects)
        }
        Event::LockRefused | Event::LockLost => leave(Exit::LockRefused, None),
        Event::MayComplete => {
            taken.may_complete = true;
            (Stage::Locking(taken), Vec::new())
        }
        Event::Cancel {
            message,
            job,
            timeout,
        } if job == taken.job => {
            taken.canceled = Some(timeout);
            (Stage::Locking(taken), vec![Effect::Acknowledge(message)])
        }
        other => {
            let effects = in_a_job(&taken, &other);
            (Stage::Locking(taken), effects)
        }
    }
}

fn running(mut taken: Taken, event: Event) -> (Stage, Vec<Effect>) {
    let effects = match event {
        Event::Cancel {
            message,
            job,
            timeout,
        } if job == taken.job => {
            taken.canceled = Some(timeout);
            let mut effects = vec![Effect::Acknowledge(message)];
            effects.extend(cancel(timeout));
            effects
        }
        Event::LockLost => {
            taken.canceled = Some(SHORTEST_CANCEL);
            cancel(SHORTEST_CANCEL)
        }
        Event::FeedInterval {
            message,
            job,
            milliseconds,
        } if job == taken.job => vec![
            Effect::Acknowledge(message),
            Effect::SetFeedInterval(milliseconds),
        ],
        Event::MayComplete => {
            taken.may_complete = true;
            vec![Effect::AllowCompletion]
        }
        Event::CancelOverdue => vec![Effect::KillWorker],
        Event::WorkerLostStepHost => vec![Effect::ExplainStepHost],
        Event::WorkerEnded(end) => return worker_ended(taken, &end),
        other => in_a_job(&taken, &other),
    };
    (Stage::Running(taken), effects)
}

fn worker_ended(taken: Taken, end: &WorkerEnd) -> (Stage, Vec<Effect>) {
    if let Some(result) = end.reported {
        return leave(Exit::Done, Some(result));
    }
    let unreported = unreported(&taken, end);
    let effects = if taken.may_complete {
        vec![Effect::ReportEnd(unreported.clone())]
    } else {
        Vec::new()
    };
    (Stage::Reporting(taken, unreported), effects)
}

/// A worker that was killed because a canceled job took too long ended as it was asked to.
fn unreported(taken: &Taken, end: &WorkerEnd) -> Unreported {
    let result = match (end.ending, taken.canceled) {
        (Some(result), _) => result,
        (None, Some(_)) => TaskResult::Canceled,
        (None, None) => TaskResult::Failed,
    };
    let mut reason = format!("The worker ended unexpectedly ({})", end.status);
    if !end.last_words.is_empty() {
        reason = format!("{reason}. Its last words: {}", end.last_words);
    }
    Unreported { result, reason }
}

fn reporting(mut taken: Taken, unreported: Unreported, event: &Event) -> (Stage, Vec<Effect>) {
    match event {
        Event::MayComplete if !taken.may_complete => {
            taken.may_complete = true;
            let effects = vec![Effect::ReportEnd(unreported.clone())];
            (Stage::Reporting(taken, unreported), effects)
        }
        Event::EndReported(true) => leave(Exit::Done, Some(unreported.result)),
        Event::EndReported(false) => leave(Exit::NotReported, Some(unreported.result)),
        other => {
            let effects = in_a_job(&taken, other);
            (Stage::Reporting(taken, unreported), effects)
        }
    }
}

/// What means the same all through a job. A second job is neither run nor acknowledged: the service gives it to
/// another agent. Kubernetes' wish to end waits for the job, and so does a service that turns away the listener.
fn in_a_job(taken: &Taken, event: &Event) -> Vec<Effect> {
    match event {
        Event::Meaningless { message } => vec![Effect::Acknowledge(*message)],
        Event::Cancel { message, job, .. } | Event::FeedInterval { message, job, .. }
            if *job == taken.job =>
        {
            vec![Effect::Acknowledge(*message)]
        }
        Event::Job { .. }
        | Event::Cancel { .. }
        | Event::FeedInterval { .. }
        | Event::LockHeld
        | Event::LockRefused
        | Event::LockLost
        | Event::MayComplete
        | Event::WorkerLostStepHost
        | Event::WorkerEnded(_)
        | Event::CancelOverdue
        | Event::EndReported(_)
        | Event::StepHostLost
        | Event::ServiceRefuses
        | Event::Terminate
        | Event::IdleTooLong => Vec::new(),
    }
}

fn cancel(timeout: Duration) -> Vec<Effect> {
    let time = timeout.clamp(SHORTEST_CANCEL, LONGEST_CANCEL);
    vec![
        Effect::CancelWorker(time),
        Effect::StartCancelClock(time + KILL_AFTER),
    ]
}

fn leave(exit: Exit, result: Option<TaskResult>) -> (Stage, Vec<Effect>) {
    (Stage::Left, vec![Effect::Leave { exit, result }])
}

/// How a worker's exit code reads.
pub(crate) fn status_text(code: Option<i32>) -> String {
    match code {
        Some(code) => match result::from_exit_code(code) {
            Some(result) => format!("result {result}, not reported"),
            None => format!("exit code {code}"),
        },
        None => "killed by a signal".to_owned(),
    }
}

#[cfg(test)]
mod tests;
