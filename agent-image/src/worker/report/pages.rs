//! Log lines that wait to be stored, one file per record on a volume that only the agent mounts: a service that is
//! slow or away costs disk, not memory. Only masked text gets here.

use bytes::Bytes;
use dayfly_wire::ids::RecordId;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The longest piece that is sent at once.
pub(crate) const PIECE: usize = 1 << 20;
/// A file that was sent completely is emptied when it is longer than this.
const EMPTY_ABOVE: u64 = 8 << 20;

/// The waiting lines of one record.
pub(crate) struct Pages {
    path: PathBuf,
    file: File,
    written: u64,
    sent: u64,
    lines: u64,
}

impl Pages {
    /// Begins the pages of a record.
    pub(crate) fn create(directory: &Path, record: RecordId) -> io::Result<Self> {
        let path = directory.join(format!("{record}.log"));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self {
            path,
            file,
            written: 0,
            sent: 0,
            lines: 0,
        })
    }

    /// How many lines were added.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// Adds text that ends with a line end.
    pub(crate) fn append(&mut self, text: &str) -> io::Result<()> {
        self.lines += text.bytes().filter(|byte| *byte == b'\n').count() as u64;
        self.file.write_all_at(text.as_bytes(), self.written)?;
        self.written += text.len() as u64;
        Ok(())
    }

    /// The next piece, cut at a line end where there is one.
    pub(crate) fn take(&mut self) -> io::Result<Option<Bytes>> {
        let waiting = usize::try_from(self.written - self.sent).unwrap_or(usize::MAX);
        if waiting == 0 {
            return Ok(None);
        }
        let mut piece = vec![0; waiting.min(PIECE)];
        self.file.read_exact_at(&mut piece, self.sent)?;
        if waiting > PIECE
            && let Some(end) = piece.iter().rposition(|byte| *byte == b'\n')
        {
            piece.truncate(end + 1);
        }
        self.sent += piece.len() as u64;
        if self.sent == self.written && self.written > EMPTY_ABOVE {
            self.file.set_len(0)?;
            (self.written, self.sent) = (0, 0);
        }
        Ok(Some(piece.into()))
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_with_lines_and_add_up() {
        let directory = tempfile::tempdir().unwrap();
        let mut pages = Pages::create(directory.path(), RecordId::default()).unwrap();
        let line = format!("{}\n", "x".repeat(999));
        for _ in 0..2500 {
            pages.append(&line).unwrap();
        }
        let mut total = 0;
        while let Some(piece) = pages.take().unwrap() {
            assert!(piece.len() <= PIECE && piece.ends_with(b"\n"));
            total += piece.len();
        }
        assert_eq!(total, 2_500_000);
    }

    #[test]
    fn what_was_sent_does_not_fill_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let mut pages = Pages::create(directory.path(), RecordId::default()).unwrap();
        let long = "y".repeat(3 << 20);
        for _ in 0..9 {
            pages.append(&format!("{long}\n")).unwrap();
            while pages.take().unwrap().is_some() {}
        }
        let path = directory
            .path()
            .join(format!("{}.log", RecordId::default()));
        assert!(std::fs::metadata(&path).unwrap().len() <= 12 << 20);
        drop(pages);
        assert!(!path.exists());
    }
}
