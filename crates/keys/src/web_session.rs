//! Sessions of the pool service's web page: what the cookie holds, and what is stored of it.

use crate::encoding::to_hex;
use crate::random;
use dayfly_wire::secret::SecretText;
use sha2::{Digest, Sha256};

/// Characters of a cookie's value: 52 of base32 are 260 bits.
const LENGTH: usize = 52;
/// Sets these hashes apart from those of other tokens.
const PURPOSE: &[u8] = b"dayfly web session\0";

/// A new value.
pub fn generate() -> SecretText {
    SecretText::new(random::base32_name(LENGTH))
}

/// What is stored of a value: it is random, there is nothing to guess.
pub fn hash(value: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(PURPOSE);
    hasher.update(value.as_bytes());
    to_hex(&hasher.finalize())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_hash_of_a_session_is_not_that_of_an_access_token() {
        let value = super::generate();
        assert_ne!(
            super::hash(value.expose()),
            crate::pat::hash(value.expose())
        );
        assert_eq!(super::hash("a"), super::hash("a"));
    }
}
