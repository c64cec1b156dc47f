//! Thirty-two secret bytes (a key, a hash, a MAC): masked when printed, compared in constant time.

use std::fmt;
use std::hash::{Hash, Hasher};

use subtle::ConstantTimeEq;

/// Length in bytes of SHA-256's output, and so of every SCRAM key.
pub(super) const SECRET_BYTES_LEN: usize = 32;

/// A secret of 32 bytes. `==` takes the same time wherever two values differ.
#[derive(Clone, Copy)]
pub(super) struct SecretBytes([u8; SECRET_BYTES_LEN]);

impl SecretBytes {
    pub(super) const fn new(bytes: [u8; SECRET_BYTES_LEN]) -> Self {
        Self(bytes)
    }

    pub(super) fn random() -> Self {
        Self(rand::random())
    }

    pub(super) const fn expose(&self) -> &[u8; SECRET_BYTES_LEN] {
        &self.0
    }

    pub(super) fn xor(mut self, other: &Self) -> Self {
        self.xor_assign(other);
        self
    }

    pub(super) fn xor_assign(&mut self, other: &Self) {
        for (byte, with) in self.0.iter_mut().zip(other.0) {
            *byte ^= with;
        }
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretBytes {}

/// Only for values that an outsider cannot choose: a hash table's timing shows their hash.
impl Hash for SecretBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
