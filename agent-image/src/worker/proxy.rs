//! What steps, tasks and git are told of the proxy. Its password goes to none of their environments: a step that
//! needs it maps the secret variable `agent.proxypassword`. Pure.

use crate::control::Facts;
use crate::git_credential::Stored;
use dayfly_wire::proxy::Proxy;
use reqwest::Url;
use serde_json::json;

/// The variable with the password.
pub(crate) const PASSWORD: &str = "agent.proxypassword";

/// The variables that programs look for, in both spellings.
pub(crate) fn environment(proxy: Option<&Proxy>) -> Vec<(String, String)> {
    let Some(proxy) = proxy else {
        return Vec::new();
    };
    let no_proxy = Some(proxy.no_proxy_text()).filter(|text| !text.is_empty());
    [
        ("HTTP_PROXY", proxy.http.clone()),
        ("HTTPS_PROXY", proxy.https.clone()),
        ("NO_PROXY", no_proxy),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .flat_map(|(name, value)| {
        [
            (name.to_owned(), value.clone()),
            (name.to_lowercase(), value),
        ]
    })
    .collect()
}

/// The variables that tasks look for, but for the password.
pub(crate) fn variables(proxy: &Proxy) -> Vec<(&'static str, String)> {
    let url = proxy.https.clone().or_else(|| proxy.http.clone());
    let user = proxy.user.clone().unwrap_or_default();
    vec![
        ("agent.proxyurl", url.unwrap_or_default()),
        ("agent.proxyusername", user),
        ("agent.proxybypasslist", json!(proxy.no_proxy).to_string()),
    ]
}

/// Git's setting for a repository's URL. The user is in it, so that git asks for the password.
pub(crate) fn git_setting(proxy: &Proxy, repository: &str) -> Option<String> {
    let scheme = Url::parse(repository).ok()?.scheme().to_owned();
    let mut url = Url::parse(proxy.for_scheme(&scheme)?).ok()?;
    if let Some(user) = &proxy.user {
        url.set_username(user).ok()?;
    }
    Some(format!("http.proxy={url}"))
}

/// What git is told when it asks for the proxy's password.
pub(crate) fn git_credentials(facts: &Facts) -> Vec<Stored> {
    let Some(proxy) = &facts.proxy else {
        return Vec::new();
    };
    let (Some(user), Some(password)) = (&proxy.user, &proxy.password) else {
        return Vec::new();
    };
    let urls = [&proxy.http, &proxy.https].into_iter().flatten();
    urls.filter_map(|url| Stored::of_proxy(url, user, password))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy() -> Proxy {
        Proxy {
            http: None,
            https: Some("http://proxy.test:3128".to_owned()),
            no_proxy: vec![".svc".to_owned(), "10.0.0.0/8".to_owned()],
            user: Some("us er".to_owned()),
            password: Some("canary".into()),
        }
    }

    #[test]
    fn the_password_is_in_nothing_that_others_see() {
        let proxy = proxy();
        let setting = git_setting(&proxy, "https://s.test/_git/a").unwrap();
        assert_eq!(setting, "http.proxy=http://us%20er@proxy.test:3128/");
        let shown = format!(
            "{:?}{:?}{proxy:?}{setting}",
            environment(Some(&proxy)),
            variables(&proxy)
        );
        assert!(!shown.contains("canary"), "{shown}");
        assert!(
            shown.contains(r#"("https_proxy", "http://proxy.test:3128")"#),
            "{shown}"
        );
        assert!(
            shown.contains(r#"("NO_PROXY", ".svc,10.0.0.0/8")"#),
            "{shown}"
        );
    }

    #[test]
    fn a_scheme_without_a_proxy_is_reached_directly() {
        assert_eq!(git_setting(&proxy(), "http://s.test/_git/a"), None);
        assert!(
            !environment(Some(&proxy()))
                .iter()
                .any(|(name, _)| name == "HTTP_PROXY")
        );
        assert!(environment(None).is_empty());
    }
}
