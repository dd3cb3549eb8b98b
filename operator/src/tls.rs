//! The identity API's certificates: an authority of ten years in Secret `dayfly-tls`, and leaves that live in
//! memory only, made at start and before they end.

use crate::names;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use std::sync::{Arc, PoisonError, RwLock};
use zeroize::Zeroizing;

/// How long the authority lives.
const CA_LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// An authority that ends sooner is replaced at start; the pods of the old one are replaced with it.
const CA_RENEW: SignedDuration = SignedDuration::from_hours(365 * 24);
/// How long a leaf lives.
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How old a leaf gets.
pub const LEAF_RENEW: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Clocks of nodes may be behind.
const BACKDATED: SignedDuration = SignedDuration::from_hours(24);

/// The annotation with the end of the authority's certificate.
const NOT_AFTER: &str = "dayfly.dev/not-after";

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The API server refused.
    #[error("failed to read or write Secret dayfly-tls: {0}")]
    Kube(#[from] kube::Error),
    /// The Secret's content is not what was written.
    #[error("failed to read Secret dayfly-tls: {0}; delete it to have it made again")]
    Content(&'static str),
    /// A certificate could not be made.
    #[error("failed to make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS could not be set up.
    #[error("failed to set up TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

/// The authority.
pub struct Authority {
    key: Zeroizing<String>,
    /// Its certificate (PEM), which pods carry in their environment.
    pub certificate: String,
}

impl Authority {
    /// A new authority.
    ///
    /// # Errors
    /// The certificate cannot be made.
    pub fn generate(now: Timestamp) -> Result<Self, TlsError> {
        let key = KeyPair::generate()?;
        let mut params = authority_params()?;
        lives(&mut params, now, CA_LIFE);
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self {
            key: Zeroizing::new(key.serialize_pem()),
            certificate,
        })
    }

    /// A new leaf for these names and addresses.
    ///
    /// # Errors
    /// The certificate cannot be made.
    pub fn leaf(&self, subjects: &[String], now: Timestamp) -> Result<CertifiedKey, TlsError> {
        let issuer = Issuer::new(authority_params()?, KeyPair::from_pem(&self.key)?);
        let key = KeyPair::generate()?;
        // Addresses among the names become address entries.
        let mut params = CertificateParams::new(subjects.to_vec())?;
        lives(&mut params, now, LEAF_LIFE);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &issuer)?;
        let der = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|_| TlsError::Content("bad key"))?;
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der)?;
        Ok(CertifiedKey::new(vec![certificate.der().clone()], signer))
    }
}

fn authority_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Dayfly identity API");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// Whole days are enough, and need no other crate for dates.
fn lives(params: &mut CertificateParams, from: Timestamp, life: SignedDuration) {
    let day = |at: Timestamp| {
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(
            date.year().into(),
            date.month().unsigned_abs(),
            date.day().unsigned_abs(),
        )
    };
    params.not_before = day(from - BACKDATED);
    params.not_after = day(from + life);
}

/// Reads the authority; makes it when there is none or when it ends soon.
///
/// # Errors
/// The Secret cannot be read or written.
pub async fn load(client: &Client, namespace: &str, now: Timestamp) -> Result<Authority, TlsError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let existing = api.get_opt(names::TLS_SECRET).await?;
    if let Some(secret) = &existing
        && ends(secret).is_some_and(|end| end.duration_since(now) > CA_RENEW)
    {
        return read(secret);
    }
    let authority = Authority::generate(now)?;
    let version = existing.and_then(|secret| secret.metadata.resource_version);
    let secret = secret(&authority, version.clone(), now);
    let written = match version {
        Some(_) => {
            api.replace(names::TLS_SECRET, &PostParams::default(), &secret)
                .await
        }
        None => api.create(&PostParams::default(), &secret).await,
    };
    match written {
        Ok(_) => {
            tracing::info!(
                secret = names::TLS_SECRET,
                "made the identity API's certificate authority"
            );
            Ok(authority)
        }
        // Another process was faster.
        Err(kube::Error::Api(status)) if status.code == 409 => {
            read(&api.get(names::TLS_SECRET).await?)
        }
        Err(error) => Err(error.into()),
    }
}

