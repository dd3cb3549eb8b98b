//! What the expressions of a run's jobs see of the variables that the service sets.

use super::entities::{Run, RunJob};

/// The value of a variable that the service sets; names are compared without regard to case.
pub fn value(run: &Run, job: &RunJob, name: &str) -> Option<String> {
    let plan = &run.plan;
    let branch = || run.source.as_ref()?.branch.clone();
    match name.to_lowercase().as_str() {
        "build.buildid" => Some(plan.build.to_string()),
        "build.buildnumber" => Some(plan.build_number.clone()),
        "build.definitionname" | "system.definitionname" => Some(plan.definition_name.clone()),
        "system.definitionid" => Some(plan.definition.to_string()),
        "system.teamproject" => Some(plan.project_name.clone()),
        "system.teamprojectid" => Some(plan.project.to_string()),
        "system.jobname" => Some(job.name.clone()),
        "system.jobdisplayname" => Some(job.display_name.clone()),
        "build.reason" => Some(reason(run).to_owned()),
        "build.requestedfor" => Some(run.requested_by.clone()),
        "build.repository.name" => Some(run.source.as_ref()?.repository_name.clone()),
        "build.sourceversion" => Some(run.source.as_ref()?.version.clone()),
        "build.sourcebranch" => branch(),
        "build.sourcebranchname" => {
            let branch = branch()?;
            Some(branch.rsplit('/').next().unwrap_or_default().to_owned())
        }
        _ => None,
    }
}

/// As Azure DevOps spells it.
fn reason(run: &Run) -> &'static str {
    use dayfly_wire::build::BuildReason as B;
    match run.reason {
        B::IndividualCi => "IndividualCI",
        B::BatchedCi => "BatchedCI",
        B::Schedule => "Schedule",
        B::BuildCompletion => "BuildCompletion",
        B::Manual | B::Other => "Manual",
    }
}

#[cfg(test)]
mod tests {
    use super::super::entities::Source;
    use super::super::samples::{run, run_job};
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_unknown_ones_have_no_value() {
        let mut run = run();
        let job = run_job("build", &[]);
        assert_eq!(value(&run, &job, "Build.SourceBranch"), None);
        run.source = Some(Source {
            repository: uuid::Uuid::nil(),
            repository_name: "app".to_owned(),
            branch: Some("refs/heads/feature/x".to_owned()),
            version: "0123".to_owned(),
        });
        assert_eq!(
            value(&run, &job, "BUILD.sourceBranchName").as_deref(),
            Some("x")
        );
        assert_eq!(value(&run, &job, "build.reason").as_deref(), Some("Manual"));
        assert_eq!(value(&run, &job, "mine"), None);
    }
}
