//! The shared secret of a webhook.

use dayfly_wire::secret::SecretText;
use subtle::ConstantTimeEq;

/// A secret that calls of a hook must know.
pub struct WebhookSecret(SecretText);

impl WebhookSecret {
    /// Takes the text over; an empty one is none, or everybody would know it.
    pub fn new(text: SecretText) -> Option<Self> {
        (!text.is_empty()).then_some(Self(text))
    }

    /// Whether this is the secret. Compares in constant time; the length is not secret.
    pub fn is(&self, presented: &SecretText) -> bool {
        let (own, other) = (self.0.expose().as_bytes(), presented.expose().as_bytes());
        own.ct_eq(other).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_is_it_and_an_empty_one_is_none() {
        let secret = WebhookSecret::new("correct".into()).unwrap();
        assert!(secret.is(&"correct".into()));
        for wrong in ["", "correc", "correct ", "Correct"] {
            assert!(!secret.is(&wrong.into()), "{wrong:?}");
        }
        assert!(WebhookSecret::new("".into()).is_none());
    }
}
