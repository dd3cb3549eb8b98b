//! What a cache entry is made of, where job code can see and change it: files are hashed for its key, packed into one
//! archive, and put back from it. All as the user that steps are.

mod hash;
mod pack;
mod unpack;

pub(crate) use hash::hash;
pub(crate) use pack::pack;
pub(crate) use unpack::unpack;

use std::io::{self, Read, Write};

/// The most files, folders and links of an entry.
const MOST_ENTRIES: usize = 500_000;
/// The longest that all files of an entry come to.
const MOST_UNPACKED: u64 = 20 << 30;

/// Counts down, and fails when nothing is left.
struct Bounded<T> {
    inner: T,
    left: u64,
    most: u64,
}

impl<T> Bounded<T> {
    fn new(inner: T, most: u64) -> Self {
        Self {
            inner,
            left: most,
            most,
        }
    }

    fn count(&mut self, length: usize) -> io::Result<()> {
        let left = self.left.checked_sub(length as u64);
        self.left = left.ok_or_else(|| too_much(self.most))?;
        Ok(())
    }
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.count(length)?;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.count(length)?;
        Ok(length)
    }
}

fn too_much(most: u64) -> io::Error {
    io::Error::other(format!("it comes to more than {most} bytes"))
}

fn too_many() -> io::Error {
    io::Error::other(format!("it has more than {MOST_ENTRIES} files and folders"))
}

#[cfg(test)]
mod tests;
