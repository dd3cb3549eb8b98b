//! Folders become one archive.

use super::{Bounded, MOST_ENTRIES, MOST_UNPACKED, too_many, too_much};
use crate::host::tree::regular_file;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use tar::{Builder, EntryType, Header};

type Archive = Builder<GzEncoder<Bounded<BufWriter<File>>>>;

/// Packs each folder under its number into a new file of at most `most` bytes; gives the file's length.
pub(crate) fn pack(roots: &[String], into: &str, most: u64) -> io::Result<u64> {
    let packed = pack_into(roots, into, most);
    if packed.is_err() {
        let _ = fs::remove_file(into);
    }
    packed
}

fn pack_into(roots: &[String], into: &str, most: u64) -> io::Result<u64> {
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(into)?;
    let file = Bounded::new(BufWriter::new(file), most);
    let mut packing = Packing {
        archive: Builder::new(GzEncoder::new(file, Compression::fast())),
        entries: 0,
        left: MOST_UNPACKED,
    };
    for (number, root) in roots.iter().enumerate() {
        packing.add_root(number, root)?;
    }
    let mut file = packing.archive.into_inner()?.finish()?;
    file.flush()?;
    Ok(fs::metadata(into)?.len())
}

struct Packing {
    archive: Archive,
    entries: usize,
    left: u64,
}

impl Packing {
    fn add_root(&mut self, number: usize, root: &str) -> io::Result<()> {
        let name_it = |error: io::Error| io::Error::other(format!("{root}: {error}"));
        if !fs::metadata(root).map_err(name_it)?.is_dir() {
            return Err(io::Error::other(format!("{root} is no folder")));
        }
        let mut waiting = vec![String::new()];
        while let Some(below) = waiting.pop() {
            let directory = Path::new(root).join(&below);
            for entry in fs::read_dir(&directory).map_err(name_it)? {
                let entry = entry?;
                let name = entry.file_name();
                let name = name.to_str().ok_or_else(|| {
                    io::Error::other(format!("{} is no text", entry.path().display()))
                })?;
                let inner = match below.as_str() {
                    "" => name.to_owned(),
                    below => format!("{below}/{name}"),
                };
                self.entries += 1;
                if self.entries > MOST_ENTRIES {
                    return Err(too_many());
                }
                let metadata = fs::symlink_metadata(entry.path())?;
                let told = format!("{number}/{inner}");
                if metadata.is_dir() {
                    self.add(&told, EntryType::Directory, &metadata, 0, io::empty())?;
                    waiting.push(inner);
                } else if metadata.is_symlink() {
                    self.add_link(&told, &entry.path(), &metadata)?;
                } else if metadata.is_file() {
                    self.add_file(&told, root, &inner)?;
                }
            }
        }
        Ok(())
    }

    fn add_file(&mut self, told: &str, root: &str, inner: &str) -> io::Result<()> {
        let mut file = regular_file(root, inner)
            .map_err(|error| io::Error::other(format!("{root}/{inner}: {error}")))?;
        let metadata = file.metadata()?;
        let length = metadata.len();
        self.left = self
            .left
            .checked_sub(length)
            .ok_or_else(|| too_much(MOST_UNPACKED))?;
        let content = Exact {
            inner: &mut file,
            left: length,
        };
        self.add(told, EntryType::Regular, &metadata, length, content)
            .map_err(|error| io::Error::other(format!("{root}/{inner}: {error}")))
    }

    fn add_link(&mut self, told: &str, path: &Path, metadata: &Metadata) -> io::Result<()> {
        let target = fs::read_link(path)?;
        let mut header = header(EntryType::Symlink, metadata, 0);
        self.archive.append_link(&mut header, told, target)
    }

    fn add(
        &mut self,
        told: &str,
        kind: EntryType,
        metadata: &Metadata,
        length: u64,
        content: impl io::Read,
    ) -> io::Result<()> {
        let mut header = header(kind, metadata, length);
        self.archive.append_data(&mut header, told, content)
    }
}

fn header(kind: EntryType, metadata: &Metadata, length: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(metadata.permissions().mode() & 0o777);
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    header.set_size(length);
    header
}

/// As many bytes as the header says, whatever happens to the file meanwhile.
struct Exact<R> {
    inner: R,
    left: u64,
}

impl<R: io::Read> io::Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        match self.inner.read(&mut buffer[..most])? {
            0 => Err(io::Error::other("it became shorter while it was read")),
            length => {
                self.left -= length as u64;
                Ok(length)
            }
        }
    }
}
