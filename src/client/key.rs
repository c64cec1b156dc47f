//! Cancel keys: what a client shows to have its query cancelled. Not stored anywhere: the secret is
//! a keyed hash of the client's number, so an idle client costs nothing and a lookup no table.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Secret bytes in protocol 3.0.
pub const SHORT_SECRET: usize = 4;
/// Secret bytes in protocol 3.2: as long as Postgres 18's.
pub const LONG_SECRET: usize = 32;

/// How much of its secret a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretLength {
    /// [`SHORT_SECRET`].
    Short,
    /// [`LONG_SECRET`].
    Long,
}

impl SecretLength {
    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Short => SHORT_SECRET,
            Self::Long => LONG_SECRET,
        }
    }
}

/// Makes and checks secrets; random for each process.
pub struct CancelKeys {
    key: [u8; 32],
}

/// Where a client is found: its worker, and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// The worker.
    pub worker: usize,
    /// The place in the worker's table.
    pub place: usize,
}

impl Default for CancelKeys {
    fn default() -> Self {
        Self { key: rand::random() }
    }
}

impl CancelKeys {
    /// The secret of the client with this number, in its long form; the short one is its start.
    #[must_use]
    pub fn secret(&self, client: u64) -> [u8; LONG_SECRET] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(&client.to_be_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Is this the secret of that client, all of the bytes that it was told? Takes the same time whatever is wrong
    /// with it.
    #[must_use]
    pub fn is_secret(&self, client: u64, length: SecretLength, shown: &[u8]) -> bool {
        self.secret(client)[..length.bytes()].ct_eq(shown).into()
    }
}

impl Whereabouts {
    /// The process id a client is told.
    #[must_use]
    pub fn to_pid(self, workers: usize) -> u32 {
        // At most max_client_conn places: far below the 31 bits a client expects.
        (self.place * workers + self.worker) as u32 + 1
    }

    /// Who was told this process id.
    #[must_use]
    pub fn from_pid(pid: u32, workers: usize) -> Option<Self> {
        let number = pid.checked_sub(1)? as usize;
        Some(Self { worker: number % workers, place: number / workers })
    }
}

impl std::fmt::Debug for CancelKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CancelKeys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_one_client_only() {
        let keys = CancelKeys::default();
        let secret = keys.secret(7);
        let (short, long) = (SecretLength::Short, SecretLength::Long);
        assert!(keys.is_secret(7, long, &secret));
        assert!(keys.is_secret(7, short, &secret[..SHORT_SECRET]));
        assert!(!keys.is_secret(8, long, &secret));
        assert!(!keys.is_secret(7, long, &secret[..SHORT_SECRET]), "the start is no key");
        assert!(!keys.is_secret(7, short, &secret));
        for length in [short, long] {
            assert!(!keys.is_secret(7, length, &secret[..5]));
            assert!(!keys.is_secret(7, length, &[]));
        }
    }

    #[test]
    fn a_pid_leads_back() {
        for place in [0, 1, 99_999] {
            for worker in 0..3 {
                let at = Whereabouts { worker, place };
                assert_eq!(Whereabouts::from_pid(at.to_pid(3), 3), Some(at));
            }
        }
        assert_eq!(Whereabouts::from_pid(0, 3), None);
    }
}
