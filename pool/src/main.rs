//! The pool service as a program, and its command line.

mod administer;
mod args;
mod backup;
mod connect;
mod document;
mod keys;
mod output;
mod pat;
mod pipelines;
mod principals;
mod queue;
mod reach;
mod roles;
mod runs;
mod serve;
mod show;
mod tasks;
mod watch;

use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    // Ignored: it fails only when a provider is installed already, which is then this one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match args::run(args::Args::parse()).await {
        Ok(code) => code,
        Err(error) => {
            output::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
