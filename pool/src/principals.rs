//! Service principals, on the data directory: whoever can write there may make them.

use crate::args::PlaceArgs;
use crate::output::{self, Printed};
use crate::pat::{open, parse_life};
use anyhow::Context;
use clap::Subcommand;
use dayfly_pool_service::clock::{Clock, SystemClock};
use dayfly_pool_service::ops::principals;
use dayfly_pool_service::rules::principal::{Trust, credential_counts};
use dayfly_pool_service::store::Store;
use jiff::Timestamp;
use serde::Serialize;
use std::path::{Path, PathBuf};
use uuid::Uuid;

#[derive(Subcommand)]
pub(crate) enum PrincipalsCommand {
    /// Make a principal and print its client id. It needs a credential before it can do anything.
    Create {
        #[command(flatten)]
        data: Data,
        /// To recognise it by.
        #[arg(long)]
        name: String,
        /// What it reaches: agentpools, agentpools_manage, build, build_execute, code, code_write.
        #[arg(long)]
        scopes: String,
    },
    /// Give a principal a secret and print it; it is shown this once.
    AddSecret {
        #[command(flatten)]
        data: Data,
        /// The principal's name or client id.
        principal: String,
        /// How long it counts, for example 90d; for ever when absent.
        #[arg(long)]
        expires_in: Option<String>,
    },
    /// Let a principal sign its assertions with the private key of a certificate or public key, and print the
    /// credential's id.
    AddKey {
        #[command(flatten)]
        data: Data,
        /// The principal's name or client id.
        principal: String,
        /// A PEM file with an RSA certificate or an RSA public key.
        #[arg(long, value_name = "FILE")]
        public_key: PathBuf,
        /// How long it counts, for example 365d; for ever when absent.
        #[arg(long)]
        expires_in: Option<String>,
    },
    /// Let a principal prove itself with another issuer's token, such as that of a Kubernetes service account, and
    /// print the credential's id.
    Trust {
        #[command(flatten)]
        data: Data,
        /// The principal's name or client id.
        principal: String,
        /// The issuer's URL, as it stands in its tokens.
        #[arg(long, value_name = "https://ISSUER")]
        issuer: String,
        /// Whom the tokens must name.
        #[arg(long, value_name = "system:serviceaccount:NAMESPACE:NAME")]
        subject: String,
        /// Whom the tokens must be for.
        #[arg(long, default_value = "api://AzureADTokenExchange")]
        audience: String,
        /// Certificates (PEM) that the issuer's chain may end in, beside the system's.
        #[arg(long, value_name = "FILE")]
        ca_bundle: Option<PathBuf>,
        /// Take the issuer's keys without TLS: whoever is on the way then decides who the principal is.
        #[arg(long)]
        allow_http: bool,
    },
    /// List the principals with their credentials, without what those are.
    List {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        printed: Printed,
    },
    /// Remove a credential, by its id. Tokens that were got with it end.
    RemoveCredential {
        #[command(flatten)]
        data: Data,
        /// The credential's id, as `list` shows it.
        credential: Uuid,
    },
    /// Revoke a principal. Its tokens end.
    Revoke {
        #[command(flatten)]
        data: Data,
        /// The principal's name or client id.
        principal: String,
    },
}

/// Where the service keeps its data.
#[derive(clap::Args)]
pub(crate) struct Data {
    #[command(flatten)]
    place: PlaceArgs,
}

impl Data {
    pub(crate) async fn open(&self) -> anyhow::Result<Store> {
        open(&self.place.place()).await
    }
}

/// Does what the command line says.
pub(crate) async fn run(command: PrincipalsCommand) -> anyhow::Result<()> {
    let now = SystemClock.now();
    match command {
        PrincipalsCommand::Create { data, name, scopes } => {
            let scopes = scopes.parse()?;
            let store = data.open().await?;
            let made = principals::create(&store, &name, &scopes, now).await?;
            output::line(&made.id.to_string())
        }
        PrincipalsCommand::AddSecret {
            data,
            principal,
            expires_in,
        } => {
            let life = expires_in.as_deref().map(parse_life).transpose()?;
            let store = data.open().await?;
            let secret = principals::add_secret(&store, &principal, life, now).await?;
            output::line(secret.expose())
        }
        PrincipalsCommand::AddKey {
            data,
            principal,
            public_key,
            expires_in,
        } => {
            let life = expires_in.as_deref().map(parse_life).transpose()?;
            let pem = read(&public_key)?;
            let store = data.open().await?;
            let id = principals::add_key(&store, &principal, pem.as_bytes(), life, now).await?;
            output::line(&id.to_string())
        }
        PrincipalsCommand::Trust {
            data,
            principal,
            issuer,
            subject,
            audience,
            ca_bundle,
            allow_http,
        } => {
            let trust = Trust {
                issuer,
                subject,
                audience,
                ca_bundle: ca_bundle.as_deref().map(read).transpose()?,
                allow_http,
            };
            let store = data.open().await?;
            let id = principals::add_trust(&store, &principal, trust, now).await?;
            output::line(&id.to_string())
        }
        PrincipalsCommand::List { data, printed } => list(&data.open().await?, printed).await,
        PrincipalsCommand::RemoveCredential { data, credential } => {
            let removed = principals::remove_credential(&data.open().await?, credential).await?;
            anyhow::ensure!(removed, "there is no credential {credential}");
            Ok(())
        }
        PrincipalsCommand::Revoke { data, principal } => {
            principals::revoke(&data.open().await?, &principal, now).await?;
            output::remark("revoked");
            Ok(())
        }
    }
}

/// A principal or one of its credentials, without what that is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: String,
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<String>,
}

async fn list(store: &Store, printed: Printed) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let mut shown = Vec::new();
    for (principal, credentials) in principals::list(store).await? {
        let id = principal.id.to_string();
        shown.push(Shown {
            id: id.clone(),
            name: principal.name,
            state: principal.revoked_at.map_or("counts", |_| "revoked"),
            expires: None,
            scopes: Some(principal.scopes),
            principal: None,
        });
        shown.extend(credentials.into_iter().map(|credential| Shown {
            id: credential.id.to_string(),
            state: if credential_counts(&credential, now) {
                "counts"
            } else {
                "expired"
            },
            name: credential.proof.describe(),
            expires: credential.expires_at,
            scopes: None,
            principal: Some(id.clone()),
        }));
    }
    let header = ["ID", "NAME", "STATE", "EXPIRES", "SCOPES"];
    printed.list(&shown, &header, row)
}

fn row(shown: &Shown) -> Vec<String> {
    let of_credential = |text: &str| match &shown.principal {
        Some(_) => text.to_owned(),
        None => String::new(),
    };
    let expires = shown.expires.map(|end| format!("{end:.0}"));
    vec![
        shown.id.clone(),
        format!("{}{}", of_credential("- "), shown.name),
        shown.state.to_owned(),
        expires.unwrap_or_else(|| of_credential("never")),
        shown.scopes.clone().unwrap_or_default(),
    ]
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
}
