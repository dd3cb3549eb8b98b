//! Carries a plan out: pods are created and waited for; what needs the service runs in the background, so that a
//! slow service never holds up a start.

use super::build::{Applied, Prepared, Resources};
use super::facts::{Identity, Presence};
use super::observe::Observation;
use super::plan::{Mark, Plan, Retire};
use super::retire::{self, Removal, Site};
use super::validate::ValidPool;
use super::{busy, register};
use crate::clock;
use crate::context::Context;
use crate::crd::conditions::Reason;
use crate::deadline::within;
use crate::names;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use std::collections::HashMap;
use std::sync::Arc;

/// Pods that are created at once.
const CONCURRENCY: usize = 16;

/// What a round works on.
pub struct Round<'a> {
    /// Shared.
    pub context: &'a Arc<Context>,
    /// The pool.
    pub pool: &'a Arc<ValidPool>,
    /// What was read.
    pub observation: &'a Observation,
    /// Where things are removed from.
    pub site: &'a Arc<Site>,
    /// The hash of the network policy that was applied last.
    pub policy: &'a mut Option<NetworkPolicy>,
}

impl Round<'_> {
    /// Carries it out. The order matters: what starts first, then what ends, then what is made for later.
    pub async fn apply(
        &mut self,
        plan: &Plan,
        prepared: Resources<Prepared>,
    ) -> Resources<Applied> {
        let mut applied: Resources<Applied> = prepared.into_state();
        self.apply_policy(&mut applied).await;
        let pods = std::mem::take(&mut applied.pods);
        applied.refused.extend(self.create_pods(plan, pods).await);
        self.begin_removals(plan);
        self.begin_marks(plan);
        self.begin_drains(plan);
        self.begin_registrations(plan);
        self.note(plan);
        applied
    }

    /// The policy comes before the pods that it is for.
    async fn apply_policy(&mut self, resources: &mut Resources<Applied>) {
        let Some(policy) = resources.network_policy.take() else {
            return;
        };
        if self.observation.observed.deleting.is_some() || self.policy.as_ref() == Some(&policy) {
            return;
        }
        let api: Api<NetworkPolicy> =
            Api::namespaced(self.context.kube.clone(), &self.pool.namespace);
        let params = PatchParams::apply(names::FIELD_MANAGER).force();
        let applied = within(api.patch(&policy.name_any(), &params, &Patch::Apply(&policy))).await;
        self.context
            .metrics
            .kube_write("apply", "networkpolicies", &applied);
        match applied {
            Ok(_) => *self.policy = Some(policy),
            Err(error) => {
                tracing::warn!(pool = %self.observation.owner.pool, %error, "failed to apply the network policy")
            }
        }
    }

    async fn create_pods(&self, plan: &Plan, pods: Vec<(usize, Pod)>) -> Vec<(usize, String)> {
        let count = pods.len();
        let queued: HashMap<&str, Timestamp> = plan
            .start
            .iter()
            .filter_map(|start| Some((start.identity.as_str(), start.since?)))
            .collect();
        let refused: Vec<(usize, String)> = futures::stream::iter(pods)
            .map(|(template, pod)| {
                let since = queued.get(pod.name_any().as_str()).copied();
                self.create_pod(template, pod, since)
            })
            .buffer_unordered(CONCURRENCY)
            .filter_map(std::future::ready)
            .collect()
            .await;
        if count > refused.len() {
            let note = format!(
                "pods created: {}; jobs waiting: {}",
                count - refused.len(),
                plan.waiting.len()
            );
            tracing::info!(pool = %self.observation.owner.pool, note);
            let (context, site) = (Arc::clone(self.context), Arc::clone(self.site));
            // Events are told when there is time.
            self.context.tasks.spawn(async move {
                context
                    .reports
                    .normal(&site.about, Reason::ScaledUp, note)
                    .await;
            });
        }
        refused
    }

    /// Creates one pod; POST, so that the name makes it exactly once, and the answer's uid is remembered.
    async fn create_pod(
        &self,
        template: usize,
        pod: Pod,
        queued: Option<Timestamp>,
    ) -> Option<(usize, String)> {
        let identity = pod.name_any();
        let memory = &self.context.memory;
        memory.creating_pod(&identity, &self.observation.owner, clock::now());
        let api: Api<Pod> = Api::namespaced(self.context.kube.clone(), &self.pool.namespace);
        let created = within(api.create(&PostParams::default(), &pod)).await;
        self.context.metrics.kube_write("create", "pods", &created);
        let now = clock::now();
        match created {
            Ok(pod) => {
                memory.pod_created(&identity, &pod.uid().unwrap_or_default(), now);
                if let Some(since) = queued {
                    self.context
                        .metrics
                        .queue_to_pod
                        .observe(now.duration_since(since).as_secs_f64());
                }
                None
            }
            Err(kube::Error::Api(status))
                if (400..500).contains(&status.code) && status.code != 409 =>
            {
                memory.pod_refused(&identity);
                let problem = format!("the API server refused the pod: {}", status.message);
                self.refuse(template, refusal(&status), &problem, now).await;
                Some((template, problem))
            }
            Err(error) => {
                // Whether a pod was made cannot be told, or somebody else's has the name: the identity is burned.
                memory.pod_created(&identity, "", now);
                let problem = format!("failed to create a pod: {error}");
                self.refuse(template, Reason::PodRefused, &problem, now)
                    .await;
                Some((template, problem))
            }
        }
    }

    async fn refuse(&self, template: usize, reason: Reason, problem: &str, now: Timestamp) {
        let name = &self.pool.templates[template].name;
        tracing::warn!(pool = %self.observation.owner.pool, template = name, problem, "no pod was created");
        self.context.backoffs.failed(
            &self.pool.uid,
            name,
            self.pool.retry,
            (reason, problem),
            now,
        );
        let note = format!("template {name}: {problem}");
        self.context
            .reports
            .warning(&self.site.about, reason, note)
            .await;
    }

    fn identity(&self, name: &str) -> Option<&Identity> {
        self.observation
            .observed
            .identities
            .iter()
            .find(|identity| identity.name == name)
    }

    fn begin_removals(&self, plan: &Plan) {
        for retire in &plan.retire {
            if let Some(identity) = self.identity(&retire.identity) {
                retire::begin(self.context, self.site, self.removal(retire, identity));
            }
        }
        for name in &plan.forget {
            let uid = self
                .identity(name)
                .and_then(|identity| identity.pod.as_ref())
                .map(|pod| pod.uid.clone());
            let Some(uid) = uid else { continue };
            let (context, site, name) = (
                Arc::clone(self.context),
                Arc::clone(self.site),
                name.clone(),
            );
            self.context.tasks.spawn(async move {
                if retire::delete_pod(&context, &site, &name, &uid).await {
                    context.memory.forget(&name, &site.owner.uid, clock::now());
                }
            });
        }
        self.begin_sweep(plan);
    }

    fn removal(&self, retire: &Retire, identity: &Identity) -> Removal {
        let known = identity.known.as_ref();
        let pod = identity.pod.as_ref();
        Removal {
            retire: retire.clone(),
            agent: identity
                .registration
                .present()
                .map(|registration| registration.id),
            unasked: identity.registration == Presence::Unknown,
            pod: pod.map(|pod| pod.uid.clone()),
            keep_pod: retire.end.keep
                && self.pool.failed_history > 0
                && pod.is_some_and(|pod| pod.deletion.is_none()),
            secret: identity.secret.is_some(),
            template: identity.template().to_owned(),
            never_listened: known.is_none_or(|known| known.listening.is_none()),
            again: known.is_some_and(|known| known.ended.is_some()),
        }
    }

    /// Registrations of AgentPools that are gone.
    fn begin_sweep(&self, plan: &Plan) {
        let Some((link, pool)) = self.site.service.clone() else {
            return;
        };
        for (agent, name) in plan.orphans.clone() {
            let (context, site, client) = (
                Arc::clone(self.context),
                Arc::clone(self.site),
                link.client.clone(),
            );
            self.context.tasks.spawn(async move {
                let _permit = Arc::clone(&context.operations).acquire_owned().await;
                let deleted = client.delete_agent(pool, agent).await;
                let connection = context.connections.get(&site.owner.connection);
                connection.learn(&context.metrics, "delete", &deleted, clock::now());
                if deleted.is_ok() {
                    tracing::info!(agent = %agent, name, "removed a registration of an AgentPool that is gone");
                    let note = format!("removed registration {name}: its AgentPool is gone");
                    context.reports.normal(&site.about, Reason::OrphanRemoved, note).await;
                }
            });
        }
    }

    fn begin_marks(&self, plan: &Plan) {
        for mark in &plan.mark {
            let Some(identity) = self.identity(&mark.identity) else {
                continue;
            };
            if !self
                .context
                .memory
                .begin(&mark.identity, &self.observation.owner)
            {
                continue;
            }
            let work = Marking {
                context: Arc::clone(self.context),
                site: Arc::clone(self.site),
                mark: mark.clone(),
                agent: identity
                    .registration
                    .present()
                    .map(|registration| registration.id),
                uid: identity.pod.as_ref().map(|pod| pod.uid.clone()),
            };
            self.context.tasks.spawn(work.run());
        }
    }

    /// An idle agent that may go is disabled; a later look decides.
    fn begin_drains(&self, plan: &Plan) {
        for name in &plan.drain {
            let Some(identity) = self.identity(name) else {
                continue;
            };
            if !self.context.memory.begin(name, &self.observation.owner) {
                continue;
            }
            let work = Marking {
                context: Arc::clone(self.context),
                site: Arc::clone(self.site),
                mark: Mark {
                    identity: name.clone(),
                    request: None,
                    disable: true,
                    patch: false,
                },
                agent: identity
                    .registration
                    .present()
                    .map(|registration| registration.id),
                uid: None,
            };
            self.context.tasks.spawn(work.run());
        }
    }

    fn begin_registrations(&self, plan: &Plan) {
        let Some((link, pool_id)) = &self.site.service else {
            return;
        };
        for (template, count) in &plan.register {
            register::begin(
                self.context,
                link,
                *pool_id,
                &self.observation.owner,
                self.pool,
                *template,
                *count,
            );
        }
    }

    fn note(&self, plan: &Plan) {
        let now = clock::now();
        for name in &plan.leaving {
            self.context.memory.request_gone(name, now);
        }
        for name in &plan.reserved_seen {
            self.context.memory.reserved_seen(name, now);
        }
    }
}

