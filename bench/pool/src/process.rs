//! What the operating system says about a process.

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{SysconfVar, sysconf};
use std::time::Duration;

/// Takes as many file descriptors as the machine gives: each listener is a connection on both sides.
pub(crate) fn raise_file_limit() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("failed to raise the file limit")
}

/// Resident memory in bytes.
pub(crate) fn resident(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("failed to look at process {pid}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next());
    let kilobytes: f64 = kilobytes.context("no resident memory")?.parse()?;
    Ok(kilobytes * 1024.0)
}

/// Time on processors since the process began.
pub(crate) fn processor_time(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("failed to look at process {pid}"))?;
    // The name is in parentheses and may hold anything; user and system time are the 14th and 15th field.
    let (_, rest) = stat.rsplit_once(')').context("no statistics")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |index: usize| -> Result<u64> {
        let field: &&str = fields.get(index).context("no times")?;
        Ok(field.parse()?)
    };
    let ticks = ticks(11)? + ticks(12)?;
    let a_second = sysconf(SysconfVar::CLK_TCK)?.context("no clock ticks")?;
    Ok(Duration::from_millis(
        ticks * 1000 / u64::try_from(a_second)?,
    ))
}
