//! How enumerations travel: written as camelCase text, read as text in any case or as the integer.

/// Declares an enumeration with its wire names and integers, and an `Other` value for what is not known yet.
macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal as $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
            /// A value that this version does not know; kept so that one new value does not break a document.
            Other,
        }
        impl $name {
            /// The text on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* Self::Other => "unknown" }
            }
            /// Reads the text in any case.
            pub fn from_text(text: &str) -> Self {
                $(if text.eq_ignore_ascii_case($text) { return Self::$variant; })*
                Self::Other
            }
            /// Reads the integer form.
            pub fn from_number(number: i64) -> Self {
                match number { $($number => Self::$variant,)* _ => Self::Other }
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                Ok(match $crate::enums::TextOrNumber::deserialize(d)? {
                    $crate::enums::TextOrNumber::Text(text) => Self::from_text(&text),
                    $crate::enums::TextOrNumber::Number(number) => Self::from_number(number),
                })
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }
    };
}
pub(crate) use wire_enum;

/// The two forms in which an enumeration value arrives.
#[derive(serde::Deserialize)]
#[serde(untagged)]
pub(crate) enum TextOrNumber {
    Text(String),
    Number(i64),
}
