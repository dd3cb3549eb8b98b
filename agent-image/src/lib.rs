//! The agent of one job.
//!
//! One binary with several parts, each a process of its own:
//! - [`listen`](mod@listen): claims the pod's identity, opens a session, takes exactly one job, holds its lock;
//! - [`worker`](mod@worker): runs that job and reports it; holds the job token and masks every line;
//! - [`host`](mod@host): the step host, process 1 of the job container, which runs the steps' processes and opens
//!   every path that they name.
//!
//! The listener hands the job to the worker over an inherited socket ([`control`](mod@control)), the worker tells
//! the step host what to run over another. Decisions are pure functions in files of their own (`stage`, `plan`,
//! `mask`, `commands`, `variables`, ...); what surrounds them does the input and output.

pub mod args;
mod backoff;
mod clock;
mod control;
pub mod exit;
mod git_credential;
mod harden;
pub mod host;
mod inherited;
mod install;
mod listen;
pub mod worker;

use args::{Cli, Command};
use clap::Parser;
use exit::Exit;
use std::future::Future;

/// Runs the part that the command line names.
pub fn run() -> Exit {
    let cli = Cli::parse();
    start_tracing();
    match cli.command {
        Command::Install(args) => install::install(&args.directory),
        Command::GitCredential(args) => git_credential::answer(&args),
        Command::StepHost(args) => protected(harden::harden_step_host, || host::serve::serve(args)),
        Command::Listen(args) => protected(harden::harden, || listen::listen(args)),
        Command::Worker(args) => protected(harden::harden, || worker::work(args)),
    }
}

/// Hardens the process before it can hold anything, then runs its part on one thread.
fn protected<F: Future<Output = Exit>>(
    harden: fn() -> nix::Result<()>,
    part: impl FnOnce() -> F,
) -> Exit {
    if let Err(error) = harden() {
        tracing::error!(%error, "failed to protect the process's memory");
        return Exit::Setup;
    }
    // An error says that one is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(part()),
        Err(error) => {
            tracing::error!(%error, "failed to start the runtime");
            Exit::Setup
        }
    }
}

/// Log lines go to standard error; `DAYFLY_LOG` chooses which.
fn start_tracing() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("DAYFLY_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}
