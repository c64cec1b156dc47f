//! Secrets of users that no file knows, asked of Postgres itself (`auth_query`), through
//! tokio-postgres and deadpool, beside the pools that serve clients. What a secret proves is left to
//! `auth`, and who is asked for which user to the configuration.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::account::{Account, AccountError, Connections, Purpose, in_postgres_words};
use crate::auth::{Secret, SecretError};

/// How long an answer is believed: a burst of logins asks once, and a role that may not log in any
/// more is out soon. A secret that turns out wrong is asked for again at the next login.
const BELIEVED: Duration = Duration::from_secs(10);

/// Most answers kept, those of unknown users among them, the least recently used giving way.
const MOST_KNOWN: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// An answer that takes longer has failed; the client waits for it.
const LIMIT: Duration = Duration::from_secs(5);

/// One connection would make a burst wait for each answer's way.
const LOOKUP: Purpose =
    Purpose { application: "pooler auth_query", most: 2, connect_timeout: Some(LIMIT) };

/// Who asks what of which Postgres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// `auth_user`, in `auth_dbname`.
    pub account: Account,
    /// `auth_query`.
    pub sql: String,
}

/// Why there is no answer. The texts are for the log.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// No connection.
    #[error("auth_query: {0}")]
    Account(#[from] AccountError),
    /// The query failed.
    #[error("auth_query: {}", in_postgres_words(.0))]
    Query(#[from] tokio_postgres::Error),
    /// No answer in time.
    #[error("auth_query: no answer within {} s", LIMIT.as_secs())]
    Timeout,
    /// Postgres gave what cannot be a secret.
    #[error("auth_query: {0}")]
    Secret(#[from] SecretError),
    /// The task that asked died.
    #[error("auth_query: the question was not asked to its end")]
    Task,
}

/// Answers, and the connections to ask for more.
pub struct Lookups {
    /// Where connections live and questions are asked: beside the workers.
    runtime: Handle,
    /// By the database's name in the configuration.
    connections: Connections,
    known: Mutex<LruCache<UserOf, Known>>,
}

/// A database, as clients call it, and a user.
type UserOf = (Box<str>, Box<str>);

struct Known {
    asker: Asker,
    secret: Option<Secret>,
    until: Instant,
}

impl Lookups {
    /// Nothing known; questions are asked on this runtime.
    #[must_use]
    pub fn new(runtime: Handle) -> Arc<Self> {
        let known = Mutex::new(LruCache::sparse(MOST_KNOWN));
        Arc::new(Self { runtime, connections: Connections::new(LOOKUP), known })
    }

    /// The secret of `user`, for clients of `database`; `None`: Postgres knows no such user, or no
    /// password of it. Cancel safe: the question is asked to its end, and the answer kept.
    ///
    /// # Errors
    /// As [`LookupError`] says.
    pub async fn secret(
        self: &Arc<Self>,
        database: &str,
        asker: Asker,
        user: &str,
    ) -> Result<Option<Secret>, LookupError> {
        let key: UserOf = (database.into(), user.into());
        if let Some(known) = self.known.lock().get(&key)
            && known.until > Instant::now()
            && known.asker == asker
        {
            return Ok(known.secret.clone());
        }
        let this = Arc::clone(self);
        let asking = self.runtime.spawn(async move {
            let answer = timeout(LIMIT, this.ask(&key.0, &asker, &key.1)).await;
            let secret = answer.unwrap_or(Err(LookupError::Timeout))?;
            let until = Instant::now() + BELIEVED;
            let known = Known { asker, secret: secret.clone(), until };
            this.known.lock().put(key, known);
            Ok(secret)
        });
        asking.await.unwrap_or(Err(LookupError::Task))
    }

    /// A login with what was known has failed: Postgres may know better by now.
    pub fn forget(&self, database: &str, user: &str) {
        self.known.lock().pop(&(database.into(), user.into()));
    }

    /// Closes the connections of databases that `keep` does not want.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.connections.retain(keep);
    }

    async fn ask(
        &self,
        database: &str,
        asker: &Asker,
        user: &str,
    ) -> Result<Option<Secret>, LookupError> {
        let connection = self.connections.get(database, &asker.account).await?;
        let query = connection.prepare_cached(&asker.sql).await?;
        let Some(row) = connection.query_opt(&query, &[&user]).await? else { return Ok(None) };
        // As in PgBouncer: the user's name, and the secret behind it.
        let text: Option<String> = row.try_get(1)?;
        match text.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => Ok(Some(Secret::parse(text)?)),
        }
    }
}

impl std::fmt::Debug for Lookups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookups").field("known", &self.known.lock().len()).finish_non_exhaustive()
    }
}
