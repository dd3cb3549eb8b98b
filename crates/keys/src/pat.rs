//! Personal access tokens of the pool service.

use crate::encoding::to_hex;
use crate::random;
use dayfly_wire::secret::SecretText;
use sha2::{Digest, Sha256};

/// Characters of a token: 52 of base32 are 260 bits.
const LENGTH: usize = 52;

/// A new token.
pub fn generate() -> SecretText {
    SecretText::new(random::base32_name(LENGTH))
}

/// What is stored of a token. A plain hash is enough: the token is random, there is nothing to guess.
pub fn hash(token: &str) -> String {
    to_hex(&Sha256::digest(token.as_bytes()))
}
