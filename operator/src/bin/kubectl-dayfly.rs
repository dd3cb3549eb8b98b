//! `kubectl dayfly`: says how pools stand and why a job waits.

use clap::Parser;
use dayfly_operator::plugin;
use std::process::ExitCode;

fn main() -> ExitCode {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    plugin::main(plugin::args::Cli::parse())
}
