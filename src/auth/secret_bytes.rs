//! Thirty-two secret bytes (a key, a hash, a MAC): masked when printed, compared in constant time,
//! wiped when dropped.

use std::fmt;
use std::hash::{Hash, Hasher};

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Length in bytes of SHA-256's output, and so of every SCRAM key.
pub(super) const SECRET_BYTES_LEN: usize = 32;

/// A secret of 32 bytes. `==` takes the same time wherever two values differ.
#[derive(Clone)]
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

    /// Puts other bytes in place of these.
    pub(super) fn set(&mut self, bytes: [u8; SECRET_BYTES_LEN]) {
        self.0 = bytes;
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

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for SecretBytes {}

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

#[cfg(test)]
mod tests {
    use super::super::scram::{LoginKeys, ScramKeys};
    use super::*;

    /// Compiles only for types that wipe themselves.
    fn wiped<T: ZeroizeOnDrop>() -> usize {
        std::mem::size_of::<T>()
    }

    #[test]
    fn a_secret_is_wiped_when_it_is_dropped_and_so_is_what_holds_it() {
        assert_eq!(wiped::<SecretBytes>(), SECRET_BYTES_LEN);
        assert!(std::mem::needs_drop::<ScramKeys>() && std::mem::needs_drop::<LoginKeys>());
    }
}
