//! What secrets look like, for tests that search for them by content.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What every private RSA key of PKCS#8 holds: version 0, rsaEncryption, and the beginning of the key.
pub const PKCS8: [u8; 21] = [
    0x02, 0x01, 0x00, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01,
    0x05, 0x00, 0x04, 0x82, 0x04,
];
/// The same in base64, in the alignment that whole keys have.
pub const PKCS8_TEXT: &str = "IBADANBgkqhkiG9w0BAQEFAASC";

/// The first characters of every token of the pool service of that kind.
pub fn token_head(kind: &str) -> String {
    let head = format!("{{\"typ\":\"{kind}");
    let whole = head.len() / 3 * 3;
    URL_SAFE_NO_PAD.encode(&head[..whole])
}

/// Whether a text or its bytes hold a value.
pub fn holds(place: &[u8], value: &[u8]) -> bool {
    !value.is_empty() && place.windows(value.len()).any(|part| part == value)
}
