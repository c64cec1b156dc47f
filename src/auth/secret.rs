//! What is stored for a user: a password in clear, an MD5 hash or a SCRAM secret; where it is stored is the
//! caller's business.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::mac::sha256;
use super::md5::Md5Secret;
use super::scram::{ParamsError, ScramSecret};

/// Longest password or secret in bytes. Postgres reads at most 65,535 bytes of authentication data from a
/// client (`PG_MAX_AUTH_TOKEN_LENGTH`, `src/backend/libpq/auth.c`), length word included: nothing longer could
/// ever be used.
pub const MAX_SECRET_LEN: usize = 65_531;

/// A user's secret, as Postgres would keep it in `pg_authid.rolpassword`, or the password in clear.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password itself.
    Plain(PlainText),
    /// `md5` and the MD5 of password and user name.
    Md5(Md5Secret),
    /// `SCRAM-SHA-256$…`: proves a password without containing it.
    Scram(Arc<ScramSecret>),
}

/// Which kind of [`Secret`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// [`Secret::Plain`]
    Plain,
    /// [`Secret::Md5`]
    Md5,
    /// [`Secret::Scram`]
    Scram,
}

/// Why a text cannot be a secret. Neither variant repeats any of it, so both may be shown to the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Postgres takes an empty password for none at all (`src/backend/commands/user.c`).
    #[error("the password is empty")]
    Empty,
    /// Longer than [`MAX_SECRET_LEN`].
    #[error("the secret is longer than {MAX_SECRET_LEN} bytes")]
    TooLong,
    /// A SCRAM secret with a salt or iteration count out of range.
    #[error("the SCRAM secret has {0}")]
    Scram(#[from] ParamsError),
}

impl Secret {
    /// Tells the kinds apart as Postgres does (`get_password_type`, `src/backend/libpq/crypt.c`): what has not
    /// exactly the form of a hash is a password in clear.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        match text.len() {
            0 => return Err(SecretError::Empty),
            1..=MAX_SECRET_LEN => {}
            _ => return Err(SecretError::TooLong),
        }
        if let Some(md5) = Md5Secret::parse(text) {
            return Ok(Self::Md5(md5));
        }
        if let Some(scram) = ScramSecret::parse(text)? {
            return Ok(Self::Scram(Arc::new(scram)));
        }
        Ok(Self::Plain(PlainText::new(text.as_bytes())))
    }

    /// Which kind this is.
    pub fn kind(&self) -> SecretKind {
        match self {
            Self::Plain(_) => SecretKind::Plain,
            Self::Md5(_) => SecretKind::Md5,
            Self::Scram(_) => SecretKind::Scram,
        }
    }

    /// The password, where we have it: the only secret that can answer every request of Postgres.
    pub fn as_plain(&self) -> Option<&PlainText> {
        match self {
            Self::Plain(password) => Some(password),
            Self::Md5(_) | Self::Scram(_) => None,
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret::{:?}(***)", self.kind())
    }
}

/// A password in clear, or an answer that is as good as one. Bytes, because a client's encoding is unknown
/// before it has logged in.
#[derive(Clone)]
pub struct PlainText(Arc<Zeroizing<Box<[u8]>>>);

impl PlainText {
    /// Takes the bytes without the terminating zero of a PasswordMessage.
    pub fn new(bytes: &[u8]) -> Self {
        Self(Arc::new(Zeroizing::new(bytes.into())))
    }

    /// The bytes, to be sent or hashed and never to be logged.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// No bytes at all: never a valid password.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Compares hashes, so that neither the first difference nor the length shows in the time it takes.
impl PartialEq for PlainText {
    fn eq(&self, other: &Self) -> bool {
        sha256(&self.0) == sha256(&other.0)
    }
}

impl Eq for PlainText {}

impl fmt::Debug for PlainText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainText(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POSTGRES_15_SCRAM: &str = "SCRAM-SHA-256$4096:AyABtT/r5glMazNRQTav2A==$/wl3z6l5sgnqBGRWKxjZvNl1sG6YGP81BXvkH8s8h84=:A5fYhxi/YeVS80FdgFpGDZ+ppbIkBdAmdmuuzM5WqtY=";

    fn kind(text: &str) -> SecretKind {
        Secret::parse(text).unwrap().kind()
    }

    #[test]
    fn kinds_are_told_apart_as_postgres_does() {
        assert_eq!(kind("md50d1e53368e9217b1a97044443b0ceeaf"), SecretKind::Md5);
        assert_eq!(kind(POSTGRES_15_SCRAM), SecretKind::Scram);
        assert_eq!(kind("hunter2"), SecretKind::Plain);
    }

    #[test]
    fn what_only_resembles_a_hash_is_a_password() {
        for text in [
            "md50D1E53368E9217B1A97044443B0CEEAF",
            "md50d1e53368e9217b1a97044443b0ceea",
            "md50d1e53368e9217b1a97044443b0ceeaf0",
            "md5",
            "SCRAM-SHA-256",
            "SCRAM-SHA-256$4096",
            "SCRAM-SHA-256$4096:AyABtT/r5glMazNRQTav2A==$short:short",
            "SCRAM-SHA-512$4096:AyABtT/r5glMazNRQTav2A==$x:y",
        ] {
            assert_eq!(kind(text), SecretKind::Plain, "{text}");
        }
        assert_eq!(kind(&POSTGRES_15_SCRAM[..POSTGRES_15_SCRAM.len() - 1]), SecretKind::Plain);
        assert_eq!(kind(&format!("{POSTGRES_15_SCRAM}:")), SecretKind::Plain);
    }

    #[test]
    fn an_unreasonable_iteration_count_is_an_error_and_not_a_password() {
        for count in ["0", "1000001", "99999999999999999999"] {
            let text = POSTGRES_15_SCRAM.replace("4096", count);
            assert_eq!(
                Secret::parse(&text),
                Err(SecretError::Scram(ParamsError::Iterations)),
                "{count}"
            );
        }
        assert_eq!(kind(&POSTGRES_15_SCRAM.replace("4096", "1000000")), SecretKind::Scram);
    }

    #[test]
    fn length_has_limits() {
        assert_eq!(Secret::parse(""), Err(SecretError::Empty));
        assert_eq!(kind(&"x".repeat(MAX_SECRET_LEN)), SecretKind::Plain);
        assert_eq!(Secret::parse(&"x".repeat(MAX_SECRET_LEN + 1)), Err(SecretError::TooLong));
    }

    #[test]
    fn printing_shows_no_secret() {
        let shown = |text| format!("{:?}", Secret::parse(text).unwrap());
        assert_eq!(shown("hunter2"), "Secret::Plain(***)");
        assert_eq!(shown("md50d1e53368e9217b1a97044443b0ceeaf"), "Secret::Md5(***)");
        assert_eq!(shown(POSTGRES_15_SCRAM), "Secret::Scram(***)");
        assert_eq!(format!("{:?}", PlainText::new(b"hunter2")), "PlainText(***)");
    }

    #[test]
    fn passwords_are_equal_only_when_every_byte_is() {
        assert_eq!(PlainText::new(b"hunter2"), PlainText::new(b"hunter2"));
        assert_ne!(PlainText::new(b"hunter2"), PlainText::new(b"hunter"));
        assert_ne!(PlainText::new(b"hunter2"), PlainText::new(b"hunter3"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_secret_or_an_error(text in ".*", tail in ".{0,40}") {
            let _ = Secret::parse(&text);
            let _ = Secret::parse(&format!("SCRAM-SHA-256${tail}"));
            let _ = Secret::parse(&format!("md5{tail}"));
        }
    }
}
