//! What a process of the agent's binary exits with.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | the job ran and was reported, whatever its result; or the agent left without one (asked to, or idle for too long) |
//! | 2 | the command line or the environment is wrong |
//! | 70 | the operator refused the identity: another pod claimed it, it is no longer wanted, or the token is not accepted |
//! | 71 | the operator could not be reached in time |
//! | 72 | the step host did not connect in time, or was lost while the agent was idle |
//! | 73 | the service refuses the agent: its registration is gone, or its key is not accepted; or its message is too long to be read at all |
//! | 74 | a job was given, but its lock could not be taken; the service gives the job to another agent |
//! | 75 | a job ended, but its end could not be reported; the service notices when the lock lapses |
//! | 76 | `step-host` is not process 1 of its container |
//! | 77 | `step-host` could not do its work |
//! | 78 | the agent could not protect itself or set itself up |
//! | 100-105 | `worker` only: the job's result |

/// See the module's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0.
    Done,
    /// 2.
    Usage,
    /// 70.
    ClaimRefused,
    /// 71.
    OperatorUnreachable,
    /// 72.
    StepHostLost,
    /// 73.
    ServiceRefused,
    /// 74.
    LockRefused,
    /// 75.
    NotReported,
    /// 76.
    NotProcessOne,
    /// 77.
    StepHost,
    /// 78.
    Setup,
    /// 100 and more.
    Result(u8),
}

impl Exit {
    /// The code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Usage => 2,
            Self::ClaimRefused => 70,
            Self::OperatorUnreachable => 71,
            Self::StepHostLost => 72,
            Self::ServiceRefused => 73,
            Self::LockRefused => 74,
            Self::NotReported => 75,
            Self::NotProcessOne => 76,
            Self::StepHost => 77,
            Self::Setup => 78,
            Self::Result(code) => code,
        }
    }
}
