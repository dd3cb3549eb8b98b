//! finished -> gone: the request if it is still open, the registration, the Secret, the pod; in this order.

use super::plan::Retire;
use super::validate::Retry;
use crate::clock;
use crate::connection::{Connection, Link};
use crate::context::Context;
use crate::crd::conditions::Reason;
use crate::deadline::within;
use crate::memory::Owner;
use crate::metrics::ReasonLabels;
use dayfly_client::{Client, Error};
use dayfly_wire::error::key;
use dayfly_wire::event::TaskResult;
use dayfly_wire::ids::{AgentId, PoolId, RequestId};
use k8s_openapi::api::core::v1::{ObjectReference, Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use std::sync::Arc;

/// How long the operator's own deletions let a pod run on.
const GRACE_SECONDS: u32 = 1;
/// How often a deletion is tried that the service refuses because of a running request.
const ATTEMPTS: usize = 3;

/// What is removed.
pub struct Removal {
    /// Why and what.
    pub retire: Retire,
    /// The agent, if its registration is there or may be there.
    pub agent: Option<AgentId>,
    /// Whether nobody could be asked yet for the registration.
    pub unasked: bool,
    /// The uid of the pod that is there.
    pub pod: Option<String>,
    /// Whether the pod is kept for people to look at.
    pub keep_pod: bool,
    /// Whether a Secret is there or may be there.
    pub secret: bool,
    /// The template, for the backoff of failing starts.
    pub template: String,
    /// Whether it never came up.
    pub never_listened: bool,
    /// Whether it was told before that it ended.
    pub again: bool,
}

/// Where it is removed from.
pub struct Site {
    /// The service, when it may be asked.
    pub service: Option<(Link, PoolId)>,
    /// Whose it is.
    pub owner: Owner,
    /// How long templates wait after failed starts.
    pub retry: Retry,
    /// What Events are about.
    pub about: ObjectReference,
}

/// The service's side could not be done.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    /// A request came in meanwhile: the agent is not idle.
    #[error("a request came in")]
    NotIdle,
    /// The service refused.
    #[error("failed to deregister an agent: {0}")]
    Service(#[from] Error),
    /// A key for the replacement could not be made.
    #[error("failed to take a key to replace an agent's: {0}")]
    Key(#[from] dayfly_keys::KeyError),
}

/// Removes an identity in the background, unless an operation on it is under way; wakes the AgentPool at the end.
pub fn begin(context: &Arc<Context>, site: &Arc<Site>, removal: Removal) {
    if !context.memory.begin(&removal.retire.identity, &site.owner) {
        return;
    }
    let (context, site) = (Arc::clone(context), Arc::clone(site));
    let tasks = context.tasks.clone();
    tasks.spawn(async move {
        let _permit = Arc::clone(&context.operations).acquire_owned().await;
        run(&context, &site, &removal).await;
        context.wakes.wake(&site.owner.pool);
    });
}

async fn run(context: &Context, site: &Site, removal: &Removal) {
    let identity = removal.retire.identity.as_str();
    let begun = clock::now();
    // One that turns out to have a job goes on.
    if removal.retire.end.is_abnormal() && !removal.retire.only_if_idle {
        context.memory.ended(identity, &removal.retire.end.message);
    }
    let deregistered = match (&site.service, removal.agent) {
        (Some((link, pool)), Some(agent)) => {
            let connection = context.connections.get(&site.owner.connection);
            let service = Service {
                context,
                connection: &connection,
                client: &link.client,
                pool: *pool,
            };
            Some(service.remove(agent, removal).await)
        }
        (None, Some(_)) => None,
        // A new process has not looked at the pool yet: its first look tells which registration is left.
        (_, None) if removal.unasked => None,
        (_, None) => Some(Ok(())),
    };
    if let Some(Err(RetireError::NotIdle)) = deregistered {
        tracing::info!(pool = %site.owner.pool, identity, "an idle agent got a job just before it was removed; it stays");
        context.memory.end(identity);
        return;
    }
    let removed = remove_objects(context, site, removal).await;
    report(context, site, removal).await;
    match deregistered {
        Some(Ok(())) if removed => {
            let elapsed = clock::now().duration_since(begun);
            context.metrics.deregister.observe(elapsed.as_secs_f64());
            context
                .memory
                .forget(identity, &site.owner.uid, clock::now());
            return;
        }
        Some(Err(error)) => {
            tracing::warn!(pool = %site.owner.pool, identity, %error, "a registration is left for later");
        }
        Some(Ok(())) | None => {}
    }
    context.memory.ended(identity, &removal.retire.end.message);
    context.memory.end_failed(identity, clock::now());
}

/// The service's side of a removal.
struct Service<'a> {
    context: &'a Context,
    connection: &'a Connection,
    client: &'a Client,
    pool: PoolId,
}

impl Service<'_> {
    fn learn<T>(&self, op: &'static str, result: Result<T, Error>) -> Result<T, Error> {
        self.connection
            .learn(&self.context.metrics, op, &result, clock::now());
        result
    }

    async fn remove(&self, agent: AgentId, removal: &Removal) -> Result<(), RetireError> {
        let retire = &removal.retire;
        if retire.only_if_idle && self.assigned(agent).await?.is_some() {
            return Err(RetireError::NotIdle);
        }
        let ours = |_: &RequestId| retire.end.is_abnormal() && !retire.spare_request;
        if let Some(request) = retire.request.filter(ours) {
            self.fail(request, &retire.end.message).await?;
        }
        for _ in 0..ATTEMPTS {
            match self.learn("delete", self.client.delete_agent(self.pool, agent).await) {
                Ok(()) => return Ok(()),
                Err(error)
                    if error.type_key() == Some(key::JOB_STILL_RUNNING) && retire.only_if_idle =>
                {
                    return Err(RetireError::NotIdle);
                }
                Err(error)
                    if error.type_key() == Some(key::JOB_STILL_RUNNING)
                        && !retire.spare_request =>
                {
                    self.disarm(agent, retire).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.learn("delete", self.client.delete_agent(self.pool, agent).await)?)
    }

    async fn assigned(&self, agent: AgentId) -> Result<Option<RequestId>, Error> {
        match self.learn("read agent", self.client.agent(self.pool, agent).await) {
            Ok(document) => Ok(document.assigned_request.map(|request| request.request_id)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn fail(&self, request: RequestId, message: &str) -> Result<(), Error> {
        let finished = self
            .client
            .finish_request(self.pool, request, TaskResult::Failed, Some(message))
            .await;
        match self.learn("finish", finished) {
            // It has ended meanwhile.
            Err(Error::NotFound(_) | Error::Conflict(_)) => Ok(()),
            other => other,
        }
    }

    /// The agent holds a request that nobody runs: its key is replaced by one that nobody has, so that whoever
    /// holds the old one can do nothing more, and the request is failed.
    async fn disarm(&self, agent: AgentId, retire: &Retire) -> Result<(), RetireError> {
        let mut document = self.learn("read agent", self.client.agent(self.pool, agent).await)?;
        let request = document
            .assigned_request
            .take()
            .map(|request| request.request_id);
        let throw_away = self.context.stock.take().await?;
        document.enabled = Some(false);
        document.last_completed_request = None;
        document.authorization.get_or_insert_default().public_key =
            Some(throw_away.public().to_wire());
        self.learn(
            "replace agent",
            self.client.replace_agent(self.pool, &document).await,
        )?;
        let message = if retire.end.is_abnormal() {
            retire.end.message.as_str()
        } else {
            "the agent left without ending its job"
        };
        if let Some(request) = request.or(retire.request) {
            self.fail(request, message).await?;
        }
        Ok(())
    }
}

/// Deletes the Secret and the pod; `false` when something is left.
async fn remove_objects(context: &Context, site: &Site, removal: &Removal) -> bool {
    let identity = removal.retire.identity.as_str();
    let mut removed = true;
    if removal.secret {
        let api: Api<Secret> =
            Api::namespaced(context.kube.clone(), &context.args.identities_namespace);
        let deleted = within(api.delete(identity, &DeleteParams::default())).await;
        removed &= done(context, "secrets", identity, deleted);
        context.memory.unsealed(identity);
    }
    if let Some(uid) = &removal.pod
        && !removal.keep_pod
    {
        removed &= delete_pod(context, site, identity, uid).await;
    }
    removed
}

/// Deletes a pod, and only that one.
pub async fn delete_pod(context: &Context, site: &Site, identity: &str, uid: &str) -> bool {
    let api: Api<Pod> = Api::namespaced(context.kube.clone(), &site.owner.pool.namespace);
    let params = DeleteParams {
        grace_period_seconds: Some(GRACE_SECONDS),
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    done(
        context,
        "pods",
        identity,
        within(api.delete(identity, &params)).await,
    )
}

fn done<T>(
    context: &Context,
    resource: &'static str,
    identity: &str,
    result: Result<T, kube::Error>,
) -> bool {
    context.metrics.kube_write("delete", resource, &result);
    match result {
        Ok(_) => true,
        // Gone, or another object of that name.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => true,
        Err(error) => {
            tracing::warn!(identity, resource, %error, "failed to delete; it is tried again");
            false
        }
    }
}

async fn report(context: &Context, site: &Site, removal: &Removal) {
    let end = &removal.retire.end;
    let identity = removal.retire.identity.as_str();
    if removal.again {
        tracing::debug!(pool = %site.owner.pool, identity, "what was left of an agent is removed");
        return;
    }
    context
        .metrics
        .exits
        .get_or_create(&ReasonLabels {
            reason: end.reason.as_str(),
        })
        .inc();
    tracing::info!(pool = %site.owner.pool, identity, reason = end.reason.as_str(), why = end.message, "an agent is removed");
    let failed_start = removal.never_listened
        && matches!(
            end.reason,
            Reason::StartupTimeout
                | Reason::ImagePullFailed
                | Reason::Unschedulable
                | Reason::AgentFailed
                | Reason::AgentEvicted
        );
    if failed_start {
        context.backoffs.failed(
            &site.owner.uid,
            &removal.template,
            site.retry,
            (end.reason, &end.message),
            clock::now(),
        );
    }
    let note = format!("{identity}: {}", end.message);
    match (end.reason, removal.retire.request) {
        (
            Reason::JobFinished | Reason::ScaledDown | Reason::Terminating | Reason::OrphanRemoved,
            _,
        ) => {}
        (reason, Some(request)) if removal.retire.spare_request => {
            let note = format!("request {request} is left to the service ({reason}): {note}");
            context
                .reports
                .warning(&site.about, Reason::JobLost, note)
                .await;
        }
        (reason, Some(request)) => {
            let note = format!("request {request} was failed ({reason}): {note}");
            context
                .reports
                .warning(&site.about, Reason::JobLost, note)
                .await;
        }
        (Reason::AgentLost, None) => {}
        (reason, None) => context.reports.warning(&site.about, reason, note).await,
    }
}
