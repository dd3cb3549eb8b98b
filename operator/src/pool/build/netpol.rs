//! The network policy of a pool's pods: out to DNS, the operator, the service and the public Internet; nothing in.

use super::Places;
use super::pod::owner;
use crate::crd::security::{Egress, NetworkPolicyMode};
use crate::names;
use crate::pool::validate::ValidPool;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::net::IpAddr;

/// Ranges that are nobody's on the public Internet: private, shared, link-local (metadata services), loopback.
const PRIVATE_V4: [&str; 6] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
];
const PRIVATE_V6: [&str; 3] = ["::1/128", "fc00::/7", "fe80::/10"];
/// The identity API's port.
const IDENTITY_PORT: i32 = 8443;

/// The policy, unless the pool's owner sees to it.
pub fn network_policy(
    pool: &ValidPool,
    places: &Places,
    service_url: Option<&str>,
) -> Option<NetworkPolicy> {
    if pool.security.network_policy.mode == NetworkPolicyMode::None {
        return None;
    }
    let mut egress = vec![dns(), operator(places)];
    egress.extend(literal_address(&places.identity_url));
    egress.extend(service_url.map(service));
    egress.push(public_internet());
    egress.extend(
        pool.security
            .network_policy
            .allow_egress
            .iter()
            .map(allowed),
    );
    Some(NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(format!("dayfly-{}", pool.name)),
            namespace: Some(pool.namespace.clone()),
            labels: Some(labels(&[
                (names::MANAGED_BY, names::DAYFLY),
                (names::POOL, &pool.name),
            ])),
            owner_references: Some(vec![owner(pool)]),
            ..ObjectMeta::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(&[
                (names::MANAGED_BY, names::DAYFLY),
                (names::POOL, &pool.name),
            ])),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            egress: Some(egress),
            ingress: None,
        }),
    })
}

fn dns() -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        ports: Some(vec![port("UDP", 53), port("TCP", 53)]),
        to: None,
    }
}

fn operator(places: &Places) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        ports: Some(vec![port("TCP", IDENTITY_PORT)]),
        to: Some(vec![namespace(&places.operator_namespace)]),
    }
}

/// A service inside the cluster is let through by its namespace, one at an address by the address; any other is
/// on the public Internet. A service's own port says nothing about its pods', so a namespace has all ports.
fn service(url: &str) -> NetworkPolicyEgressRule {
    if let Some(rule) = literal_address(url) {
        return rule;
    }
    let (host, port_number) = host_and_port(url);
    let mut parts = host.split('.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(inside), Some("svc")) => NetworkPolicyEgressRule {
            ports: None,
            to: Some(vec![namespace(inside)]),
        },
        _ => NetworkPolicyEgressRule {
            ports: Some(vec![port("TCP", port_number)]),
            to: Some(public()),
        },
    }
}

fn literal_address(url: &str) -> Option<NetworkPolicyEgressRule> {
    let (host, port_number) = host_and_port(url);
    let address: IpAddr = host.trim_matches(['[', ']']).parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    Some(NetworkPolicyEgressRule {
        ports: Some(vec![port("TCP", port_number)]),
        to: Some(vec![block(&format!("{address}/{bits}"), &[])]),
    })
}

fn host_and_port(url: &str) -> (&str, i32) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let authority = rest.split('/').next().unwrap_or_default();
    let default = if scheme == "http" { 80 } else { 443 };
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().unwrap_or(default)),
        _ => (authority, default),
    }
}

fn public_internet() -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        ports: Some(vec![port("TCP", 443)]),
        to: Some(public()),
    }
}

fn public() -> Vec<NetworkPolicyPeer> {
    vec![block("0.0.0.0/0", &PRIVATE_V4), block("::/0", &PRIVATE_V6)]
}

fn allowed(egress: &Egress) -> NetworkPolicyEgressRule {
    let ports: Vec<_> = egress
        .ports
        .iter()
        .map(|number| port("TCP", *number))
        .collect();
    NetworkPolicyEgressRule {
        ports: (!ports.is_empty()).then_some(ports),
        to: Some(vec![block(&egress.cidr, &[])]),
    }
}

fn block(cidr: &str, except: &[&str]) -> NetworkPolicyPeer {
    let except: Vec<String> = except.iter().map(|range| (*range).to_owned()).collect();
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: cidr.to_owned(),
            except: (!except.is_empty()).then_some(except),
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn namespace(name: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(selector(&[("kubernetes.io/metadata.name", name)])),
        ..NetworkPolicyPeer::default()
    }
}

fn port(protocol: &str, number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(number)),
        end_port: None,
    }
}

fn selector(pairs: &[(&str, &str)]) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels(pairs)),
        match_expressions: None,
    }
}

fn labels(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
