//! What the service takes at most. Everything that a client sends has a bound, and the refusal names it.

use super::refusal::{Kind, Refusal};

/// The bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one log.
    pub log_bytes: i64,
    /// Records in one call.
    pub records: usize,
    /// Console lines in one call.
    pub feed_lines: usize,
    /// Bytes of one attachment.
    pub attachment_bytes: i64,
    /// Attachments of one run.
    pub attachments: i64,
    /// Bytes of a task's archive.
    pub task_bytes: i64,
    /// Bytes of one file of an artifact.
    pub artifact_file_bytes: i64,
    /// Bytes of all files that one run keeps.
    pub artifact_bytes: i64,
    /// Files that one run keeps.
    pub artifact_files: i64,
    /// Questions for messages of one agent at once.
    pub pollers: usize,
    /// Sessions at once.
    pub sessions: i64,
    /// Bytes of one repository; a push that would make it larger is refused.
    pub repository_bytes: u64,
    /// Bytes of one large file of a repository.
    pub large_file_bytes: i64,
    /// Jobs that run at once, over all pools; none for as many as there are agents.
    pub parallel_jobs: Option<i64>,
}

const MIB: i64 = 1024 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            log_bytes: 256 * MIB,
            records: 500,
            feed_lines: 1000,
            attachment_bytes: 64 * MIB,
            attachments: 1000,
            task_bytes: 64 * MIB,
            artifact_file_bytes: 4096 * MIB,
            artifact_bytes: 16 * 1024 * MIB,
            artifact_files: 50_000,
            pollers: 16,
            sessions: 20_000,
            repository_bytes: 16 * 1024 * 1024 * 1024,
            large_file_bytes: 4096 * MIB,
            parallel_jobs: None,
        }
    }
}

/// `what` holds more bytes than it may.
pub fn too_large(what: &str, most: i64) -> Refusal {
    Refusal::new(
        Kind::TooLarge,
        format!("{what} has at most {most} bytes; nothing of this call was kept"),
    )
}

/// There are more of something than there may be.
pub fn too_many(whose: &str, what: &str, most: impl std::fmt::Display) -> Refusal {
    Refusal::invalid(format!("{whose} has at most {most} {what}"))
}

/// There are as many of something as there may be; some will go.
pub fn busy(what: &str, most: impl std::fmt::Display) -> Refusal {
    Refusal::new(
        Kind::Busy,
        format!(
            "there are {most} {what} already, which is as many as there may be; try again later"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_bound() {
        let refusal = too_large("a log", Limits::default().log_bytes);
        assert_eq!(refusal.kind, Kind::TooLarge);
        assert!(refusal.message.contains("268435456"), "{refusal}");
    }
}
