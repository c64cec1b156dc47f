//! MD5 password authentication, as a server towards clients and as a client towards Postgres.
//!
//! The scheme (`AuthenticationMD5Password` in the Postgres docs, "Message Flow"):
//! `"md5" + hex(md5(hex(md5(password + user)) + salt))`. It is weak, and here only because old clients and
//! servers ask for it; nothing here takes longer than a few hash blocks.

use md5::{Digest, Md5};

use super::mock::Decoy;
use super::secret_bytes::SecretBytes;
use super::{Authenticated, Method, PlainText, Refusal, Secret};

/// What an MD5 secret and an MD5 answer begin with.
const PREFIX: &str = "md5";

/// Length in bytes of the random salt in a challenge, fixed by the protocol.
pub const SALT_LEN: usize = 4;

/// The MD5 of password and user name, as `pg_authid` keeps it. Whoever has it can log in by MD5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Md5Secret {
    /// 32 lower-case hex digits: the scheme goes on with the digits, not with the bytes they stand for.
    hex: SecretBytes,
}

impl Md5Secret {
    /// `None` unless the text is `md5` and 32 lower-case hex digits (`get_password_type`,
    /// `src/backend/libpq/crypt.c`).
    pub fn parse(text: &str) -> Option<Self> {
        let hex: [u8; 32] = text.strip_prefix(PREFIX)?.as_bytes().try_into().ok()?;
        let is_hex = hex.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        is_hex.then_some(Self { hex: SecretBytes::new(hex) })
    }

    /// The secret Postgres would store for this user and password.
    pub fn from_password(user: &str, password: &PlainText) -> Self {
        Self { hex: md5_hex(&[password.expose(), user.as_bytes()]) }
    }

    /// Random and so unusable.
    pub(super) fn random() -> Self {
        Self { hex: md5_hex(&[SecretBytes::random().expose()]) }
    }

    /// The answer to a challenge, without a terminating zero.
    fn answer(&self, salt: [u8; SALT_LEN]) -> PlainText {
        let hex = md5_hex(&[self.hex.expose(), &salt]);
        PlainText::new(&[PREFIX.as_bytes(), hex.expose()].concat())
    }
}

/// A fresh salt for a challenge.
pub fn random_salt() -> [u8; SALT_LEN] {
    rand::random()
}

/// Checks a client's answer (without the terminating zero) to the challenge with `salt`. `None` for a user that
/// does not exist.
///
/// # Errors
/// The [`Refusal`]; a SCRAM secret cannot answer MD5 ([`Decoy::kind_of`] says beforehand when to offer SCRAM).
pub fn verify(
    user: &str,
    answer: &PlainText,
    salt: [u8; SALT_LEN],
    secret: Option<&Secret>,
    decoy: &Decoy,
) -> Result<Authenticated, Refusal> {
    if answer.is_empty() {
        return Err(Refusal::EmptyPassword);
    }
    let (known, refusal) = match secret.map(|secret| stored_hash(user, secret)) {
        Some(Some(known)) => (known, None),
        Some(None) => (decoy.md5_secret(), Some(Refusal::UnsuitableSecret)),
        None => (decoy.md5_secret(), Some(Refusal::UnknownUser)),
    };
    let matches = known.answer(salt) == *answer;
    match (refusal, matches) {
        (Some(refusal), _) => Err(refusal),
        (None, false) => Err(Refusal::WrongPassword),
        (None, true) => Ok(Authenticated::new(user, Method::Md5)),
    }
}

/// What we answer when Postgres sends us an MD5 challenge; `None` when the secret is a SCRAM one, from which no
/// answer can be made.
pub fn answer(user: &str, secret: &Secret, salt: [u8; SALT_LEN]) -> Option<PlainText> {
    stored_hash(user, secret).map(|hash| hash.answer(salt))
}

fn stored_hash(user: &str, secret: &Secret) -> Option<Md5Secret> {
    match secret {
        Secret::Plain(password) => Some(Md5Secret::from_password(user, password)),
        Secret::Md5(hash) => Some(hash.clone()),
        Secret::Scram(_) => None,
    }
}

