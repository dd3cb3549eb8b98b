//! The agent's side of the identity API, for tests that play an agent or pretend to be one.

use crate::kubectl::{self, PortForward};
use crate::names::{OPERATOR, OPERATOR_NAMESPACE};
use crate::service::Service;
use crate::{Result, install_tls};
use anyhow::Context;
use dayfly_keys::agent_key::AgentKey;
use dayfly_wire::identity::{Claim, ClaimedIdentity, Refusal};
use dayfly_wire::secret::SecretText;
use dayfly_wire::token::{CLIENT_CREDENTIALS, JWT_BEARER, TokenAnswer};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use reqwest::{StatusCode, Url};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use uuid::Uuid;

/// The identity API, at the address, and under the certificates, that a pod was given.
pub struct IdentityApi {
    http: reqwest::Client,
    base: Url,
    _forward: PortForward,
}

/// What a claim was answered.
pub enum Answer {
    /// The identity.
    Granted(Box<ClaimedIdentity>),
    /// The status, and why.
    Refused(StatusCode, String),
}

impl IdentityApi {
    /// Reads from the pod's container `agent` where the API is and what its certificates end in.
    pub async fn of(pod: &Pod) -> Result<Self> {
        install_tls();
        let mut base: Url = environment(pod, "DAYFLY_OPERATOR_URL")?.parse()?;
        let authority = environment(pod, "DAYFLY_OPERATOR_CA")?;
        let host = base.host_str().context("no host")?.to_owned();
        let forward =
            PortForward::start(OPERATOR_NAMESPACE, &format!("svc/{OPERATOR}"), 8443).await?;
        base.set_port(Some(forward.port))
            .ok()
            .context("not a URL with a port")?;
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, forward.port));
        let http = reqwest::Client::builder()
            .tls_certs_only(reqwest::Certificate::from_pem_bundle(authority.as_bytes())?)
            .resolve(&host, local)
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self {
            http,
            base,
            _forward: forward,
        })
    }

    /// Claims an identity.
    pub async fn claim(&self, token: &SecretText, identity: &str, nonce: &str) -> Result<Answer> {
        let claim = Claim {
            identity: identity.to_owned(),
            nonce: nonce.to_owned(),
        };
        let request = self
            .http
            .post(self.base.join("/v1/claim")?)
            .bearer_auth(token.expose());
        let response = request.json(&claim).send().await?;
        let status = response.status();
        let text = response.text().await?;
        if status.is_success() {
            return Ok(Answer::Granted(Box::new(serde_json::from_str(&text)?)));
        }
        let refusal: Refusal = serde_json::from_str(&text)
            .with_context(|| format!("{status} without a refusal in it: {text}"))?;
        Ok(Answer::Refused(status, refusal.message))
    }

    /// Claims an identity; anything but the identity is a failure.
    pub async fn expect(
        &self,
        token: &SecretText,
        identity: &str,
        nonce: &str,
    ) -> Result<ClaimedIdentity> {
        match self.claim(token, identity, nonce).await? {
            Answer::Granted(claimed) => Ok(*claimed),
            Answer::Refused(status, why) => anyhow::bail!("the claim was refused, {status}: {why}"),
        }
    }
}

impl Answer {
    /// The refusal's status; a grant is a failure.
    pub fn refused(self) -> Result<StatusCode> {
        match self {
            Self::Refused(status, _) => Ok(status),
            Self::Granted(claimed) => anyhow::bail!("{} was granted", claimed.agent_name),
        }
    }
}

/// A nonce as an agent makes one.
pub fn nonce() -> String {
    Uuid::new_v4().simple().to_string()
}

/// A token like the one that the kubelet projects into the pod: bound to it, for an audience.
pub async fn pod_token(pod: &Pod, audience: &str) -> Result<SecretText> {
    let metadata = &pod.metadata;
    let part = |part: &Option<String>| part.clone().context("the pod has no name");
    let arguments = [
        "-n",
        &part(&metadata.namespace)?,
        "create",
        "token",
        "default",
        "--bound-object-kind=Pod",
        &format!("--bound-object-name={}", part(&metadata.name)?),
        &format!("--bound-object-uid={}", part(&metadata.uid)?),
        &format!("--audience={audience}"),
    ];
    let token = kubectl::run(&arguments).await?;
    Ok(SecretText::new(token.trim().to_owned()))
}

/// The token that the agent exchanges its assertion for.
pub async fn listen_token(service: &Service, claimed: &ClaimedIdentity) -> Result<SecretText> {
    let assertion = AgentKey::from_base64(&claimed.private_key)?.sign_assertion(
        claimed.client_id,
        &claimed.authorization_url,
        Uuid::new_v4(),
        Timestamp::now(),
    )?;
    let form = [
        ("grant_type", CLIENT_CREDENTIALS),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", assertion.expose()),
    ];
    let url = local_url(service, &claimed.token_url)?;
    let request = reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .build()?
        .post(url)
        .form(&form);
    let response = request.send().await?;
    let (status, text) = (response.status(), response.text().await?);
    anyhow::ensure!(status.is_success(), "no token: {status} {text}");
    Ok(serde_json::from_str::<TokenAnswer>(&text)?.access_token)
}

/// The same path at the port of this machine that leads to the service.
fn local_url(service: &Service, url: &str) -> Result<Url> {
    let mut local: Url = service.base_url.parse()?;
    local.set_path(url.parse::<Url>()?.path());
    Ok(local)
}

fn environment(pod: &Pod, name: &str) -> Result<String> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers
        .filter(|container| container.name == "agent")
        .flat_map(|container| container.env.iter().flatten())
        .find(|variable| variable.name == name)
        .and_then(|variable| variable.value.clone())
        .with_context(|| format!("container `agent` has no {name}"))
}
