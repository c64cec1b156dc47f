//! The keys of SCRAM (RFC 5802 section 3) and their derivation from a password: the one expensive step.

use std::borrow::Cow;
use std::fmt;

use super::super::PlainText;
use super::super::mac::{KeyedHmac, hmac_sha256, sha256};
use super::super::secret_bytes::SecretBytes;

/// Postgres' own default (`SCRAM_SHA_256_DEFAULT_ITERATIONS`, `src/include/common/scram-common.h`).
pub const DEFAULT_ITERATIONS: u32 = 4096;

/// Most iterations accepted, from the configuration and from a server alike. `scram_iterations` is often raised
/// to what OWASP asks for (600,000), which must work; a hostile server's worst is then half a second of
/// one thread per login, never minutes.
pub const MAX_ITERATIONS: u32 = 1_000_000;

/// Longest salt in bytes. Postgres makes 16; in base64 this still leaves half of a message for the rest.
pub const MAX_SALT_LEN: usize = 256;

/// Salt and iteration count: with the password they determine the keys.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramParams {
    salt: Box<[u8]>,
    iterations: u32,
}

/// Why salt and iteration count are not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// Not 1 to [`MAX_SALT_LEN`] bytes.
    #[error("a salt that is not 1 to {MAX_SALT_LEN} bytes long")]
    SaltLength,
    /// Not 1 to [`MAX_ITERATIONS`].
    #[error("an iteration count that is not 1 to {MAX_ITERATIONS}")]
    Iterations,
}

impl ScramParams {
    /// # Errors
    /// When either is out of its range.
    pub fn new(salt: &[u8], iterations: u32) -> Result<Self, ParamsError> {
        if !(1..=MAX_SALT_LEN).contains(&salt.len()) {
            return Err(ParamsError::SaltLength);
        }
        if !(1..=MAX_ITERATIONS).contains(&iterations) {
            return Err(ParamsError::Iterations);
        }
        Ok(Self { salt: salt.into(), iterations })
    }

    /// 1 to [`MAX_SALT_LEN`] bytes.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// 1 to [`MAX_ITERATIONS`].
    pub fn iterations(&self) -> u32 {
        self.iterations
    }
}

/// Salts are sent to anyone who asks, but a log full of them helps nobody.
impl fmt::Debug for ScramParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScramParams({} iterations)", self.iterations)
    }
}

/// ClientKey and ServerKey: with them one can log in, and recognise the server, without the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramKeys {
    pub(super) client_key: SecretBytes,
    pub(super) server_key: SecretBytes,
}

impl ScramKeys {
    /// What the server keeps in place of the ClientKey.
    pub(super) fn stored_key(&self) -> SecretBytes {
        sha256(self.client_key.expose())
    }
}

/// Keys learnt from a client's own login: good for a login to a Postgres that has the same secret, that is the
/// same salt and iteration count. The only way to log in for a user whose secret is a SCRAM one.
#[derive(Debug, Clone)]
pub struct LoginKeys {
    pub(super) params: ScramParams,
    pub(super) keys: ScramKeys,
}

/// A password to derive keys from, with salt and iteration count.
#[derive(Debug, Clone)]
pub struct Derivation {
    password: PlainText,
    params: ScramParams,
}

impl Derivation {
    /// Prepared, not run.
    pub fn new(password: &PlainText, params: &ScramParams) -> Self {
        Self { password: password.clone(), params: params.clone() }
    }

    /// Runs PBKDF2: about 0.4 ms for 4096 iterations with SHA instructions, 2 ms without, and proportionally
    /// more. Keep it off the threads that serve clients.
    pub fn run(&self) -> ScramKeys {
        let salted = KeyedHmac::new(salted_password(&self.password, &self.params).expose());
        ScramKeys {
            client_key: salted.mac(&[b"Client Key"]),
            server_key: salted.mac(&[b"Server Key"]),
        }
    }

    pub(super) fn password(&self) -> &PlainText {
        &self.password
    }

    pub(super) fn params(&self) -> &ScramParams {
        &self.params
    }
}

/// `Hi()` of RFC 5802: PBKDF2 with HMAC-SHA-256 and one block of output. The password is absorbed once; every
/// round goes on from a copy of that state.
fn salted_password(password: &PlainText, params: &ScramParams) -> SecretBytes {
    const FIRST_BLOCK: [u8; 4] = 1u32.to_be_bytes();
    let keyed = KeyedHmac::new(&prepared(password.expose()));
    let mut round = keyed.mac(&[params.salt(), &FIRST_BLOCK]);
    let mut sum = round.clone();
    for _ in 1..params.iterations() {
        // In place: to wipe each round by itself would take a tenth more time.
        round.set(keyed.bytes(&[round.expose()]));
        sum.xor_assign(&round);
    }
    sum
}

