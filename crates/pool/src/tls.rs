//! The service's certificate, from files that may change while it runs.

use crate::stamp::Stamp;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("failed to read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("failed to use {path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("failed to set up TLS: {0}")]
    Setup(#[from] rustls::Error),
}

/// A certificate with its chain, and its key, as PEM files.
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Current>,
}

struct Current {
    stamps: [Stamp; 2],
    certified: Arc<CertifiedKey>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificates({})", self.certificate.display())
    }
}

impl Certificates {
    /// Reads the files.
    pub fn open(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: RwLock::new(read(certificate, key)?),
        }))
    }

    /// Takes the files up when they are others than before; answers whether they were. What cannot be used is not
    /// taken: the certificate may have been written, and its key not yet.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let stamps = stamps(&self.certificate, &self.key)?;
        let before = self.current.read().unwrap_or_else(PoisonError::into_inner);
        if stamps == before.stamps {
            return Ok(false);
        }
        drop(before);
        let read = read(&self.certificate, &self.key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(true)
    }

    /// TLS 1.2 and 1.3 with whatever certificate is current when a client comes.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Self>::clone(self));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current.certified))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn stamps(certificate: &Path, key: &Path) -> Result<[Stamp; 2], TlsError> {
    let of = |path: &Path| {
        Stamp::of(path).map_err(|source| TlsError::Read {
            path: path.to_owned(),
            source,
        })
    };
    Ok([of(certificate)?, of(key)?])
}

fn read(certificate: &Path, key: &Path) -> Result<Current, TlsError> {
    // The stamps come first: files that are exchanged in between are then read again, not missed.
    let stamps = stamps(certificate, key)?;
    let content = |path: &Path, reason: &dyn ToString| TlsError::Content {
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| content(certificate, &error))?;
    if chain.is_empty() {
        return Err(content(certificate, &"it holds no certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| content(key, &error))?;
    let certified = CertifiedKey::from_der(chain, private, &provider())
        .map_err(|error| content(key, &error))?;
    Ok(Current {
        stamps,
        certified: Arc::new(certified),
    })
}
