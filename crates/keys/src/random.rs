//! Randomness from the operating system's generator.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// `N` random bytes.
///
/// # Panics
/// When the operating system has no randomness to give; nothing safe can be done then.
#[allow(clippy::expect_used)]
pub fn bytes<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    SystemRandom::new()
        .fill(bytes.as_mut_slice())
        .expect("the operating system gives randomness");
    bytes
}

/// Random lower-case base32 text of `length` characters, fit for a Kubernetes name.
pub fn base32_name(length: usize) -> String {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let random = bytes::<32>();
        let wanted = length - text.len();
        text.extend(
            random
                .iter()
                .take(wanted)
                .map(|byte| char::from(BASE32[usize::from(byte % 32)])),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_have_the_length_and_the_alphabet() {
        let name = super::base32_name(40);
        assert_eq!(name.len(), 40);
        assert!(name.bytes().all(|byte| super::BASE32.contains(&byte)));
        assert_ne!(name, super::base32_name(40));
    }
}
