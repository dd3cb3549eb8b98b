//! Descriptors that a child process is given on purpose.

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

/// Lets the next child process inherit a descriptor; undo it with [`keep`] right after the start.
pub(crate) fn share(descriptor: impl AsFd) -> io::Result<()> {
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}

/// No child process inherits the descriptor any more.
pub(crate) fn keep(descriptor: impl AsFd) -> io::Result<()> {
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}

/// Takes over a descriptor that this process was started with.
#[allow(unsafe_code)] // A number from the command line can become a descriptor in no other way.
pub(crate) fn take(number: i32) -> io::Result<OwnedFd> {
    if number <= 2 || std::fs::metadata(format!("/proc/self/fd/{number}")).is_err() {
        return Err(io::Error::other(format!(
            "descriptor {number} was not inherited"
        )));
    }
    // SAFETY: the descriptor is open, and nothing else in this process knows its number: this is called at most
    // once per number, before any other descriptor is opened under it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    keep(&descriptor)?;
    Ok(descriptor)
}
