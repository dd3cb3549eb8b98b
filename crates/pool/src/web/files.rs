//! The page's files, which are part of the program.

use super::base;
use crate::routes::App;
use crate::routes::extract::Segments;
use crate::routes::reply::{Problem, Reply};
use crate::rules::refusal::{Kind, Refusal};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::hash::{DefaultHasher, Hash, Hasher};

const PAGE: &str = include_str!("../../web/index.html");
/// Stands in the page for its own path.
const BASE: &str = "{{base}}";

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! files {
    ($($name:literal: $kind:expr,)*) => {
        &[$(($name, $kind, include_str!(concat!("../../web/", $name)))),*]
    };
}

const FILES: &[(&str, &str, &str)] = files! {
    "app.css": STYLE,
    "log.css": STYLE,
    "ansi.js": SCRIPT,
    "api.js": SCRIPT,
    "app.js": SCRIPT,
    "dom.js": SCRIPT,
    "format.js": SCRIPT,
    "keys.js": SCRIPT,
    "log-model.js": SCRIPT,
    "log-pane.js": SCRIPT,
    "log-view.js": SCRIPT,
    "parts.js": SCRIPT,
    "pools.js": SCRIPT,
    "queue.js": SCRIPT,
    "run.js": SCRIPT,
    "runs.js": SCRIPT,
    "sign-in.js": SCRIPT,
    "icon.svg": "image/svg+xml",
};

/// Nothing but our own files: no inline code, no other origin, no frame around the page. Trusted types make the browser
/// refuse every way of making markup out of text.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'self'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'",
);

/// The page, whatever view of it is asked for.
pub(super) async fn page(State(app): State<App>, headers: HeaderMap) -> Response {
    let text = PAGE.replace(BASE, &escaped(&base(&app)));
    guarded(&headers, "text/html; charset=utf-8", text)
}

/// One of its files.
pub(super) async fn file(Segments(name): Segments<String>, headers: HeaderMap) -> Reply {
    let found = FILES.iter().find(|(known, _, _)| *known == name);
    let (_, kind, text) = found.ok_or_else(|| {
        Problem::from(Refusal::new(
            Kind::NotFound,
            "the web page has no such file",
        ))
    })?;
    Ok(guarded(&headers, kind, (*text).to_owned()))
}

/// A file with what browsers are to watch for. It is asked for anew each time, so that a new version of the service has
/// a new page at once.
fn guarded(headers: &HeaderMap, kind: &'static str, text: String) -> Response {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let known = headers
        .get(IF_NONE_MATCH)
        .is_some_and(|asked| asked == tag.as_str());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        text.into_response()
    };
    let own = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (OPENER_POLICY, HeaderValue::from_static("same-origin")),
        (RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    for (name, value) in own {
        response.headers_mut().insert(name, value);
    }
    if let Ok(tag) = tag.parse() {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_no_code_or_style_of_its_own() {
        assert!(PAGE.contains(BASE));
        for inline in [
            "<style",
            "style=",
            "javascript:",
            "onclick",
            "onload",
            "<script>",
        ] {
            assert!(!PAGE.to_lowercase().contains(inline), "{inline}");
        }
        assert_eq!(PAGE.matches("<script").count(), 1);
        assert_eq!(escaped("/a\"<b>&"), "/a&quot;&lt;b&gt;&amp;");
    }

    #[test]
    fn no_file_makes_markup_out_of_text() {
        for (name, _, text) in FILES {
            for refused in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "http://",
                "https://",
            ] {
                let found = text.replace("http://www.w3.org/2000/svg", "");
                assert!(!found.contains(refused), "{name} has {refused}");
            }
        }
    }
}
