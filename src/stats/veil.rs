//! What is shown of hashes of values. Those are quick, and their seed can be computed by who knows values and their
//! hashes; a MAC of them gives nothing away but which are the same.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A random key that is never stored or sent.
#[derive(Clone, Copy)]
pub struct Veil([u8; 32]);

impl fmt::Debug for Veil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Veil")
    }
}

impl Veil {
    /// Another one each time.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// What is shown in place of a hash.
    #[must_use]
    pub fn tag(&self, hash: u64) -> String {
        let hmac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        let mac = hmac.chain_update(hash.to_be_bytes()).finalize().into_bytes();
        mac.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_hashes_have_equal_tags_under_one_key_only() {
        let (one, other) = (Veil([1; 32]), Veil([2; 32]));
        assert_eq!(one.tag(7), one.tag(7));
        assert!(one.tag(7) != one.tag(8) && one.tag(7) != other.tag(7));
        assert_eq!(one.tag(7).len(), 16);
        assert_eq!(format!("{one:?}"), "Veil");
    }
}
