//! Reads the Secrets and ConfigMaps that a connection names, in the operator's namespace.

use super::Problem;
use crate::context::Context;
use crate::crd::conditions::Reason;
use crate::crd::connection::ProxySettings;
use crate::deadline::within;
use crate::names;
use dayfly_wire::proxy::Proxy;
use dayfly_wire::secret::SecretText;
use jiff::{Timestamp, civil, tz::TimeZone};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt};
use std::path::Path;

/// The operator's own namespace, and what lies beside the operator.
pub struct Own<'a> {
    /// The API server.
    pub kube: &'a Client,
    /// The namespace.
    pub namespace: &'a str,
    /// The operator's projected service-account token.
    pub federated_token_file: Option<&'a Path>,
}

impl<'a> Own<'a> {
    /// That of a running operator.
    pub fn of(context: &'a Context) -> Self {
        Self {
            kube: &context.kube,
            namespace: &context.args.namespace,
            federated_token_file: context.args.federated_token_file.as_deref(),
        }
    }
}

/// Keys of a Secret, of one version of it.
pub(super) struct Values<const KEYS: usize> {
    /// The version.
    pub(super) version: String,
    /// The values, trimmed.
    pub(super) values: [SecretText; KEYS],
    /// When what is in it ends, if its annotation says so.
    pub(super) expires: Option<Timestamp>,
}

/// The values of these keys, read at once: they are of one version of the Secret.
pub(super) async fn secret<const KEYS: usize>(
    own: &Own<'_>,
    name: &str,
    keys: [&str; KEYS],
) -> Result<Values<KEYS>, Problem> {
    let api: Api<Secret> = Api::namespaced(own.kube.clone(), own.namespace);
    let missing = |problem: String| (Reason::SecretNotFound, problem);
    let secret = match within(api.get_opt(name)).await {
        Ok(Some(secret)) => secret,
        Ok(None) => {
            return Err(missing(format!(
                "there is no Secret {name} in the operator's namespace"
            )));
        }
        Err(error) => return Err(missing(format!("failed to read Secret {name}: {error}"))),
    };
    let version = secret.resource_version().unwrap_or_default();
    let expires = secret.annotations().get(names::EXPIRES_AT);
    let expires = expires.and_then(|text| end(text));
    let mut data = secret.data.unwrap_or_default();
    let mut values = keys.map(|_| SecretText::new(String::new()));
    for (value, key) in values.iter_mut().zip(keys) {
        let bytes = data.remove(key);
        let bytes = bytes.ok_or_else(|| missing(format!("Secret {name} has no key {key}")))?;
        let text = String::from_utf8(bytes.0)
            .map_err(|_| missing(format!("key {key} of Secret {name} is not text")))?;
        *value = SecretText::new(text.trim().to_owned());
        if value.is_empty() {
            return Err(missing(format!("key {key} of Secret {name} is empty")));
        }
    }
    Ok(Values {
        version,
        values,
        expires,
    })
}

/// A date, or a date with its time.
fn end(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let day = || {
        text.parse::<civil::Date>()
            .ok()?
            .to_zoned(TimeZone::UTC)
            .ok()
    };
    text.parse()
        .ok()
        .or_else(|| day().map(|day| day.timestamp()))
}

/// The value of a key, and the version of the ConfigMap.
pub(super) async fn config_map(
    own: &Own<'_>,
    name: &str,
    key: &str,
) -> Result<(String, String), Problem> {
    let api: Api<ConfigMap> = Api::namespaced(own.kube.clone(), own.namespace);
    let missing = |problem: String| (Reason::CaBundleNotFound, problem);
    let map = match within(api.get_opt(name)).await {
        Ok(Some(map)) => map,
        Ok(None) => {
            return Err(missing(format!(
                "there is no ConfigMap {name} in the operator's namespace"
            )));
        }
        Err(error) => return Err(missing(format!("failed to read ConfigMap {name}: {error}"))),
    };
    let version = map.resource_version().unwrap_or_default();
    let pem = map.data.and_then(|mut data| data.remove(key));
    pem.map(|pem| (version, pem))
        .ok_or_else(|| missing(format!("ConfigMap {name} has no key {key}")))
}

/// The proxy with its credential, and the version of the Secret that it came from.
pub(super) async fn proxy(
    own: &Own<'_>,
    settings: &ProxySettings,
) -> Result<(Option<String>, Proxy), Problem> {
    let ProxySettings {
        http,
        https,
        no_proxy,
        secret_name,
    } = settings.clone();
    let mut proxy = Proxy {
        http,
        https,
        no_proxy,
        ..Proxy::default()
    };
    let Some(name) = secret_name else {
        return Ok((None, proxy));
    };
    let read = secret(own, &name, ["username", "password"]).await?;
    let [user, password] = read.values;
    proxy.user = Some(user.expose().to_owned());
    proxy.password = Some(password);
    Ok((Some(read.version), proxy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_day_or_a_moment() {
        let at = |text: &str| end(text).map(|end| end.to_string());
        assert_eq!(at("2027-01-31").as_deref(), Some("2027-01-31T00:00:00Z"));
        assert_eq!(
            at(" 2027-01-31T10:00:00+01:00 ").as_deref(),
            Some("2027-01-31T09:00:00Z")
        );
        assert_eq!(at("next year"), None);
    }
}
