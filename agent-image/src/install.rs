//! `install DIR`: this binary, where a job container without it can run it.

use crate::exit::Exit;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Copies this binary to `directory/dayfly-agent`, whole or not at all.
pub(crate) fn install(directory: &Path) -> Exit {
    match copy(directory) {
        Ok(()) => Exit::Done,
        Err(error) => {
            tracing::error!(%error, directory = %directory.display(), "failed to copy the agent; the directory must be writable");
            Exit::Setup
        }
    }
}

fn copy(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let (unfinished, finished) = (
        directory.join(".dayfly-agent"),
        directory.join("dayfly-agent"),
    );
    fs::copy("/proc/self/exe", &unfinished)?;
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755))?;
    fs::rename(unfinished, finished)
}
