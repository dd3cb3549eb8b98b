//! Pure builders: one file per kind of object. They take values that were validated, and no client.

pub mod harden;
pub mod merge;
pub mod netpol;
pub mod pod;
pub mod registration;
pub mod secret;

use super::plan::Plan;
use super::validate::ValidPool;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use std::marker::PhantomData;

/// Built and not yet at the API server.
#[derive(Clone, Copy, Debug)]
pub enum Prepared {}
/// At the API server.
#[derive(Clone, Copy, Debug)]
pub enum Applied {}

/// The objects of one round. Only [`super::apply`] turns prepared ones into applied ones, and the status is only
/// told from applied ones.
pub struct Resources<State> {
    /// Pods to create, with the index of their template.
    pub pods: Vec<(usize, Pod)>,
    /// The pool's network policy, if the operator makes one.
    pub network_policy: Option<NetworkPolicy>,
    /// What could not be built or created: template index and why.
    pub refused: Vec<(usize, String)>,
    state: PhantomData<State>,
}

impl<State> Resources<State> {
    /// The same after a step.
    pub fn into_state<Next>(self) -> Resources<Next> {
        let Self {
            pods,
            network_policy,
            refused,
            state: _,
        } = self;
        Resources {
            pods,
            network_policy,
            refused,
            state: PhantomData,
        }
    }
}

/// Where the operator and the service are, as pods and policies need it.
#[derive(Clone, Debug)]
pub struct Places {
    /// The image of container `agent`, and of `job` unless the template names another.
    pub agent_image: String,
    /// Its pull policy.
    pub pull_policy: String,
    /// The identity API's URL.
    pub identity_url: String,
    /// The CA certificate of the identity API (PEM).
    pub identity_ca: String,
    /// The agents' log filter, if it is not theirs to choose.
    pub agent_log: Option<String>,
    /// The operator's namespace.
    pub operator_namespace: String,
}

/// Builds what the plan starts.
pub fn build(
    pool: &ValidPool,
    plan: &Plan,
    places: &Places,
    service_url: Option<&str>,
    now: Timestamp,
) -> Resources<Prepared> {
    Resources {
        pods: plan
            .start
            .iter()
            .map(|start| {
                let template = &pool.templates[start.template];
                (
                    start.template,
                    pod::pod(pool, template, &start.identity, places, now),
                )
            })
            .collect(),
        network_policy: netpol::network_policy(pool, places, service_url),
        refused: Vec::new(),
        state: PhantomData,
    }
}