/// SASLprep where it applies, else the bytes as they are: what is not UTF-8, holds a prohibited character, or
/// would become empty is left alone (`pg_saslprep`, `src/common/saslprep.c`, and its callers).
fn prepared(password: &[u8]) -> Cow<'_, [u8]> {
    let Ok(text) = str::from_utf8(password) else { return Cow::Borrowed(password) };
    match stringprep::saslprep(text) {
        Ok(prepared) if !prepared.is_empty() => Cow::Owned(prepared.into_owned().into_bytes()),
        Ok(_) | Err(_) => Cow::Borrowed(password),
    }
}

/// `ClientSignature` or `ServerSignature`: the key's HMAC of the whole exchange so far.
pub(super) fn signature(key: &SecretBytes, exchange: &Exchange<'_>) -> SecretBytes {
    let Exchange { client_first_bare, server_first, client_final_without_proof } = exchange;
    hmac_sha256(key, &[client_first_bare, b",", server_first, b",", client_final_without_proof])
}

/// The parts of RFC 5802's `AuthMessage`, each exactly as it was sent.
pub(super) struct Exchange<'a> {
    pub(super) client_first_bare: &'a [u8],
    pub(super) server_first: &'a [u8],
    pub(super) client_final_without_proof: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::super::ScramSecret;
    use super::*;

    /// Secrets that PostgreSQL 15 made of passwords.
    const PLAIN_ASCII: (&[u8], &str) = (
        b"correct horse, battery=staple",
        "SCRAM-SHA-256$4096:AyABtT/r5glMazNRQTav2A==$/wl3z6l5sgnqBGRWKxjZvNl1sG6YGP81BXvkH8s8h84=:A5fYhxi/YeVS80FdgFpGDZ+ppbIkBdAmdmuuzM5WqtY=",
    );
    /// Soft hyphen, Roman numeral and ideographic space: SASLprep changes all three.
    const CHANGED_BY_SASLPREP: (&[u8], &str) = (
        "I\u{AD}X \u{2168} pa\u{DF}w\u{F6}rd\u{3000}".as_bytes(),
        "SCRAM-SHA-256$4096:EZiZE2j/5o+1R9TeAS2sNw==$tvdELw33tDevcWDoe9LriByEbz9eX9rtAwOViltNjHk=:Gpb6XuQDUq8FNJjU2vowPlI0/IkDpRNQsN7mmHsXHKQ=",
    );
    /// A control character and mixed directions: SASLprep refuses, the bytes count.
    const REFUSED_BY_SASLPREP: (&[u8], &str) = (
        "tab\there \u{627} x".as_bytes(),
        "SCRAM-SHA-256$4096:SWWgYZE5ARpZKTveKWouTw==$KRKcmJ7okuZYAN3j5VTDkecvhtd6+69Qj1+ZdxC79G0=:0XGlYs/Qrr2ar+C3l+6M6uJvShBKqqClEjizNUQwyPI=",
    );

    #[test]
    fn derives_the_keys_that_postgres_15_derived() {
        for (password, secret) in [PLAIN_ASCII, CHANGED_BY_SASLPREP, REFUSED_BY_SASLPREP] {
            let secret = ScramSecret::parse(secret).unwrap().unwrap();
            let derived = Derivation::new(&PlainText::new(password), secret.params()).run();
            assert_eq!(secret, ScramSecret::from_keys(secret.params().clone(), &derived));
        }
    }

    #[test]
    fn saslprep_applies_only_where_postgres_applies_it() {
        assert_eq!(*prepared(b"plain"), *b"plain");
        assert_eq!(*prepared("\u{2168}\u{AD}\u{A0}".as_bytes()), *b"IX ");
        assert_eq!(*prepared(b"\xff\xad"), *b"\xff\xad", "not UTF-8");
        assert_eq!(*prepared(b"a\x07"), *b"a\x07", "prohibited");
        assert_eq!(*prepared("\u{AD}".as_bytes()), *"\u{AD}".as_bytes(), "nothing would be left");
        assert_eq!(*prepared("\u{221}".as_bytes()), *"\u{221}".as_bytes(), "unassigned");
    }

    #[test]
    fn params_have_limits() {
        let longest = vec![7; MAX_SALT_LEN];
        assert!(ScramParams::new(&longest, MAX_ITERATIONS).is_ok());
        assert!(ScramParams::new(b"x", 1).is_ok());
        let error = |salt: &[u8], iterations| ScramParams::new(salt, iterations).unwrap_err();
        assert_eq!(error(b"", 1), ParamsError::SaltLength);
        assert_eq!(error(&vec![7; MAX_SALT_LEN + 1], 1), ParamsError::SaltLength);
        assert_eq!(error(b"x", 0), ParamsError::Iterations);
        assert_eq!(error(b"x", MAX_ITERATIONS + 1), ParamsError::Iterations);
    }

    #[test]
    fn printing_shows_no_key() {
        let params = ScramParams::new(b"salt", 1).unwrap();
        let derivation = Derivation::new(&PlainText::new(b"hunter2"), &params);
        assert_eq!(
            format!("{derivation:?} {:?}", derivation.run()),
            "Derivation { password: PlainText(***), params: ScramParams(1 iterations) } \
             ScramKeys { client_key: ***, server_key: *** }"
        );
    }
}
