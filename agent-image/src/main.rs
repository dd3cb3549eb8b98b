//! `dayfly-agent`; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(dayfly_agent::run().code())
}
