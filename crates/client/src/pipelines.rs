//! Pipelines: files in repositories, and the secret variables that their jobs get.

use crate::{Client, Error};
use dayfly_wire::build::{Build, BuildDefinition, QueueBuild};
use dayfly_wire::collection::Collection;
use dayfly_wire::ids::DefinitionId;
use dayfly_wire::queue::SecretVariable;
use dayfly_wire::secret::SecretText;
use reqwest::Method;

impl Client {
    /// Makes a pipeline.
    pub async fn create_definition(
        &self,
        project: &str,
        draft: &BuildDefinition,
    ) -> Result<BuildDefinition, Error> {
        let path = format!("/{project}/_apis/build/definitions");
        let call = self
            .call("create pipeline", Method::POST, &path)
            .json(draft)?;
        self.send(call).await?.json()
    }

    /// The project's pipelines.
    pub async fn definitions(&self, project: &str) -> Result<Vec<BuildDefinition>, Error> {
        let path = format!("/{project}/_apis/build/definitions");
        let call = self
            .call("list pipelines", Method::GET, &path)
            .query("includeAllProperties", "true");
        let answer = self.send(call).await?;
        Ok(answer.json::<Collection<BuildDefinition>>()?.value)
    }

    /// Queues a pipeline.
    pub async fn queue_build(&self, project: &str, asked: &QueueBuild) -> Result<Build, Error> {
        let path = format!("/{project}/_apis/build/builds");
        let call = self
            .call("queue pipeline", Method::POST, &path)
            .json(asked)?;
        self.send(call).await?.json()
    }

    /// Sets a secret variable of a pipeline.
    pub async fn set_secret_variable(
        &self,
        project: &str,
        pipeline: DefinitionId,
        name: &str,
        value: SecretText,
    ) -> Result<(), Error> {
        let path = secret_path(project, pipeline, name);
        let call = self
            .call("set variable", Method::PUT, &path)
            .json(&SecretVariable { value })?;
        self.send(call).await.map(drop)
    }

    /// Removes a secret variable of a pipeline.
    pub async fn delete_secret_variable(
        &self,
        project: &str,
        pipeline: DefinitionId,
        name: &str,
    ) -> Result<(), Error> {
        let path = secret_path(project, pipeline, name);
        let call = self.call("delete variable", Method::DELETE, &path);
        self.send(call).await.map(drop)
    }

    /// The names of a pipeline's secret variables.
    pub async fn secret_variables(
        &self,
        project: &str,
        pipeline: DefinitionId,
    ) -> Result<Vec<String>, Error> {
        let path = format!("/{project}/_apis/dayfly/pipelines/{pipeline}/variables");
        let answer = self
            .send(self.call("list variables", Method::GET, &path))
            .await?;
        Ok(answer.json::<Collection<String>>()?.value)
    }
}

fn secret_path(project: &str, pipeline: DefinitionId, name: &str) -> String {
    format!("/{project}/_apis/dayfly/pipelines/{pipeline}/variables/{name}")
}
