//! Paths: how they are compared.

use http::Uri;
use http::uri::PathAndQuery;

/// A URL whose path is folded, and the path as the client wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// With the path in lower case, without doubled and trailing slashes, and the query as it was.
    pub uri: Uri,
    /// The path as the client wrote it, without doubled and trailing slashes.
    pub original: String,
}

/// Folds the path to lower case, because some clients do that to the base URL, and drops doubled and trailing slashes.
pub fn fold(uri: &Uri) -> Folded {
    let original = tidy(uri.path());
    let folded = original.to_lowercase();
    let with_query = match uri.query() {
        Some(query) => format!("{folded}?{query}"),
        None => folded,
    };
    let mut parts = uri.clone().into_parts();
    if let Ok(path_and_query) = with_query.parse::<PathAndQuery>() {
        parts.path_and_query = Some(path_and_query);
    }
    Folded {
        uri: Uri::from_parts(parts).unwrap_or_else(|_| uri.clone()),
        original,
    }
}

fn tidy(path: &str) -> String {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    segments.fold(String::new(), |path, segment| path + "/" + segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_folded_and_its_query_is_not() {
        let uri: Uri = "//Default//_APIs/x/?Name=Value".parse().unwrap();
        let folded = fold(&uri);
        assert_eq!(folded.uri, "/default/_apis/x?Name=Value");
        assert_eq!(folded.original, "/Default/_APIs/x");
    }
}
