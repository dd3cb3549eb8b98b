//! Running the program's commands.

use std::time::Duration;
use tokio::process::Command;

/// How long a command, or the start of a service, may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// What a command said, and how it ended.
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command to its end.
pub(crate) async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dayfly-pool"));
    command
        .args(arguments)
        .envs(environment.iter().copied())
        .kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, command.output())
        .await
        .unwrap_or_else(|_| panic!("{arguments:?} did not end"))
        .unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
