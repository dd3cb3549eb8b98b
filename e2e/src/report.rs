//! What a failed test shows beside its message, and the frame that tests run in.

use crate::Result;
use crate::kubectl;
use crate::names::{OPERATOR, OPERATOR_NAMESPACE};
use crate::scenario::Scenario;

impl Scenario {
    /// Runs a test on a ready AgentPool of its own; removes everything when it went well.
    pub async fn with(name: &str, test: impl AsyncFnOnce(&Self) -> Result<()>) -> Result<()> {
        let scenario = Self::start(name).await?;
        let outcome = test(&scenario).await;
        scenario.conclude(outcome).await
    }

    /// Removes everything when the test went well; otherwise shows what is there, and leaves it.
    pub async fn conclude(self, outcome: Result<()>) -> Result<()> {
        match outcome {
            Ok(()) => self.remove().await,
            Err(error) => {
                self.show().await;
                Err(error)
            }
        }
    }

    async fn show(&self) {
        let name = &self.name;
        let log = format!("deploy/{OPERATOR}");
        let status = "jsonpath={.status}";
        let listings: [&[&str]; 6] = [
            &["-n", name, "get", "agentpool", name, "-o", status],
            &[
                "-n",
                OPERATOR_NAMESPACE,
                "get",
                "pconn",
                name,
                "-o",
                "jsonpath={.status}",
            ],
            &["-n", name, "get", "pods", "-o", "wide"],
            &["-n", name, "get", "events"],
            &[
                "-n",
                name,
                "logs",
                "-l",
                "dayfly.dev/pool",
                "-c",
                "agent",
                "--tail=60",
                "--prefix",
            ],
            &["-n", OPERATOR_NAMESPACE, "logs", &log, "--since=5m"],
        ];
        for arguments in listings {
            println!("--- kubectl {}", arguments.join(" "));
            match kubectl::attempt(arguments, "").await {
                Ok((_, output, complaint)) => self.print(&output, &complaint),
                Err(error) => println!("{error:#}"),
            }
        }
    }

    /// The end of the output; of logs that all tests share, this test's lines.
    fn print(&self, output: &str, complaint: &str) {
        let lines: Vec<_> = output
            .lines()
            .filter(|line| output.len() < 20_000 || line.contains(&self.name))
            .collect();
        for line in lines.iter().skip(lines.len().saturating_sub(80)) {
            println!("{line}");
        }
        println!("{complaint}");
    }
}
