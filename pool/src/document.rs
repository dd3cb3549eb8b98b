//! The job that a command line describes.

use crate::args::QueueArgs;
use anyhow::Context;
use dayfly_wire::queue::{FullVariable, QueueJob, QueueStep, QueueVariable};
use dayfly_wire::secret::SecretText;
use std::path::Path;

/// Reads the document, if one is named, and adds what the options say.
pub(crate) fn from_args(args: QueueArgs) -> anyhow::Result<QueueJob> {
    let mut job = match &args.file {
        Some(path) => read(path)?,
        None => QueueJob::default(),
    };
    for pair in &args.secret {
        let (name, variable) = split(pair, "--secret")?;
        let value = std::env::var(variable)
            .with_context(|| format!("--secret {name}: the environment has no {variable}"))?;
        job.variables.insert(name.to_owned(), secret(value.into()));
    }
    for pair in &args.secret_file {
        let (name, path) = split(pair, "--secret-file")?;
        let value = read_secret(Path::new(path))
            .with_context(|| format!("--secret-file {name}: failed to read {path}"))?;
        job.variables.insert(name.to_owned(), secret(value));
    }
    add(&mut job, args)?;
    Ok(job)
}

fn read(path: &Path) -> anyhow::Result<QueueJob> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read {}", path.display()))?;
    // JSON is YAML; one reader serves both.
    serde_yaml_ng::from_str(&text)
        .with_context(|| format!("failed to understand {}", path.display()))
}

/// What needs neither files nor environment.
fn add(job: &mut QueueJob, args: QueueArgs) -> anyhow::Result<()> {
    if let Some(pool) = args.pool {
        job.pool = pool;
    }
    job.name = args.name.or(job.name.take());
    job.reference = args.reference.or(job.reference.take());
    job.timeout_in_minutes = args.timeout.or(job.timeout_in_minutes);
    job.priority = args.priority.or(job.priority);
    job.scripts_access_token |= args.scripts_access_token;
    job.demands.extend(args.demand);
    for pair in &args.variable {
        let (name, value) = split(pair, "--variable")?;
        let value = QueueVariable::Plain(value.into());
        job.variables.insert(name.to_owned(), value);
    }
    for repository in args.checkout {
        let own = job
            .repository
            .get_or_insert_with(|| repository.clone())
            .eq_ignore_ascii_case(&repository);
        let step = QueueStep {
            checkout: Some(if own { "self".to_owned() } else { repository }),
            ..QueueStep::default()
        };
        job.steps.push(step);
    }
    for script in args.script {
        let step = QueueStep {
            script: Some(script.into()),
            ..QueueStep::default()
        };
        job.steps.push(step);
    }
    for script in args.bash {
        let step = QueueStep {
            bash: Some(script.into()),
            ..QueueStep::default()
        };
        job.steps.push(step);
    }
    Ok(())
}

fn split<'a>(pair: &'a str, option: &str) -> anyhow::Result<(&'a str, &'a str)> {
    // The pair itself is not repeated: what looks like a name may be a secret in the wrong place.
    pair.split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .with_context(|| format!("{option} takes NAME=..., with an equals sign"))
}

fn secret(value: SecretText) -> QueueVariable {
    QueueVariable::Full(FullVariable {
        value,
        is_secret: true,
        is_read_only: false,
    })
}

/// The file's text without the line end that editors put there.
fn read_secret(path: &Path) -> std::io::Result<SecretText> {
    let mut text = std::fs::read_to_string(path)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(SecretText::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        queue: QueueArgs,
    }

    fn job(line: &[&str]) -> anyhow::Result<QueueJob> {
        let line = std::iter::once(&"queue").chain(line);
        from_args(Line::parse_from(line).queue)
    }

    #[test]
    fn options_become_steps_and_variables() {
        let job = job(&[
            "--pool",
            "linux",
            "--checkout",
            "app",
            "--checkout",
            "lib",
            "--script",
            "make",
            "--variable",
            "a=b=c",
            "--demand",
            "docker",
        ])
        .unwrap();
        let checkouts: Vec<_> = job
            .steps
            .iter()
            .filter_map(|step| step.checkout.as_deref())
            .collect();
        assert_eq!(checkouts, ["self", "lib"]);
        assert_eq!(job.repository.as_deref(), Some("app"));
        assert_eq!(job.steps[2].script.as_ref().unwrap().expose(), "make");
        assert!(
            matches!(&job.variables["a"], QueueVariable::Plain(value) if value.expose() == "b=c")
        );
    }

    #[test]
    fn a_complaint_about_a_secret_does_not_repeat_it() {
        let error = job(&["--pool", "p", "--secret", "hunter2"]).err().unwrap();
        assert!(!format!("{error:#}").contains("hunter2"));
    }

    #[test]
    fn a_pool_is_needed_unless_a_file_names_one() {
        assert!(Args::try_parse_from(["dayfly-pool", "queue", "--script", "x"]).is_err());
        assert!(Args::try_parse_from(["dayfly-pool", "queue", "--file", "x"]).is_ok());
    }
}
