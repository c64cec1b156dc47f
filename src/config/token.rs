//! Tokens of the admin API: what each may do, and the hash it is kept as. To compare one with what a request shows
//! is left to the API.

use super::fault::Problem;
use super::kind::{Input, Kind, Literal, Word};

/// What the holder of a token may do. Each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Scrape `/metrics`.
    Metrics,
    /// See everything.
    View,
    /// Change what can be changed.
    Admin,
}

/// Which pages the admin API has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminPages {
    /// All.
    All,
    /// `/metrics`, and what tells programs whether this one lives: no names of clients, no statements.
    Metrics,
}

/// The SHA-256 of a token. Tokens are 256 random bits, so there is nothing to guess and nothing to slow down:
/// the hash may be read by anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub [u8; HASH_BYTES]);

const HASH_BYTES: usize = 32;

/// What a hash begins with in the configuration.
const HASH_PREFIX: &str = "sha256:";

impl std::fmt::Display for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HASH_PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Role {
    /// The word for it in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.word()
    }

    /// The words, the least role first.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::WORDS.iter().map(|(word, _)| *word)
    }

    /// The role of this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, role)| *role)
    }
}

impl Word for Role {
    const WORDS: &'static [(&'static str, Self)] =
        &[("metrics", Self::Metrics), ("view", Self::View), ("admin", Self::Admin)];
}

impl Word for AdminPages {
    const WORDS: &'static [(&'static str, Self)] =
        &[("all", Self::All), ("metrics", Self::Metrics)];
}

/// The hash of a token, as `pooler token` prints it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sha256Hash;

impl Kind for Sha256Hash {
    type Value = TokenHash;

    fn read(&self, input: Input<'_>) -> Result<TokenHash, Problem> {
        const EXPECTED: &str = "a hash of `pooler token`: sha256: and 64 hexadecimal digits";
        let given = input.filled(EXPECTED)?;
        // What does not look like a hash may be the token itself: it is not repeated.
        let wrong = || Problem::WrongType { expected: EXPECTED, found: super::fault::Found::Text };
        let digits = given.strip_prefix(HASH_PREFIX).ok_or_else(wrong)?;
        let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digits.len() != 2 * HASH_BYTES || !hexadecimal {
            return Err(wrong());
        }
        let mut hash = [0; HASH_BYTES];
        for (byte, at) in hash.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(TokenHash(hash))
    }

    fn show(&self, value: &TokenHash) -> Option<Literal> {
        Some(Literal::text(&value.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_and_roles_grow() {
        for (word, role) in Role::WORDS {
            assert_eq!((role.word(), Role::named(word)), (*word, Some(*role)));
        }
        for (word, pages) in AdminPages::WORDS {
            assert_eq!(pages.word(), *word);
        }
        assert!(Role::WORDS.is_sorted_by_key(|(_, role)| *role));
        assert_eq!(Role::named("root"), None);
    }

    #[test]
    fn a_hash_reads_back_and_what_is_none_is_not_repeated() {
        let hash = TokenHash(std::array::from_fn(|index| index as u8 * 7));
        assert_eq!(Sha256Hash.read(Input::Text(&hash.to_string())), Ok(hash));
        let short = "sha256:abcd";
        let signs = format!("sha256:{}", "+a".repeat(32));
        let letters = format!("sha256:{}", "é".repeat(32));
        for wrong in ["pooler_secret", short, &signs, &letters, &"a".repeat(64)] {
            let problem = Sha256Hash.read(Input::Text(wrong)).unwrap_err().to_string();
            assert!(!problem.contains(wrong), "{problem}");
        }
    }
}
