//! Identity tokens of jobs.

use super::plans::{PlanPath, existing_plan};
use crate::keyfile::KeyFileError;
use crate::rules::access::{Caller, require_plan_writer};
use crate::rules::oidc;
use crate::rules::refusal::{Kind, Refusal};
use crate::service::{Failure, Service};
use dayfly_wire::ids::JobId;
use dayfly_wire::secret::SecretText;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

impl Service {
    /// An identity token for a job that runs, asked for with the job's own token.
    pub async fn id_token(
        self: &Arc<Self>,
        caller: &Caller,
        path: &PlanPath,
        job: JobId,
        connection: Option<Uuid>,
        asked: &BTreeMap<String, String>,
    ) -> Result<SecretText, Failure> {
        let claims = require_plan_writer(caller, path.plan)?;
        if claims.job != job {
            return Err(
                Refusal::new(Kind::PlanSecurity, "the job's token belongs to another job").into(),
            );
        }
        if let Some(connection) = connection {
            return Err(Refusal::new(
                Kind::Denied,
                format!("serviceConnectionId: the pipeline may not use a connection {connection}"),
            )
            .into());
        }
        let audience = oidc::audience(asked, &self.settings.oidc_audiences)?;
        let plan = {
            let mut conn = self.store.read().await?;
            existing_plan(&mut conn, path).await?
        };
        let service = (self.settings.public_url.as_str(), self.keys.instance);
        let claims = oidc::claims(&plan, claims, service, audience, Uuid::new_v4(), self.now());
        self.with_keys(move |service| service.keys.issue_id_token(&claims))
            .await
    }

    /// The public keys of identity tokens.
    pub async fn id_token_key_set(self: &Arc<Self>) -> Result<serde_json::Value, Failure> {
        self.with_keys(|service| service.keys.id_token_key_set())
            .await
    }

    /// Keys of RSA are made and used where that holds nobody up.
    async fn with_keys<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, KeyFileError> + Send + 'static,
    ) -> Result<T, Failure> {
        let service = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&service)).await;
        done.map_err(|error| Failure::Key(error.to_string()))?
            .map_err(|error| Failure::Key(error.to_string()))
    }
}
