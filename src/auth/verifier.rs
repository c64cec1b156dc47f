//! Passwords that Postgres has accepted lately, for `auth_type = passthrough`: remembered only well enough to
//! recognise them.
//!
//! A fast hash is enough here, unlike in a file or table. The verifiers and their random key exist in this
//! process's memory only and for minutes: whoever can read that memory reads the passwords themselves, which
//! pass through it in clear. A slow hash would add its cost to every login and protect nothing more.

use std::num::NonZeroUsize;
use std::time::Instant;

use lru::LruCache;

use super::mac::ProcessKey;
use super::secret_bytes::SecretBytes;
use super::{Authenticated, Method, PlainText};

/// Most accounts remembered at a time, the least recently used giving way: about 2 MB. Only accounts that
/// Postgres let in count, so a stranger cannot fill it.
pub const DEFAULT_CAPACITY: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// A user in a database: Postgres may let the same user into one and not into another (`pg_hba.conf`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Account<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The database's name, as the client asks for it.
    pub database: &'a str,
}

/// The result of [`VerifierCache::check`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Known {
    /// Postgres accepted this very password lately.
    Yes(Authenticated),
    /// Nothing is known: ask Postgres. A password that differs from the one remembered may be a new one.
    No,
}

/// Accounts whose password Postgres has accepted, until they expire. The caller locks.
pub struct VerifierCache {
    key: ProcessKey,
    entries: LruCache<Owned, Verifier>,
}

#[derive(PartialEq, Eq, Hash)]
struct Owned {
    user: Box<str>,
    database: Box<str>,
}

struct Verifier {
    tag: SecretBytes,
    expires: Instant,
}

impl VerifierCache {
    /// An empty cache with its own random key.
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self { key: ProcessKey::random(), entries: LruCache::sparse(capacity) }
    }

    /// Whether Postgres accepted this password for this account and the memory of it has not expired.
    pub fn check(&mut self, account: Account<'_>, password: &PlainText, now: Instant) -> Known {
        let tag = self.tag(account, password);
        let owned = Owned::from(account);
        let Some(verifier) = self.entries.get(&owned) else { return Known::No };
        if verifier.expires <= now {
            self.entries.pop(&owned);
            return Known::No;
        }
        if verifier.tag != tag {
            return Known::No;
        }
        Known::Yes(Authenticated::new(account.user, Method::Remembered))
    }

    /// Remembers, until `expires`, that Postgres accepted this password; an earlier one is forgotten.
    pub fn remember(&mut self, account: Account<'_>, password: &PlainText, expires: Instant) {
        let tag = self.tag(account, password);
        self.entries.put(account.into(), Verifier { tag, expires });
    }

    /// Forgets the user in every database: Postgres refused it, or its configuration changed.
    pub fn forget(&mut self, user: &str) {
        self.entries.retain(|owned, _| *owned.user != *user);
    }

    /// Forgets everybody: what Postgres said may be about another database from now on.
    pub fn forget_all(&mut self) {
        self.entries.clear();
    }

    /// How many accounts are remembered, expired ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The account is the salt: equal passwords of two accounts have different tags.
    fn tag(&self, account: Account<'_>, password: &PlainText) -> SecretBytes {
        self.key.tag(&[account.user.as_bytes(), account.database.as_bytes(), password.expose()])
    }
}

impl From<Account<'_>> for Owned {
    fn from(account: Account<'_>) -> Self {
        Self { user: account.user.into(), database: account.database.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const APP: Account<'_> = Account { user: "alice", database: "app" };
    const LOGS: Account<'_> = Account { user: "alice", database: "logs" };
    const BOB: Account<'_> = Account { user: "bob", database: "app" };
    const TTL: Duration = Duration::from_secs(60);

    fn password(text: &str) -> PlainText {
        PlainText::new(text.as_bytes())
    }

    fn knows(cache: &mut VerifierCache, account: Account<'_>, text: &str, now: Instant) -> bool {
        match cache.check(account, &password(text), now) {
            Known::Yes(proven) => {
                assert_eq!((proven.user(), proven.method()), (account.user, Method::Remembered));
                true
            }
            Known::No => false,
        }
    }

    fn cache_with_alice(now: Instant) -> VerifierCache {
        let mut cache = VerifierCache::new(NonZeroUsize::new(2).unwrap());
        cache.remember(APP, &password("hunter2"), now + TTL);
        cache
    }

    #[test]
    fn knows_only_the_same_password_of_the_same_user_in_the_same_database() {
        let now = Instant::now();
        let mut cache = cache_with_alice(now);
        assert!(knows(&mut cache, APP, "hunter2", now));
        assert!(!knows(&mut cache, APP, "hunter3", now));
        assert!(!knows(&mut cache, APP, "", now));
        assert!(!knows(&mut cache, LOGS, "hunter2", now));
        assert!(!knows(&mut cache, BOB, "hunter2", now));
    }

    #[test]
    fn forgets_at_the_moment_of_expiry() {
        let now = Instant::now();
        let mut cache = cache_with_alice(now);
        assert!(knows(&mut cache, APP, "hunter2", now + TTL - Duration::from_nanos(1)));
        assert!(!knows(&mut cache, APP, "hunter2", now + TTL));
        assert!(cache.is_empty(), "an expired verifier is dropped");
    }

    #[test]
    fn a_wrong_password_does_not_make_it_forget_the_right_one() {
        let now = Instant::now();
        let mut cache = cache_with_alice(now);
        assert!(!knows(&mut cache, APP, "hunter3", now));
        assert!(knows(&mut cache, APP, "hunter2", now));
    }

    #[test]
    fn a_new_password_replaces_the_old_one() {
        let now = Instant::now();
        let mut cache = cache_with_alice(now);
        cache.remember(APP, &password("hunter3"), now + TTL);
        assert!(!knows(&mut cache, APP, "hunter2", now));
        assert!(knows(&mut cache, APP, "hunter3", now));
    }

    #[test]
    fn forgetting_a_user_means_every_database_and_nobody_else() {
        let now = Instant::now();
        let mut cache = VerifierCache::new(DEFAULT_CAPACITY);
        for account in [APP, LOGS, BOB] {
            cache.remember(account, &password("hunter2"), now + TTL);
        }
        cache.forget("alice");
        assert_eq!(cache.len(), 1);
        assert!(knows(&mut cache, BOB, "hunter2", now));
    }

    #[test]
    fn the_least_recently_used_gives_way() {
        let now = Instant::now();
        let mut cache = cache_with_alice(now);
        cache.remember(LOGS, &password("hunter2"), now + TTL);
        assert!(knows(&mut cache, APP, "hunter2", now));
        cache.remember(BOB, &password("hunter2"), now + TTL);
        assert_eq!(cache.len(), 2);
        assert!(knows(&mut cache, APP, "hunter2", now));
        assert!(!knows(&mut cache, LOGS, "hunter2", now));
    }
}
