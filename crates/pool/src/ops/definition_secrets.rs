//! Secret variables of pipelines: set by people, given to jobs, never answered.

use super::definitions::existing_definition;
use super::projects::existing_project;
use crate::rules::access::{Caller, Scope, require_scope};
use crate::rules::entities::Definition;
use crate::rules::refusal::{Kind, Refusal};
use crate::service::{Failure, Service};
use crate::store::definition_secrets::{self, SealedVariable};
use crate::store::dialect::Conn;
use dayfly_wire::ids::DefinitionId;
use dayfly_wire::secret::SecretText;

/// What values are sealed for.
const SEALED: &str = "definition-secret";
const MAX_SECRETS: usize = 200;
const MAX_NAME: usize = 200;
const MAX_VALUE: usize = 64 * 1024;

impl Service {
    /// Sets a secret variable of a pipeline.
    pub async fn set_secret_variable(
        &self,
        caller: &Caller,
        project: &str,
        definition: DefinitionId,
        name: &str,
        value: &SecretText,
    ) -> Result<(), Failure> {
        require_scope(caller, Scope::BuildExecute)?;
        check(name, value)?;
        let sealed = self
            .keys
            .seal(SEALED, &row(definition, name), value.expose().as_bytes())?;
        let variable = SealedVariable {
            name: name.to_owned(),
            sealed,
        };
        let mut unit = self.begin().await?;
        let now = unit.now;
        of_project(unit.conn(), project, definition).await?;
        let known = definition_secrets::all(unit.conn(), definition).await?;
        let is_new = !known
            .iter()
            .any(|other| other.name.to_lowercase() == name.to_lowercase());
        if is_new && known.len() >= MAX_SECRETS {
            let most = format!("a pipeline has at most {MAX_SECRETS} secret variables");
            return Err(Refusal::invalid(most).into());
        }
        definition_secrets::put(unit.conn(), definition, &variable, now).await?;
        unit.commit().await?;
        Ok(())
    }

    /// Removes a secret variable of a pipeline.
    pub async fn delete_secret_variable(
        &self,
        caller: &Caller,
        project: &str,
        definition: DefinitionId,
        name: &str,
    ) -> Result<(), Failure> {
        require_scope(caller, Scope::BuildExecute)?;
        let mut unit = self.begin().await?;
        let found = of_project(unit.conn(), project, definition).await?;
        if !definition_secrets::delete(unit.conn(), definition, name).await? {
            let what = format!("pipeline {:?} has no secret variable {name:?}", found.name);
            return Err(Refusal::new(Kind::NotFound, what).into());
        }
        unit.commit().await?;
        Ok(())
    }

    /// The names of a pipeline's secret variables.
    pub async fn secret_variable_names(
        &self,
        caller: &Caller,
        project: &str,
        definition: DefinitionId,
    ) -> Result<Vec<String>, Failure> {
        require_scope(caller, Scope::Build)?;
        let mut conn = self.store.read().await?;
        of_project(&mut conn, project, definition).await?;
        let known = definition_secrets::all(&mut conn, definition).await?;
        Ok(known.into_iter().map(|variable| variable.name).collect())
    }

    /// A pipeline's secret variables, opened.
    pub async fn opened_secrets(
        &self,
        definition: DefinitionId,
    ) -> Result<Vec<(String, SecretText)>, Failure> {
        let known = {
            let mut conn = self.store.read().await?;
            definition_secrets::all(&mut conn, definition).await?
        };
        let mut opened = Vec::with_capacity(known.len());
        for variable in known {
            let row = row(definition, &variable.name);
            let plain = self.keys.open_sealed(SEALED, &row, &variable.sealed)?;
            let text = std::str::from_utf8(&plain)
                .map_err(|_| Failure::Key("a secret variable is no text".to_owned()))?;
            opened.push((variable.name, SecretText::new(text.to_owned())));
        }
        Ok(opened)
    }
}

async fn of_project(
    conn: &mut Conn,
    project: &str,
    definition: DefinitionId,
) -> Result<Definition, Failure> {
    let project = existing_project(conn, project).await?;
    existing_definition(conn, &project, definition).await
}

/// A value opens as this variable of this pipeline only.
fn row(definition: DefinitionId, name: &str) -> String {
    format!("{definition}/{}", name.to_lowercase())
}

fn check(name: &str, value: &SecretText) -> Result<(), Refusal> {
    let good = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(good) {
        return Err(Refusal::invalid(format!(
            "{name:?} is no name of a variable; use letters, digits, '.', '_' and '-'"
        )));
    }
    if crate::message::is_set_by_service(name) {
        return Err(Refusal::invalid(format!(
            "{name}: the service sets this variable itself"
        )));
    }
    if value.is_empty() || value.expose().len() > MAX_VALUE {
        return Err(Refusal::invalid(format!(
            "{name}: a value of 1 to {MAX_VALUE} bytes is needed"
        )));
    }
    Ok(())
}
