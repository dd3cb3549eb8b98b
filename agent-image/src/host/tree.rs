//! Files that are published, read where job code can see and change them. Everything is opened beneath the one
//! path that the job names, so that a link which is put in the way while this runs leads nowhere else.

use super::protocol::{ListedFile, PIECES};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// The most files that are published at once.
pub(crate) const MAX_FILES: usize = 50_000;
/// File systems that show the kernel's or this process's inside: what is read there is no file.
const KERNEL: [u64; 6] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x6367_7270, // cgroup2
    0x27_e0eb,   // cgroup
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
];

/// The files at or below a path, in order; an empty name for the path itself. Links to directories are left out.
pub(crate) fn list(path: &str) -> io::Result<Vec<ListedFile>> {
    let root = Path::new(path);
    let metadata = fs::metadata(root)?;
    if metadata.is_file() {
        return Ok(vec![ListedFile {
            path: String::new(),
            length: metadata.len(),
        }]);
    }
    let mut files = Vec::new();
    let mut waiting = vec![String::new()];
    while let Some(below) = waiting.pop() {
        for entry in fs::read_dir(root.join(&below))? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name
                .to_str()
                .ok_or_else(|| io::Error::other(format!("{} is no text", name.display())))?;
            let inner = match below.as_str() {
                "" => name.to_owned(),
                below => format!("{below}/{name}"),
            };
            let kind = entry.file_type()?;
            if kind.is_dir() {
                waiting.push(inner);
            } else if kind.is_file()
                || kind.is_symlink() && fs::metadata(entry.path()).is_ok_and(|it| it.is_file())
            {
                let length = fs::metadata(entry.path())?.len();
                files.push(ListedFile {
                    path: inner,
                    length,
                });
            }
            if files.len() > MAX_FILES || waiting.len() > MAX_FILES {
                return Err(io::Error::other(format!("more than {MAX_FILES} files")));
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

/// A piece of a file at or below a path, from `offset` on; short at its end only.
pub(crate) fn read(root: &str, path: &str, offset: u64) -> io::Result<Vec<u8>> {
    let file = regular_file(root, path)?;
    let metadata = file.metadata()?;
    let left = metadata.size().saturating_sub(offset);
    let wanted = usize::try_from(left).unwrap_or(PIECES).min(PIECES);
    let mut piece = vec![0; wanted];
    let mut at = 0;
    while at < piece.len() {
        match file.read_at(&mut piece[at..], offset + at as u64)? {
            0 => break,
            length => at += length,
        }
    }
    piece.truncate(at);
    Ok(piece)
}

/// A file at or below a path that is one: no pipe, no device, no view into the kernel.
pub(crate) fn regular_file(root: &str, path: &str) -> io::Result<File> {
    let file = File::from(open(root, path)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let system = rustix::fs::fstatfs(&file)?.f_type;
    if KERNEL.contains(&u64::try_from(system).unwrap_or(0)) {
        return Err(io::Error::other(
            "it is no file, but a view into the kernel",
        ));
    }
    Ok(file)
}

/// Does not wait for whoever may be at the other end of a pipe.
fn open(root: &str, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if path.is_empty() {
        let resolve = ResolveFlags::NO_MAGICLINKS;
        return Ok(openat2(CWD, root, flags, Mode::empty(), resolve)?);
    }
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, root, directory, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(&directory, path, flags, Mode::empty(), resolve)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_are_listed_and_read_in_pieces() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().to_str().unwrap();
        fs::create_dir_all(place.path().join("b/c")).unwrap();
        fs::write(place.path().join("b/c/long"), vec![7; PIECES + 3]).unwrap();
        fs::write(place.path().join("a"), "x").unwrap();
        let listed = list(root).unwrap();
        let names: Vec<_> = listed.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(names, ["a", "b/c/long"]);
        assert_eq!(read(root, "b/c/long", 0).unwrap().len(), PIECES);
        assert_eq!(read(root, "b/c/long", PIECES as u64).unwrap(), [7, 7, 7]);
        assert_eq!(read(&format!("{root}/a"), "", 0).unwrap(), b"x");
        assert_eq!(list(&format!("{root}/a")).unwrap()[0].length, 1);
    }

    #[test]
    fn a_link_that_leads_out_is_not_read() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        fs::create_dir_all(root.join("deep")).unwrap();
        fs::write(place.path().join("outside"), "x").unwrap();
        fs::write(root.join("inside"), "y").unwrap();
        symlink("../../outside", root.join("deep/out")).unwrap();
        symlink("../inside", root.join("deep/in")).unwrap();
        symlink("/etc", root.join("directory")).unwrap();
        let root = root.to_str().unwrap();
        let listed = list(root).unwrap();
        let names: Vec<_> = listed.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(names, ["deep/in", "deep/out", "inside"]);
        assert!(read(root, "deep/out", 0).is_err());
        assert!(read(root, "directory/passwd", 0).is_err());
        assert_eq!(read(root, "deep/in", 0).unwrap(), b"y");
    }

    #[test]
    fn what_the_kernel_shows_is_not_read() {
        for path in [
            "/proc/self/environ",
            "/proc/self/status",
            "/dev/null",
            "/proc/self/exe",
        ] {
            assert!(read(path, "", 0).is_err(), "{path}");
        }
        assert!(read("/proc/self", "environ", 0).is_err());
    }
}
