//! minted -> reserved: takes a key, registers the agent, seals the key, stores the Secret.

use super::build::{registration, secret};
use super::facts::Registration;
use super::validate::{ValidPool, ValidTemplate};
use crate::backoff::registration_key;
use crate::clock;
use crate::connection::Link;
use crate::context::Context;
use crate::crd::conditions::Reason;
use crate::deadline::within;
use crate::memory::Owner;
use dayfly_client::Error as ServiceError;
use dayfly_keys::KeyError;
use dayfly_keys::agent_key::AgentKey;
use dayfly_keys::random::base32_name;
use dayfly_keys::sealing::{SealError, SealHeader};
use dayfly_wire::agent::{Agent, Capabilities};
use dayfly_wire::ids::{AgentId, PoolId};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Random characters in an identity's name.
const SUFFIX: usize = 10;

/// Why an identity could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// No key.
    #[error("failed to take an agent key: {0}")]
    Key(#[from] KeyError),
    /// The service refused.
    #[error("failed to register an agent: {0}")]
    Service(#[from] ServiceError),
    /// The service's answer lacks something.
    #[error("failed to register an agent: the service's answer has no {0}")]
    Answer(&'static str),
    /// The key cannot be sealed.
    #[error("failed to seal an agent's key: {0}")]
    Seal(#[from] SealError),
    /// What is sealed cannot be written.
    #[error("failed to write an agent's identity")]
    Encode,
    /// The API server refused the Secret.
    #[error("failed to store a sealed identity: {0}")]
    Secret(#[from] kube::Error),
}

impl RegisterError {
    /// One word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Service(_) | Self::Answer(_) => "register",
            Self::Seal(_) | Self::Encode => "seal",
            Self::Secret(_) => "store",
        }
    }
}

/// Begins so many registrations in the background; each wakes the AgentPool when it ends.
pub fn begin(
    context: &Arc<Context>,
    link: &Link,
    pool_id: PoolId,
    owner: &Owner,
    pool: &Arc<ValidPool>,
    template: usize,
    count: usize,
) {
    for _ in 0..count {
        let identity = format!("{}-{}", pool.name, base32_name(SUFFIX));
        context
            .memory
            .begin_registration(&identity, owner.clone(), &pool.templates[template].name);
        let task = Registering {
            context: Arc::clone(context),
            link: link.clone(),
            pool_id,
            owner: owner.clone(),
            pool: Arc::clone(pool),
            template,
            identity,
        };
        context.tasks.spawn(task.run());
    }
}

struct Registering {
    context: Arc<Context>,
    link: Link,
    pool_id: PoolId,
    owner: Owner,
    pool: Arc<ValidPool>,
    template: usize,
    identity: String,
}

impl Registering {
    async fn run(self) {
        // The semaphore is never closed.
        let _permit = self.context.operations.acquire().await;
        if self.context.shutdown.is_cancelled() {
            return;
        }
        let now = clock::now();
        if let Err(error) = self.make().await {
            tracing::warn!(pool = %self.owner.pool, identity = self.identity, %error, "no identity was made");
            let labels = crate::metrics::ReasonLabels {
                reason: error.reason(),
            };
            self.context
                .metrics
                .reconcile_errors
                .get_or_create(&labels)
                .inc();
            self.context.backoffs.failed(
                &self.owner.uid,
                &registration_key(&self.template().name),
                self.pool.retry,
                (Reason::RegistrationFailed, &error.to_string()),
                now,
            );
            self.context
                .memory
                .forget(&self.identity, &self.owner.uid, clock::now());
        }
        let depth = i64::try_from(self.context.stock.depth()).unwrap_or(i64::MAX);
        self.context.metrics.key_stock.set(depth);
        self.context.wakes.wake(&self.owner.pool);
    }

    fn template(&self) -> &ValidTemplate {
        &self.pool.templates[self.template]
    }

    async fn make(&self) -> Result<(), RegisterError> {
        let key = self.context.stock.take().await?;
        let connection = self.context.connections.get(&self.owner.connection);
        let marks = registration::user_capabilities(
            &self.pool,
            self.template(),
            &self.context.sealing.cluster,
        );
        let document = registration::registration(&self.identity, &key.public(), &marks);
        let answer = self
            .link
            .client
            .register_agent(self.pool_id, &document)
            .await;
        connection.learn(&self.context.metrics, "register", &answer, clock::now());
        let agent = answer?;
        let registered_at = clock::now();
        let stored = self.store(&agent, &key, &marks).await;
        if stored.is_err() {
            // Without a Secret nobody can use the registration. If this fails too, the sweep finds it.
            let deleted = self.link.client.delete_agent(self.pool_id, agent.id).await;
            connection.learn(&self.context.metrics, "delete", &deleted, clock::now());
            return stored;
        }
        let registration = self.registered(&agent);
        self.context
            .memory
            .registered(&self.identity, registration, registered_at);
        self.context.memory.sealed(&self.identity, clock::now());
        let key = registration_key(&self.template().name);
        self.context.backoffs.succeeded(&self.owner.uid, &key);
        tracing::debug!(pool = %self.owner.pool, identity = self.identity, agent = %agent.id, "an identity is in reserve");
        Ok(())
    }

    async fn store(
        &self,
        agent: &Agent,
        key: &AgentKey,
        marks: &Capabilities,
    ) -> Result<(), RegisterError> {
        let template = self.template();
        // A service may take them with the registration, or only by themselves.
        if agent.user_capabilities != *marks {
            self.link
                .client
                .put_user_capabilities(self.pool_id, agent.id, marks)
                .await?;
        }
        let authorization = agent
            .authorization
            .as_ref()
            .ok_or(RegisterError::Answer("authorization"))?;
        let sealed = secret::SealedIdentity {
            private_key: key.to_base64()?,
            client_id: authorization
                .client_id
                .ok_or(RegisterError::Answer("authorization.clientId"))?,
            authorization_url: authorization
                .authorization_url
                .clone()
                .ok_or(RegisterError::Answer("authorization.authorizationUrl"))?,
            pool_id: self.pool_id,
        };
        let plain = Zeroizing::new(serde_json::to_vec(&sealed).map_err(|_| RegisterError::Encode)?);
        let blob = self
            .context
            .sealing
            .keys()
            .sealing
            .seal(&self.header(agent.id), &plain)?;
        let object = secret::secret(&self.pool, template, &self.identity, blob);
        let api: Api<Secret> = Api::namespaced(
            self.context.kube.clone(),
            &self.context.args.identities_namespace,
        );
        let created = within(api.create(&PostParams::default(), &object)).await;
        self.context
            .metrics
            .kube_write("create", "secrets", &created);
        created?;
        Ok(())
    }

    fn header(&self, agent_id: AgentId) -> SealHeader {
        SealHeader {
            agent_id,
            namespace: self.pool.namespace.clone(),
            name: self.identity.clone(),
            pool_uid: self.pool.uid.clone(),
        }
    }

    fn registered(&self, agent: &Agent) -> Registration {
        Registration {
            id: agent.id,
            name: self.identity.clone(),
            enabled: true,
            online: false,
            created: agent.created_on,
            changed: agent.status_changed_on,
            owner: self.owner.uid.clone(),
            template: self.template().name.clone(),
            hash: self.template().identity_hash.clone(),
        }
    }
}