fn md5_hex(parts: &[&[u8]]) -> SecretBytes {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hash = parts.iter().fold(Md5::new(), |md5, part| md5.chain_update(part)).finalize();
    let mut hex = [0; 32];
    for (digits, byte) in hex.chunks_exact_mut(2).zip(hash) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 0xf)];
    }
    SecretBytes::new(hex)
}

#[cfg(test)]
mod tests {
    use super::super::SecretKind;
    use super::*;
    use postgres_protocol::authentication::md5_hash;
    use proptest::prelude::*;

    /// From PostgreSQL 15: user `md5_user`, this password, its `rolpassword`, and an exchange it accepted.
    const PASSWORD: &str = "correct horse, battery=staple";
    const ROLPASSWORD: &str = "md50d1e53368e9217b1a97044443b0ceeaf";
    const SALT: [u8; SALT_LEN] = [0x2c, 0x65, 0x17, 0x73];
    const ANSWER: &[u8] = b"md566786cbbe7ab360de8ee8c2310a816b8";

    fn decoy() -> Decoy {
        Decoy::new(SecretKind::Md5)
    }

    fn plain(text: &str) -> Secret {
        Secret::Plain(PlainText::new(text.as_bytes()))
    }

    #[test]
    fn secret_and_answer_agree_with_postgres_15() {
        let stored = Md5Secret::from_password("md5_user", &PlainText::new(PASSWORD.as_bytes()));
        assert_eq!(Some(stored), Md5Secret::parse(ROLPASSWORD));
        for secret in [plain(PASSWORD), Secret::parse(ROLPASSWORD).unwrap()] {
            let answer = answer("md5_user", &secret, SALT).unwrap();
            assert_eq!(answer.expose(), ANSWER);
            let proven = verify("md5_user", &answer, SALT, Some(&secret), &decoy()).unwrap();
            assert_eq!((proven.user(), proven.method()), ("md5_user", Method::Md5));
        }
    }

    #[test]
    fn an_answer_to_another_challenge_or_of_another_length_is_refused() {
        let secret = Secret::parse(ROLPASSWORD).unwrap();
        let check = |answer: &[u8], salt| {
            verify("md5_user", &PlainText::new(answer), salt, Some(&secret), &decoy())
        };
        assert!(check(ANSWER, SALT).is_ok());
        assert_eq!(check(ANSWER, [0; 4]), Err(Refusal::WrongPassword));
        assert_eq!(check(&ANSWER[..34], SALT), Err(Refusal::WrongPassword));
        assert_eq!(check(&[ANSWER, b"0"].concat(), SALT), Err(Refusal::WrongPassword));
        assert_eq!(check(ROLPASSWORD.as_bytes(), SALT), Err(Refusal::WrongPassword));
        assert_eq!(check(b"", SALT), Err(Refusal::EmptyPassword));
    }

    #[test]
    fn unknown_users_and_scram_secrets_are_refused_whatever_the_answer() {
        let scram = Secret::Scram(decoy().scram_secret("md5_user").into());
        let check = |secret| verify("md5_user", &PlainText::new(ANSWER), SALT, secret, &decoy());
        assert_eq!(check(None), Err(Refusal::UnknownUser));
        assert_eq!(check(Some(&scram)), Err(Refusal::UnsuitableSecret));
        assert_eq!(answer("md5_user", &scram, SALT), None);
    }

    proptest! {
        #[test]
        fn any_password_passes_and_any_other_fails(
            user in ".{0,20}", password in ".{1,20}", other in ".{0,20}", salt: [u8; 4],
        ) {
            let secret = plain(&password);
            let check = |password: &str| {
                let answer = md5_hash(user.as_bytes(), password.as_bytes(), salt);
                verify(&user, &PlainText::new(answer.as_bytes()), salt, Some(&secret), &decoy())
            };
            prop_assert!(check(&password).is_ok());
            prop_assert_eq!(check(&other).is_ok(), other == password);
        }
    }
}
