//! SHA-256 and HMAC-SHA-256 over several parts, and the key that lives as long as the process.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::secret_bytes::{SECRET_BYTES_LEN, SecretBytes};

/// HMAC-SHA-256 with its key already absorbed: cloning it costs less than keying again.
#[derive(Clone)]
pub(super) struct KeyedHmac(Hmac<Sha256>);

impl KeyedHmac {
    pub(super) fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    /// The MAC of the parts as if they were one string.
    pub(super) fn mac(&self, parts: &[&[u8]]) -> SecretBytes {
        SecretBytes::new(self.bytes(parts))
    }

    /// As [`Self::mac`], for who keeps the bytes safe.
    pub(super) fn bytes(&self, parts: &[&[u8]]) -> [u8; SECRET_BYTES_LEN] {
        let hmac = parts.iter().fold(self.0.clone(), |hmac, part| hmac.chain_update(part));
        hmac.finalize().into_bytes().into()
    }
}

/// HMAC-SHA-256 of the parts as if they were one string.
pub(super) fn hmac_sha256(key: &SecretBytes, parts: &[&[u8]]) -> SecretBytes {
    KeyedHmac::new(key.expose()).mac(parts)
}

/// SHA-256 of `bytes`.
pub(super) fn sha256(bytes: &[u8]) -> SecretBytes {
    SecretBytes::new(Sha256::digest(bytes).into())
}

/// A random key that is never stored or sent: its tags mean nothing outside this process.
#[derive(Clone)]
pub(super) struct ProcessKey(KeyedHmac);

impl ProcessKey {
    pub(super) fn random() -> Self {
        Self(KeyedHmac::new(SecretBytes::random().expose()))
    }

    /// A tag of the parts that also depends on where one ends and the next begins.
    pub(super) fn tag(&self, parts: &[&[u8]]) -> SecretBytes {
        let mut hmac = self.0.0.clone();
        for part in parts {
            hmac.update(&part.len().to_be_bytes());
            hmac.update(part);
        }
        SecretBytes::new(hmac.finalize().into_bytes().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_agrees_with_rfc_4231_test_case_2() {
        let mac = KeyedHmac::new(b"Jefe").mac(&[b"what do ya want ", b"for nothing?"]);
        assert_eq!(mac.expose()[..6], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60]);
        assert_eq!(mac.expose()[30..], [0x38, 0x43]);
    }

    #[test]
    fn a_tag_depends_on_the_key_and_on_where_parts_end() {
        let key = ProcessKey::random();
        assert_eq!(key.tag(&[b"ab", b"c"]), key.tag(&[b"ab", b"c"]));
        assert_ne!(key.tag(&[b"ab", b"c"]), key.tag(&[b"a", b"bc"]));
        assert_ne!(key.tag(&[b"ab", b"c"]), ProcessKey::random().tag(&[b"ab", b"c"]));
    }
}
