//! The proxy through which a service is reached.

use crate::secret::SecretText;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A proxy, or one for each scheme.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proxy {
    /// For `http://`: the proxy's URL, without user information.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// For `https://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    /// Hosts, domains and networks that are reached without it, as in `NO_PROXY`.
    #[serde(default)]
    pub no_proxy: Vec<String>,
    /// Whom the proxy knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What proves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretText>,
}

impl Proxy {
    /// The proxy for a URL's scheme.
    pub fn for_scheme(&self, scheme: &str) -> Option<&str> {
        match scheme {
            "http" => self.http.as_deref(),
            "https" => self.https.as_deref(),
            _ => None,
        }
    }

    /// What is reached without it, in the form of `NO_PROXY`.
    pub fn no_proxy_text(&self) -> String {
        self.no_proxy.join(",")
    }
}

impl Clone for Proxy {
    fn clone(&self) -> Self {
        Self {
            http: self.http.clone(),
            https: self.https.clone(),
            no_proxy: self.no_proxy.clone(),
            user: self.user.clone(),
            password: self.password.as_ref().map(SecretText::duplicate),
        }
    }
}

/// Without the password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("http", &self.http)
            .field("https", &self.https)
            .field("no_proxy", &self.no_proxy)
            .finish_non_exhaustive()
    }
}
