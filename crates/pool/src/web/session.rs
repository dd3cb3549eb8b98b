//! Signing in to the page, and out of it.

use super::collection;
use crate::auth::COOKIE;
use crate::ops::web_sessions::SignedIn;
use crate::routes::App;
use crate::routes::extract::{Document, check_origin, cookie};
use crate::routes::reply::{Problem, Reply, document, done};
use crate::rules::access::Caller;
use crate::rules::web_session::{May, may};
use crate::service::Failure;
use crate::throttle::Source;
use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use dayfly_wire::date;
use dayfly_wire::secret::SecretText;
use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

/// A call that comes from our own page, and from which machine.
pub(super) struct FromOwnPage(Option<Source>);

impl FromRequestParts<App> for FromOwnPage {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        check_origin(parts, app)?;
        Ok(Self(parts.extensions.get::<Source>().copied()))
    }
}

#[derive(Deserialize)]
pub(super) struct Token {
    token: SecretText,
}

/// Who is signed in.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    name: String,
    may: May,
    expires: String,
    version: &'static str,
}

impl Session {
    fn of(signed: &SignedIn) -> Self {
        let name = match &signed.caller {
            Caller::Administrator { name, .. } => name.clone(),
            Caller::Listener(_) | Caller::Job(_) => String::new(),
        };
        Self {
            name,
            may: may(&signed.caller),
            expires: date::format(signed.session.expires_at),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// Who is signed in; an empty answer when nobody is.
pub(super) async fn show(State(app): State<App>, _: FromOwnPage, headers: HeaderMap) -> Reply {
    let signed = match cookie(&headers) {
        Some(value) => app.signed_in(&value).await?,
        None => None,
    };
    match signed {
        Some(signed) => Ok(unstored(document(&Session::of(&signed)))),
        // No refusal: a browser would write it to its console on each visit.
        None => Ok(done()),
    }
}

pub(super) async fn sign_in(
    State(app): State<App>,
    FromOwnPage(source): FromOwnPage,
    Document(asked): Document<Token>,
) -> Reply {
    let trimmed: SecretText = asked.token.expose().trim().into();
    let signed = app.sign_in(&trimmed).await;
    if let (Err(Failure::Refused(_)), Some(source)) = (&signed, source) {
        // Whoever tries tokens waits for each refusal.
        app.throttle
            .slow_down(source, app.now(), &app.metrics)
            .await;
    }
    let (value, signed) = signed.map_err(|failure| {
        if matches!(&failure, Failure::Refused(_)) {
            app.metrics.unauthorized.inc();
            tracing::info!(
                "somebody tried to sign in to the web page with a token that does not count"
            );
        }
        Problem::from(failure).without_dialog()
    })?;
    let life = signed.session.expires_at.duration_since(app.now());
    let header = set_cookie(&app, value.expose(), life.as_secs());
    Ok(with_cookie(
        unstored(document(&Session::of(&signed))),
        header,
    ))
}

pub(super) async fn sign_out(State(app): State<App>, _: FromOwnPage, headers: HeaderMap) -> Reply {
    if let Some(value) = cookie(&headers) {
        app.sign_out(&value).await?;
    }
    Ok(with_cookie(done(), set_cookie(&app, "", 0)))
}

/// The cookie: out of reach of scripts, sent by this page only, to this collection only.
fn set_cookie(app: &App, value: &str, seconds: i64) -> String {
    let path = collection(app);
    let secure = if app.settings.public_url.starts_with("https://") {
        "; Secure"
    } else {
        ""
    };
    format!("{COOKIE}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

fn with_cookie(mut response: Response, cookie: String) -> Response {
    let cookie = SecretText::new(cookie);
    if let Ok(mut header) = HeaderValue::from_str(cookie.expose()) {
        header.set_sensitive(true);
        response.headers_mut().insert(SET_COOKIE, header);
    }
    response
}

fn unstored(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