/// A quota that is used up is something to wait for, or to raise; anything else is to be repaired.
fn refusal(status: &kube::core::Status) -> Reason {
    if status.code == 403 && status.message.contains("exceeded quota") {
        Reason::QuotaExceeded
    } else {
        Reason::PodRefused
    }
}

struct Marking {
    context: Arc<Context>,
    site: Arc<Site>,
    mark: Mark,
    agent: Option<dayfly_wire::ids::AgentId>,
    uid: Option<String>,
}

impl Marking {
    async fn run(self) {
        let identity = self.mark.identity.as_str();
        let _permit = self.context.operations.acquire().await;
        if let (true, Some((link, pool)), Some(agent)) =
            (self.mark.disable, &self.site.service, self.agent)
        {
            let connection = self.context.connections.get(&self.site.owner.connection);
            let disabled =
                busy::disable(&self.context, &connection, link, *pool, identity, agent).await;
            if let Err(error) = disabled {
                tracing::warn!(identity, %error, "failed to disable an agent; it is tried again");
                self.context.memory.end_failed(identity, clock::now());
                return;
            }
        }
        if let (true, Some(uid)) = (self.mark.patch, &self.uid) {
            busy::patch(
                &self.context,
                &self.site.owner.pool.namespace,
                identity,
                uid,
                self.mark.request,
            )
            .await;
        }
        self.context.memory.end(identity);
        self.context.wakes.wake(&self.site.owner.pool);
    }
}
