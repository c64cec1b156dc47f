//! Checking a password that a client sent in clear against any kind of secret.
//!
//! Whether a connection is safe enough to ask for one is the caller's decision.

use std::sync::Arc;

use super::md5::Md5Secret;
use super::mock::Decoy;
use super::scram::{Derivation, ScramKeys, ScramSecret};
use super::{Authenticated, Method, PlainText, Refusal, Secret};

/// The result of [`begin`].
#[must_use]
pub enum Begin {
    /// Compared and decided.
    Decided(Result<Authenticated, Refusal>),
    /// A SCRAM secret: the client's password must be derived first.
    Derive(NeedsKeys),
}

/// A check that waits for the keys of the client's password.
///
/// Only the keys of an accepted password belong in a [`super::scram::KeyCache`]: wrong ones are a stranger's to
/// choose, and would push out the good ones.
#[must_use]
pub struct NeedsKeys {
    user: Box<str>,
    secret: Arc<ScramSecret>,
    derivation: Derivation,
    refusal: Option<Refusal>,
}

/// Checks the password of a client. `None` for a user that does not exist: the same is done for a stand-in
/// secret, then it is refused.
pub fn begin(user: &str, password: &PlainText, secret: Option<&Secret>, decoy: &Decoy) -> Begin {
    if password.is_empty() {
        return Begin::Decided(Err(Refusal::EmptyPassword));
    }
    let (secret, refusal) = match secret {
        Some(secret) => (secret.clone(), None),
        None => (decoy.secret(user), Some(Refusal::UnknownUser)),
    };
    let matches = match secret {
        Secret::Plain(known) => known == *password,
        Secret::Md5(known) => known == Md5Secret::from_password(user, password),
        Secret::Scram(secret) => {
            let derivation = Derivation::new(password, secret.params());
            return Begin::Derive(NeedsKeys { user: user.into(), secret, derivation, refusal });
        }
    };
    let proven = if matches { Ok(()) } else { Err(Refusal::WrongPassword) };
    Begin::Decided(conclude(user, refusal, proven))
}

impl NeedsKeys {
    /// What to derive.
    pub fn derivation(&self) -> &Derivation {
        &self.derivation
    }

    /// Decides by the keys of [`Self::derivation`].
    ///
    /// # Errors
    /// The [`Refusal`].
    pub fn with_keys(self, keys: &ScramKeys) -> Result<Authenticated, Refusal> {
        let proven = if self.secret.fits(keys) { Ok(()) } else { Err(Refusal::WrongPassword) };
        conclude(&self.user, self.refusal, proven)
    }
}

fn conclude(
    user: &str,
    stand_in: Option<Refusal>,
    proven: Result<(), Refusal>,
) -> Result<Authenticated, Refusal> {
    match stand_in {
        Some(refusal) => Err(refusal),
        None => proven.map(|()| Authenticated::new(user, Method::Plain)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::SecretKind;
    use super::*;
    use proptest::prelude::*;

    /// From PostgreSQL 15: two secrets of the same password, for the user `md5_user`.
    const PASSWORD: &str = "correct horse, battery=staple";
    const MD5: &str = "md50d1e53368e9217b1a97044443b0ceeaf";
    const SCRAM: &str = "SCRAM-SHA-256$4096:AyABtT/r5glMazNRQTav2A==$/wl3z6l5sgnqBGRWKxjZvNl1sG6YGP81BXvkH8s8h84=:A5fYhxi/YeVS80FdgFpGDZ+ppbIkBdAmdmuuzM5WqtY=";

    fn check(password: &str, secret: Option<&Secret>, kind: SecretKind) -> Result<(), Refusal> {
        let password = PlainText::new(password.as_bytes());
        let proven = match begin("md5_user", &password, secret, &Decoy::new(kind)) {
            Begin::Decided(decided) => decided,
            Begin::Derive(pending) => {
                let keys = pending.derivation().run();
                pending.with_keys(&keys)
            }
        };
        proven
            .map(|proven| assert_eq!((proven.user(), proven.method()), ("md5_user", Method::Plain)))
    }

    #[test]
    fn the_right_password_fits_every_kind_of_secret_and_a_wrong_one_none() {
        for text in [PASSWORD, MD5, SCRAM] {
            let secret = Secret::parse(text).unwrap();
            let check = |password| check(password, Some(&secret), SecretKind::Scram);
            assert_eq!(check(PASSWORD), Ok(()), "{secret:?}");
            assert_eq!(check("correct horse, battery"), Err(Refusal::WrongPassword), "{secret:?}");
            assert_eq!(check(""), Err(Refusal::EmptyPassword), "{secret:?}");
        }
    }

    #[test]
    fn a_stored_hash_is_not_a_password() {
        for text in [MD5, SCRAM] {
            let secret = Secret::parse(text).unwrap();
            assert_eq!(check(text, Some(&secret), SecretKind::Md5), Err(Refusal::WrongPassword));
        }
    }

    #[test]
    fn an_unknown_user_takes_the_steps_of_the_pretended_kind_and_is_refused() {
        for kind in [SecretKind::Plain, SecretKind::Md5, SecretKind::Scram] {
            assert_eq!(check(PASSWORD, None, kind), Err(Refusal::UnknownUser));
        }
        let password = PlainText::new(PASSWORD.as_bytes());
        let begun = begin("nobody", &password, None, &Decoy::new(SecretKind::Scram));
        assert!(matches!(begun, Begin::Derive(_)));
    }

    proptest! {
        #[test]
        fn only_the_same_bytes_are_the_same_password(one in "[a-c]{1,3}", two in "[a-c]{1,3}") {
            let secret = Secret::parse(&one).unwrap();
            let accepted = check(&two, Some(&secret), SecretKind::Plain).is_ok();
            prop_assert_eq!(accepted, one == two);
        }
    }
}
