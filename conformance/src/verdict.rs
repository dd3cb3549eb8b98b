//! What a scenario comes to.

/// Why a scenario did not go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The service answered otherwise than clients expect.
    Differs(String),
    /// The scenario needs something that the service has not.
    Skipped(String),
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Differs(reason) | Self::Skipped(reason)) = self;
        f.write_str(reason)
    }
}

impl std::error::Error for Stop {}

/// What a scenario answers.
pub(crate) type Verdict<T = ()> = Result<T, Stop>;

/// What became of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As clients expect it.
    Passed,
    /// Otherwise, and how.
    Failed(String),
    /// Not tried, and why.
    Skipped(String),
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The part of the protocol.
    pub part: &'static str,
    /// The scenario.
    pub name: &'static str,
    /// What became of it.
    pub outcome: Outcome,
}

pub(crate) fn differs(reason: impl Into<String>) -> Stop {
    Stop::Differs(reason.into())
}

/// Goes on if it is so; otherwise says how the answer differs.
macro_rules! holds {
    ($so:expr, $($reason:tt)+) => {
        if !$so {
            return Err($crate::verdict::differs(format!($($reason)+)));
        }
    };
}
