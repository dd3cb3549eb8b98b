//! Pipelines of files in repositories.

use super::{PROJECT, World, wait_for};
use dayfly_client::PlanScope;
use dayfly_wire::build::{
    Build, BuildDefinition, BuildProcess, BuildRepository, DefinitionById, DefinitionReference,
    YAML,
};
use dayfly_wire::ids::TimelineId;

/// The file of every pipeline here.
pub const FILE: &str = "azure-pipelines.yml";

impl World {
    /// A pipeline of a repository's [`FILE`].
    pub async fn pipeline(&self, repository: &str) -> DefinitionById {
        let draft = BuildDefinition {
            reference: DefinitionReference {
                name: Some("ci".to_owned()),
                ..DefinitionReference::default()
            },
            process: Some(BuildProcess {
                kind: YAML,
                yaml_filename: Some(FILE.to_owned()),
            }),
            repository: Some(BuildRepository {
                name: Some(repository.to_owned()),
                kind: Some("TfsGit".to_owned()),
                ..BuildRepository::default()
            }),
            ..BuildDefinition::default()
        };
        let made = self.admin.create_definition(PROJECT, &draft).await.unwrap();
        DefinitionById {
            id: made.reference.id,
        }
    }

    /// Waits for a run's end; answers it with all that its steps wrote, and the issues of its records.
    pub async fn ended_run(&self, run: &Build) -> (Build, String) {
        let ended = wait_for("the run's end", || async {
            let run = self.admin.build(PROJECT, run.id).await.unwrap();
            run.finish_time.is_some().then_some(run)
        })
        .await;
        let plan = ended.orchestration_plan.plan_id;
        let scope = PlanScope {
            project: ended.project.id,
            hub: "Build".to_owned(),
            plan,
        };
        let timeline = self
            .admin
            .timeline(&scope, TimelineId(plan.0))
            .await
            .unwrap();
        let mut written = String::new();
        for record in timeline.records.unwrap_or_default() {
            for issue in &record.issues {
                written += &format!("issue: {}\n", issue.message);
            }
            if let Some(log) = &record.log {
                written += &self.admin.log_text(&scope, log.id).await.unwrap();
            }
        }
        (ended, written)
    }
}
