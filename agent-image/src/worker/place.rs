//! The work volume as the agent holds it, and how a checkout gets into the job's part of it.
//!
//! Job code may have replaced any directory of its part by a link, so nothing below it is opened by path: the
//! target's parent is looked up beneath a held descriptor, links refused, and the finished directory is renamed
//! into it.

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, ResolveFlags, openat, openat2, renameat_with};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The volume.
pub(crate) struct WorkVolume {
    root: PathBuf,
    /// What the job sees as its work directory.
    job: OwnedFd,
}

impl WorkVolume {
    /// Holds the volume; before any step runs.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root.join("work"))?;
        let job = openat(
            CWD,
            root.join("work"),
            DIRECTORY | OFlags::NOFOLLOW,
            Mode::empty(),
        )?;
        Ok(Self {
            root: root.to_owned(),
            job,
        })
    }

    /// A new, empty directory that job code cannot reach.
    pub(crate) fn private(&self, area: &str, name: &str) -> io::Result<PathBuf> {
        let area = self.root.join(area);
        // The volume may be an old one: what is there is removed, and a link is not followed.
        if is_link(&area) {
            fs::remove_file(&area)?;
        }
        let directory = area.join(name);
        if is_link(&directory) {
            fs::remove_file(&directory)?;
        } else if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        Ok(directory)
    }

    /// Where tasks are: the job's container sees it, and cannot write it.
    pub(crate) fn tasks(&self) -> io::Result<PathBuf> {
        let directory = self.root.join("tasks");
        fs::create_dir_all(&directory)?;
        Ok(directory)
    }

    /// Renames a private directory to `target` beneath the job's part. Its parent must be there, the target
    /// must not.
    pub(crate) fn place(&self, private: &Path, target: &Path) -> io::Result<()> {
        let name = target
            .file_name()
            .ok_or_else(|| io::Error::other("the target has no name"))?;
        let parent = target.parent().unwrap_or(Path::new("."));
        let parent = openat2(
            &self.job,
            parent,
            DIRECTORY,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        )?;
        renameat_with(CWD, private, &parent, name, RenameFlags::NOREPLACE)?;
        Ok(())
    }
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

/// Where in the build directory a path of a pipeline leads; `None` when it leads out of it or nowhere.
pub(crate) fn inside(path: &str) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => return None,
        }
    }
    (clean.components().next().is_some()).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_finished_directory_is_moved_into_place() {
        let root = tempfile::tempdir().unwrap();
        let volume = WorkVolume::open(root.path()).unwrap();
        fs::create_dir_all(root.path().join("work/1")).unwrap();
        let private = volume.private("staging", "1").unwrap();
        fs::write(private.join("file"), "x").unwrap();
        volume.place(&private, Path::new("1/s")).unwrap();
        assert!(root.path().join("work/1/s/file").is_file());
        assert!(!private.exists());
    }

    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let outside = root.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let volume = WorkVolume::open(root.path()).unwrap();
        let private = volume.private("staging", "1").unwrap();
        symlink(&outside, root.path().join("work/1")).unwrap();
        assert!(volume.place(&private, Path::new("1/s")).is_err());
        fs::remove_file(root.path().join("work/1")).unwrap();
        fs::create_dir(root.path().join("work/1")).unwrap();
        symlink(&outside, root.path().join("work/1/s")).unwrap();
        assert!(volume.place(&private, Path::new("1/s")).is_err());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn paths_stay_inside() {
        for (path, expected) in [
            ("s", Some("s")),
            ("./a/b/", Some("a/b")),
            ("a/../../etc", None),
            ("/etc", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(inside(path), expected.map(PathBuf::from), "{path}");
        }
    }
}
