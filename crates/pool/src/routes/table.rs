//! The list of routes, for tests that must not forget one.

use axum::Router;
use std::collections::BTreeMap;

const METHODS: [&str; 7] = ["get", "head", "delete", "options", "patch", "post", "put"];

/// Every route as `METHOD /path`, sorted. A router tells its routes in its debugging text only.
pub(crate) fn of<S>(router: &Router<S>) -> Vec<String> {
    let text = format!("{router:?}");
    // What answers where nothing is has a router of its own, which counts its routes anew.
    let (text, _) = text.split_once("fallback_router").unwrap_or((&text, ""));
    let mut methods = BTreeMap::new();
    let mut paths = BTreeMap::new();
    for entry in text.split("RouteId(").skip(1) {
        let Some((id, rest)) = entry.split_once("): ") else {
            continue;
        };
        match rest.strip_prefix('"').and_then(|path| path.split_once('"')) {
            Some((path, _)) => drop(paths.insert(id, path)),
            None => drop(methods.insert(id, methods_of(rest))),
        }
    }
    let mut routes: Vec<String> = paths
        .iter()
        .flat_map(|(id, path)| {
            let methods = methods.get(id).into_iter().flatten();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    routes.sort();
    routes
}

fn methods_of(endpoint: &str) -> Vec<&'static str> {
    let answers = |method: &&&str| {
        let field = endpoint.split_once(&format!(" {method}: "));
        field.is_some_and(|(_, handler)| !handler.starts_with("None"))
    };
    METHODS.iter().filter(answers).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::{get, put};

    #[test]
    fn every_method_of_every_route_is_listed() {
        let inner = Router::<()>::new().route("/a/{b}", get(|| async {}).post(|| async {}));
        let router = Router::new().nest("/base", inner).route(
            "/c",
            put(|| async {}).layer(tower::layer::layer_fn(|inner| inner)),
        );
        assert_eq!(
            of(&router),
            ["GET /base/a/{b}", "POST /base/a/{b}", "PUT /c"]
        );
    }
}