fn secret(authority: &Authority, resource_version: Option<String>, now: Timestamp) -> Secret {
    let data = [
        ("ca.crt", authority.certificate.as_bytes()),
        ("ca.key", authority.key.as_bytes()),
    ]
    .map(|(name, bytes)| (name.to_owned(), ByteString(bytes.to_vec())));
    Secret {
        metadata: ObjectMeta {
            name: Some(names::TLS_SECRET.to_owned()),
            resource_version,
            labels: Some([(names::MANAGED_BY.to_owned(), names::DAYFLY.to_owned())].into()),
            annotations: Some([(NOT_AFTER.to_owned(), format!("{:.0}", now + CA_LIFE))].into()),
            ..ObjectMeta::default()
        },
        data: Some(data.into()),
        ..Secret::default()
    }
}

fn ends(secret: &Secret) -> Option<Timestamp> {
    secret
        .metadata
        .annotations
        .as_ref()?
        .get(NOT_AFTER)?
        .parse()
        .ok()
}

fn read(secret: &Secret) -> Result<Authority, TlsError> {
    let text = |name| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(name));
        bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok())
    };
    Ok(Authority {
        certificate: text("ca.crt").ok_or(TlsError::Content("it holds no ca.crt"))?,
        key: Zeroizing::new(text("ca.key").ok_or(TlsError::Content("it holds no ca.key"))?),
    })
}

/// The leaf in use.
#[derive(Debug)]
pub struct Leaf(RwLock<Arc<CertifiedKey>>);

impl Leaf {
    /// Begins with this one.
    pub fn new(leaf: CertifiedKey) -> Self {
        Self(RwLock::new(Arc::new(leaf)))
    }

    /// Goes on with that one.
    pub fn replace(&self, leaf: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(leaf);
    }
}

impl ResolvesServerCert for Leaf {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.0.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

/// The names and addresses of the identity API: the Service in all its forms, and the host of the URL.
pub fn subjects(service: &str, url: &str) -> Vec<String> {
    let mut subjects = vec![service.to_owned()];
    if service.ends_with(".svc") {
        subjects.push(format!("{service}.cluster.local"));
    }
    let host = url
        .split("://")
        .nth(1)
        .and_then(|rest| rest.split('/').next())
        .unwrap_or_default();
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    };
    let host = host.trim_matches(['[', ']']);
    if !host.is_empty() && subjects.iter().all(|subject| subject != host) {
        subjects.push(host.to_owned());
    }
    subjects
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_cover_the_service_and_the_url() {
        let service = "dayfly-operator.dayfly-system.svc";
        assert_eq!(
            subjects(service, "https://10.244.0.1:8443"),
            [
                service,
                "dayfly-operator.dayfly-system.svc.cluster.local",
                "10.244.0.1"
            ]
        );
        assert_eq!(
            subjects(service, "https://dayfly-operator.dayfly-system.svc:8443").len(),
            2
        );
    }

    #[test]
    fn a_leaf_is_accepted_by_who_trusts_the_authority() {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let now = Timestamp::from_second(1_795_000_000).unwrap();
        let authority = Authority::generate(now).unwrap();
        let leaf = authority
            .leaf(&subjects("a.b.svc", "https://10.0.0.1:8443"), now)
            .unwrap();
        let mut roots = rustls::RootCertStore::empty();
        use rustls::pki_types::pem::PemObject;
        let pem =
            rustls::pki_types::CertificateDer::from_pem_slice(authority.certificate.as_bytes())
                .unwrap();
        roots.add(pem).unwrap();
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .unwrap();
        use rustls::client::danger::ServerCertVerifier;
        for (name, accepted) in [("a.b.svc", true), ("10.0.0.1", true), ("other.svc", false)] {
            let name = rustls::pki_types::ServerName::try_from(name).unwrap();
            let at = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(
                1_795_000_100,
            ));
            let verdict = verifier.verify_server_cert(&leaf.cert[0], &[], &name, &[], at);
            assert_eq!(verdict.is_ok(), accepted, "{name:?}: {verdict:?}");
        }
    }
}
