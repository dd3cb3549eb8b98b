//! Makes a connection's credential from its spec and its Secret.

use super::Problem;
use super::objects::{Own, secret};
use crate::crd::conditions::Reason;
use crate::crd::credentials::{Credentials, ServicePrincipal, WorkloadIdentity, token_url};
use dayfly_client::{Credential, FederatedToken, PrincipalCredential, PrincipalProof};
use dayfly_keys::certificate_key::CertificateKey;
use dayfly_wire::secret::SecretText;
use jiff::Timestamp;
use std::path::Path;
use uuid::Uuid;

/// A credential, and what is known of it.
pub(super) struct Made {
    /// The credential.
    pub(super) credential: Credential,
    /// The version of the Secret that it came from.
    pub(super) version: Option<String>,
    /// When it ends, if that is known.
    pub(super) expires: Option<Timestamp>,
}

/// Makes the credential.
pub(super) async fn make(own: &Own<'_>, credentials: &Credentials) -> Result<Made, Problem> {
    let Credentials {
        personal_access_token,
        service_principal,
        workload_identity,
    } = credentials;
    match (personal_access_token, service_principal, workload_identity) {
        (Some(token), None, None) => {
            let read = secret(own, &token.secret_name, [&token.key]).await?;
            let [value] = read.values;
            Ok(Made {
                credential: Credential::Pat(value),
                version: Some(read.version),
                expires: read.expires,
            })
        }
        (None, Some(principal), None) => principal_of(own, principal).await,
        (None, None, Some(identity)) => federated(identity, own.federated_token_file),
        _ => Err(invalid("spec.credentials must name exactly one credential")),
    }
}

async fn principal_of(own: &Own<'_>, principal: &ServicePrincipal) -> Result<Made, Problem> {
    let key = principal.certificate_key.as_ref();
    let Some(key) = key.or(principal.secret_key.as_ref()) else {
        return Err(invalid(
            "spec.credentials.servicePrincipal names neither secretKey nor certificateKey",
        ));
    };
    let read = secret(own, &principal.secret_name, [key]).await?;
    let [value] = read.values;
    let (proof, not_after) = if principal.certificate_key.is_some() {
        certificate(&value, key, &principal.secret_name)?
    } else {
        (PrincipalProof::Secret(value), None)
    };
    let url = token_url(&principal.authority_host, &principal.tenant_id);
    Ok(Made {
        credential: credential(url, &principal.client_id, proof)?,
        version: Some(read.version),
        expires: [not_after, read.expires].into_iter().flatten().min(),
    })
}

fn certificate(
    pem: &SecretText,
    key: &str,
    name: &str,
) -> Result<(PrincipalProof, Option<Timestamp>), Problem> {
    let read = CertificateKey::from_pem(pem)
        .map_err(|error| invalid(&format!("key {key} of Secret {name}: {error}")))?;
    let not_after = read.not_after();
    Ok((PrincipalProof::Certificate(Box::new(read)), Some(not_after)))
}

fn federated(identity: &WorkloadIdentity, file: Option<&Path>) -> Result<Made, Problem> {
    let Some(file) = file else {
        return Err(invalid(
            "workloadIdentity needs a projected service-account token: set workloadIdentity.enabled of the chart, or let the cluster's webhook set AZURE_FEDERATED_TOKEN_FILE",
        ));
    };
    let proof = PrincipalProof::Federated(FederatedToken {
        file: file.to_owned(),
        audience: identity.audience.clone(),
    });
    let url = token_url(&identity.authority_host, &identity.tenant_id);
    Ok(Made {
        credential: credential(url, &identity.client_id, proof)?,
        version: None,
        expires: None,
    })
}

fn credential(
    token_url: String,
    client_id: &str,
    proof: PrincipalProof,
) -> Result<Credential, Problem> {
    let client_id: Uuid = client_id
        .parse()
        .map_err(|_| invalid("clientId must be a GUID"))?;
    Ok(Credential::Principal(PrincipalCredential {
        token_url,
        client_id,
        proof,
    }))
}

fn invalid(message: &str) -> Problem {
    (Reason::InvalidConnection, message.to_owned())
}
