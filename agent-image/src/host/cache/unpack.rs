//! An archive becomes folders again. Whoever saved it chose every byte: nothing is written through a link, outside of
//! the folders, or without bounds.

use super::{Bounded, MOST_ENTRIES, MOST_UNPACKED, too_many};
use flate2::read::GzDecoder;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, fchmod, futimens,
    mkdirat, openat, openat2, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use tar::{Archive, Entry, EntryType};

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
const LONGEST_NAME: usize = 4096;

/// Unpacks an archive of [`pack`](super::pack) into the folders, which are made when they are not there. What is in
/// the way of a file is replaced; the archive's other files stay. Gives the number of files.
pub(crate) fn unpack(archive: &str, roots: &[String]) -> io::Result<u64> {
    let file = BufReader::new(File::open(archive)?);
    let content = Bounded::new(GzDecoder::new(file), MOST_UNPACKED);
    let mut unpacking = Unpacking {
        roots: roots
            .iter()
            .map(|root| open_root(root))
            .collect::<Result<_, _>>()?,
        modes: Vec::new(),
        files: 0,
    };
    let mut archive = Archive::new(content);
    for (entry, number) in archive.entries()?.zip(1..) {
        if number > MOST_ENTRIES {
            return Err(too_many());
        }
        unpacking.place(entry?)?;
    }
    unpacking.set_modes();
    // The end of the compressed stream has its checksum.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(unpacking.files)
}

fn open_root(root: &str) -> io::Result<OwnedFd> {
    let named = |error: io::Error| io::Error::other(format!("{root}: {error}"));
    fs::create_dir_all(root).map_err(named)?;
    openat(CWD, root, DIRECTORY, Mode::empty()).map_err(|error| named(error.into()))
}

struct Unpacking {
    roots: Vec<OwnedFd>,
    /// Of folders, set at the end: one may be read-only and have files.
    modes: Vec<(usize, PathBuf, u32)>,
    files: u64,
}

impl Unpacking {
    fn place<R: Read>(&mut self, mut entry: Entry<'_, R>) -> io::Result<()> {
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (root, inner) = self.target(&name)?;
        let placed = match entry.header().entry_type() {
            EntryType::Directory => self.place_directory(root, &inner, entry.header().mode()?),
            EntryType::Regular => {
                self.files += 1;
                self.place_file(root, &inner, &mut entry)
            }
            EntryType::Symlink => self.place_link(root, &inner, &entry),
            _ => Err(io::Error::other("it is no file, folder or link")),
        };
        placed.map_err(|error| {
            let name: String = name.chars().take(200).collect();
            io::Error::new(error.kind(), format!("{name}: {error}"))
        })
    }

    /// The folder, and where in it.
    fn target(&self, name: &str) -> io::Result<(usize, PathBuf)> {
        let refused = || {
            let name: String = name.chars().take(200).collect();
            io::Error::other(format!("it has {name:?}, which leads elsewhere"))
        };
        let (number, inner) = name.split_once('/').ok_or_else(refused)?;
        let number: usize = number.parse().map_err(|_| refused())?;
        let inner = Path::new(inner);
        let stays = inner
            .components()
            .all(|it| matches!(it, Component::Normal(_)));
        let is_fine = stays && inner.file_name().is_some() && name.len() <= LONGEST_NAME;
        if number >= self.roots.len() || !is_fine {
            return Err(refused());
        }
        Ok((number, inner.to_owned()))
    }

    /// The folder that an entry lies in; links on the way are refused by the kernel.
    fn parent(&self, root: usize, inner: &Path) -> io::Result<OwnedFd> {
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let root = &self.roots[root];
        let parent = match inner.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        match openat2(root, parent, DIRECTORY, Mode::empty(), resolve) {
            Err(Errno::NOENT) => {}
            other => return Ok(other?),
        }
        let mut directory = openat(root, ".", DIRECTORY, Mode::empty())?;
        for name in parent.components() {
            match mkdirat(&directory, name.as_os_str(), Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            directory = openat2(
                &directory,
                name.as_os_str(),
                DIRECTORY,
                Mode::empty(),
                resolve,
            )?;
        }
        Ok(directory)
    }

    fn place_directory(&mut self, root: usize, inner: &Path, mode: u32) -> io::Result<()> {
        let parent = self.parent(root, inner)?;
        let name = inner.file_name().unwrap_or_default();
        match mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            Err(Errno::EXIST) if kind(&parent, name)? == FileType::Directory => {}
            Err(Errno::EXIST) => {
                unlinkat(&parent, name, AtFlags::empty())?;
                mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
            }
            Err(error) => return Err(error.into()),
        }
        self.modes.push((root, inner.to_owned(), mode & 0o777));
        Ok(())
    }

    fn place_file<R: Read>(
        &self,
        root: usize,
        inner: &Path,
        entry: &mut Entry<'_, R>,
    ) -> io::Result<()> {
        let parent = self.parent(root, inner)?;
        let name = inner.file_name().unwrap_or_default();
        clear(&parent, name)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.header().mode()? & 0o777);
        let file = openat(&parent, name, flags, Mode::from_raw_mode(0o600))?;
        let mut file = File::from(file);
        io::copy(entry, &mut file)?;
        fchmod(&file, mode)?;
        let seconds = i64::try_from(entry.header().mtime()?).unwrap_or(0);
        let time = Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        // A file system may not know times; the file is there all the same.
        let _ = futimens(&file, &times);
        Ok(())
    }

    fn place_link<R: Read>(
        &self,
        root: usize,
        inner: &Path,
        entry: &Entry<'_, R>,
    ) -> io::Result<()> {
        let parent = self.parent(root, inner)?;
        let name = inner.file_name().unwrap_or_default();
        let target = entry
            .link_name_bytes()
            .ok_or_else(|| io::Error::other("it leads nowhere"))?;
        clear(&parent, name)?;
        symlinkat(target.as_ref(), &parent, name)?;
        Ok(())
    }

    /// The deepest first; best effort, as a folder may have been replaced meanwhile.
    fn set_modes(&self) {
        for (root, inner, mode) in self.modes.iter().rev() {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let opened = openat2(&self.roots[*root], inner, DIRECTORY, Mode::empty(), resolve);
            if let Ok(directory) = opened {
                let _ = fchmod(&directory, Mode::from_raw_mode(*mode));
            }
        }
    }
}

fn kind(parent: &OwnedFd, name: &std::ffi::OsStr) -> io::Result<FileType> {
    let found = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(found.st_mode))
}

/// Removes a file or link that is in the way; a folder is not removed for a file.
fn clear(parent: &OwnedFd, name: &std::ffi::OsStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
