//! The Dayfly operator.

use clap::Parser;
use dayfly_operator::{args, runtime};

fn main() -> anyhow::Result<()> {
    let cli = args::Cli::parse();
    // One crypto backend for every TLS client and server of this process.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Runtime::new()?.block_on(runtime::main(cli))
}
