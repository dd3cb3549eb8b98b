//! Versions of the API: what a client asks for, and whether it may have it.

use super::refusal::{Kind, Refusal};
use std::fmt;
use std::str::FromStr;

/// The newest version that there is.
pub const NEWEST: (u32, u32) = (7, 2);
/// What an answer says to those who asked for no version.
pub const USUAL: ApiVersion = ApiVersion {
    number: (7, 1),
    preview: None,
};

/// A version as clients write it: `7.1`, `7.1-preview` or `7.1-preview.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiVersion {
    /// Major and minor.
    pub number: (u32, u32),
    /// The version of the resource, 0 where none is named; none for a released version.
    pub preview: Option<u32>,
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.number;
        match self.preview {
            None => write!(f, "{major}.{minor}"),
            Some(0) => write!(f, "{major}.{minor}-preview"),
            Some(resource) => write!(f, "{major}.{minor}-preview.{resource}"),
        }
    }
}

impl FromStr for ApiVersion {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || {
            let shown: String = text.chars().take(40).collect();
            Refusal::invalid(format!(
                "api-version: {shown:?} is not of the form 7.1 or 7.1-preview.1"
            ))
        };
        let (number, preview) = match text.trim().split_once('-') {
            None => (text.trim(), None),
            Some((number, preview)) => (number, Some(preview_of(preview).ok_or_else(refused)?)),
        };
        let number = parse_number(number).ok_or_else(refused)?;
        Ok(Self { number, preview })
    }
}

fn preview_of(text: &str) -> Option<u32> {
    const WORD: &str = "preview";
    let word = text.get(..WORD.len())?;
    if !word.eq_ignore_ascii_case(WORD) {
        return None;
    }
    match text.get(WORD.len()..)? {
        "" => Some(0),
        rest => rest.strip_prefix('.')?.parse().ok(),
    }
}

/// Two numbers with a dot; the second may be left out.
pub fn parse_number(text: &str) -> Option<(u32, u32)> {
    match text.split_once('.') {
        None => Some((text.parse().ok()?, 0)),
        Some((major, minor)) => Some((major.parse().ok()?, minor.parse().ok()?)),
    }
}

/// Whether a resource may be had in a version. `released` is the newest that is no preview, 0.0 when all are.
pub fn check(asked: ApiVersion, released: (u32, u32)) -> Result<(), Refusal> {
    if asked.number > NEWEST {
        let (major, minor) = NEWEST;
        return Err(Refusal::new(
            Kind::VersionOutOfRange,
            format!(
                "The requested REST API version of {asked} is out of range for this server. The latest REST API version this server supports is {major}.{minor}."
            ),
        ));
    }
    if asked.preview.is_none() && asked.number > released {
        return Err(Refusal::new(
            Kind::PreviewVersion,
            format!(
                "The requested version \"{asked}\" of the resource is under preview. The -preview flag must be supplied in the api-version for such requests. For example: \"{asked}-preview\""
            ),
        ));
    }
    Ok(())
}

/// The version that a media type names, as in `application/json;api-version=7.1`.
pub fn of_media_type(text: &str) -> Option<&str> {
    let parameters = text.split([';', ',']);
    parameters
        .filter_map(|parameter| parameter.trim().split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("api-version"))
        .map(|(_, value)| value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> ApiVersion {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_written_as_they_are_read() {
        for text in ["7.1", "7.1-preview", "5.1-preview.2"] {
            assert_eq!(version(text).to_string(), text);
        }
        assert_eq!(version("1").number, (1, 0));
        for wrong in [
            "",
            "x",
            "7.x",
            "7.1-beta",
            "7.1-preview1",
            "7.1-preview.x",
            "7.1-",
        ] {
            assert!(wrong.parse::<ApiVersion>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_released_needs_the_word_preview() {
        let kind = |text, released| check(version(text), released).map_err(|refusal| refusal.kind);
        assert_eq!(kind("7.1", (7, 1)), Ok(()));
        assert_eq!(kind("5.0", (7, 1)), Ok(()));
        assert_eq!(kind("7.2", (7, 1)), Err(Kind::PreviewVersion));
        assert_eq!(kind("7.2-preview.1", (7, 1)), Ok(()));
        assert_eq!(kind("1.0", (0, 0)), Err(Kind::PreviewVersion));
        assert_eq!(kind("8.0-preview", (7, 1)), Err(Kind::VersionOutOfRange));
    }

    #[test]
    fn media_types_name_versions() {
        let named = of_media_type("application/json; charset=utf-8; api-version=5.1-preview.1");
        assert_eq!(named, Some("5.1-preview.1"));
        assert_eq!(of_media_type("application/json"), None);
        assert_eq!(
            of_media_type("*/*;q=0.1,application/zip;API-Version=\"2.0\""),
            Some("2.0")
        );
    }
}
