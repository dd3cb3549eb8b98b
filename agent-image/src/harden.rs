//! What every process of the agent does first: nobody may read its memory, by a debugger or from a core dump.

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Makes this process unreadable for others of its user, and stops core dumps for good.
pub(crate) fn harden() -> nix::Result<()> {
    prctl::set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)
}

/// The same for the step host, whose children may ask for core dumps of their own.
pub(crate) fn harden_step_host() -> nix::Result<()> {
    prctl::set_dumpable(false)?;
    let (_, most) = getrlimit(Resource::RLIMIT_CORE)?;
    setrlimit(Resource::RLIMIT_CORE, 0, most)
}
