//! Files, opened where job code can see and change them.

use super::protocol::FileKind;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Makes a file, or adds to it. A new file must not be there before: job code may have put a link in its place.
pub(crate) fn write(path: &str, mode: u32, append: bool, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    if append {
        options.append(true);
    } else {
        options.write(true).create_new(true).mode(mode);
    }
    options.open(path)?.write_all(content)
}

/// Removes a file or a tree; links are removed, not followed. Nothing there is success.
pub(crate) fn remove(path: &str) -> io::Result<()> {
    let path = Path::new(path);
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.is_dir() {
        return fs::remove_file(path);
    }
    match fs::remove_dir_all(path) {
        // A module cache, for example, is read-only: our own files all the same.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            make_writable(path)?;
            fs::remove_dir_all(path)
        }
        other => other,
    }
}

/// Makes every directory of a tree writable by its owner. Iterative: the depth is job code's choice.
fn make_writable(root: &Path) -> io::Result<()> {
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        let mode = fs::symlink_metadata(&directory)?.permissions().mode();
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode | 0o700))?;
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    Ok(())
}

/// What is at a path; links are followed, as a step would.
pub(crate) fn look(path: &str) -> FileKind {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => FileKind::File,
        Ok(metadata) if metadata.is_dir() => FileKind::Directory,
        Ok(_) => FileKind::Other,
        Err(_) => FileKind::Nothing,
    }
}

/// The first executable file of that name in the directories.
pub(crate) fn locate(name: &str, directories: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    directories
        .map(|directory| directory.join(name))
        .find(|path| {
            fs::metadata(path).is_ok_and(|metadata| {
                metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_does_not_follow_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (
            directory.path().join("target"),
            directory.path().join("link"),
        );
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let error = write(link.to_str().unwrap(), 0o600, false, b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(!target.exists());
    }

    #[test]
    fn removing_a_link_leaves_what_it_points_to() {
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("kept");
        fs::create_dir(&kept).unwrap();
        let tree = directory.path().join("tree");
        fs::create_dir(&tree).unwrap();
        std::os::unix::fs::symlink(&kept, tree.join("link")).unwrap();
        remove(tree.to_str().unwrap()).unwrap();
        remove(tree.to_str().unwrap()).unwrap();
        assert!(kept.is_dir() && !tree.exists());
    }

    #[test]
    fn pieces_add_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("script");
        let text = path.to_str().unwrap();
        write(text, 0o600, false, b"one ").unwrap();
        write(text, 0o600, true, b"two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one two");
        assert_eq!(look(text), FileKind::File);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
