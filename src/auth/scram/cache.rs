//! Keys that were derived before, so that a repeated login costs a few HMACs.

use std::num::NonZeroUsize;

use lru::LruCache;

use super::super::mac::ProcessKey;
use super::super::secret_bytes::SecretBytes;
use super::keys::{Derivation, ScramKeys};

/// Most derivations remembered at a time, the least recently used giving way: about 2 MB.
pub const DEFAULT_CAPACITY: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// Keys by password, salt and iteration count. One cache serves both directions: clients whose password we keep
/// in clear, and our logins to Postgres. No user is named, because the keys depend on none; a changed password
/// or salt is simply another entry. The caller locks, and must not hold the lock while deriving.
pub struct KeyCache {
    key: ProcessKey,
    /// By a tag of the inputs, so that the cache itself holds no password.
    entries: LruCache<SecretBytes, ScramKeys>,
}

impl KeyCache {
    /// An empty cache with its own random key.
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self { key: ProcessKey::random(), entries: LruCache::sparse(capacity) }
    }

    /// The result of an earlier run of an equal derivation.
    pub fn get(&mut self, derivation: &Derivation) -> Option<ScramKeys> {
        let tag = self.tag(derivation);
        self.entries.get(&tag).cloned()
    }

    /// Remembers what `derivation` came to. Wait until the login has succeeded: a stranger's passwords and a
    /// hostile server's salts would push the good ones out.
    pub fn insert(&mut self, derivation: &Derivation, keys: ScramKeys) {
        let tag = self.tag(derivation);
        self.entries.put(tag, keys);
    }

    fn tag(&self, derivation: &Derivation) -> SecretBytes {
        let params = derivation.params();
        self.key.tag(&[
            derivation.password().expose(),
            params.salt(),
            &params.iterations().to_be_bytes(),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::PlainText;
    use super::super::keys::ScramParams;
    use super::*;

    fn derivation(password: &str, salt: &str, iterations: u32) -> Derivation {
        let params = ScramParams::new(salt.as_bytes(), iterations).unwrap();
        Derivation::new(&PlainText::new(password.as_bytes()), &params)
    }

    #[test]
    fn an_equal_derivation_is_found_and_no_other() {
        let mut cache = KeyCache::new(DEFAULT_CAPACITY);
        let known = derivation("hunter2", "salt", 2);
        cache.insert(&known, known.run());
        assert_eq!(cache.get(&derivation("hunter2", "salt", 2)), Some(known.run()));
        for other in [
            derivation("hunter3", "salt", 2),
            derivation("hunter2", "tlas", 2),
            derivation("hunter2", "salt", 3),
            derivation("hunter2s", "alt", 2),
        ] {
            assert_eq!(cache.get(&other), None, "{other:?}");
        }
    }

    #[test]
    fn the_least_recently_used_gives_way() {
        let mut cache = KeyCache::new(NonZeroUsize::new(2).unwrap());
        let [one, two, three] = ["1", "2", "3"].map(|password| derivation(password, "salt", 1));
        cache.insert(&one, one.run());
        cache.insert(&two, two.run());
        assert!(cache.get(&one).is_some());
        cache.insert(&three, three.run());
        assert!(cache.get(&two).is_none());
        assert!(cache.get(&one).is_some() && cache.get(&three).is_some());
    }
}
