//! Secrets of users that no file knows, asked of Postgres itself (`auth_query`), through
//! tokio-postgres and deadpool, beside the pools that serve clients. What a secret proves is left to
//! `auth`, and who is asked for which user to the configuration.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod};
use lru::LruCache;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::auth::{Secret, SecretError};
use crate::config::{Host, SecretText};
use crate::net::tls::connector::Connector;
use crate::net::tls::driver::{MakeTls, mode};

/// How long an answer is believed: a burst of logins asks once, and a role that may not log in any
/// more is out soon. A secret that turns out wrong is asked for again at the next login.
const BELIEVED: Duration = Duration::from_secs(10);

/// Most answers kept, those of unknown users among them, the least recently used giving way.
const MOST_KNOWN: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// Connections for each asker: one would make a burst wait for each answer's way.
const CONNECTIONS: usize = 2;

/// An answer that takes longer has failed; the client waits for it.
const LIMIT: Duration = Duration::from_secs(5);

/// What `pg_stat_activity` shows these connections by.
pub const APPLICATION_NAME: &str = "pooler auth_query";

/// Who asks what of which Postgres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Where Postgres is.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// The database's name in Postgres (`auth_dbname`).
    pub database: String,
    /// `auth_user`.
    pub user: String,
    /// Its password; without one, Postgres must not ask.
    pub password: Option<SecretText>,
    /// Whether and how the connection is encrypted.
    pub tls: Connector,
    /// `auth_query`.
    pub sql: String,
}

/// Why there is no answer. The texts are for the log.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// No connection, or the query failed.
    #[error("auth_query: {}", in_postgres_words(.0))]
    Query(#[from] tokio_postgres::Error),
    /// No answer in time.
    #[error("auth_query: no answer within {} s", LIMIT.as_secs())]
    Timeout,
    /// The connection could not be made ready.
    #[error("auth_query: no connection")]
    Pool,
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
    pools: Mutex<HashMap<String, (Asker, Pool)>>,
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
        Arc::new(Self { runtime, pools: Mutex::default(), known })
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
        self.pools.lock().retain(|name, _| keep(name));
    }

    async fn ask(
        &self,
        database: &str,
        asker: &Asker,
        user: &str,
    ) -> Result<Option<Secret>, LookupError> {
        let connection = self.pool(database, asker)?.get().await.map_err(without_pool)?;
        let query = connection.prepare_cached(&asker.sql).await?;
        let Some(row) = connection.query_opt(&query, &[&user]).await? else { return Ok(None) };
        // As in PgBouncer: the user's name, and the secret behind it.
        let text: Option<String> = row.try_get(1)?;
        match text.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => Ok(Some(Secret::parse(text)?)),
        }
    }

    fn pool(&self, database: &str, asker: &Asker) -> Result<Pool, LookupError> {
        let mut pools = self.pools.lock();
        if let Some((known, pool)) = pools.get(database)
            && known == asker
        {
            return Ok(pool.clone());
        }
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(asker.config(), MakeTls::new(&asker.tls), manager);
        let builder = Pool::builder(manager).max_size(CONNECTIONS);
        let pool = builder.build().map_err(|_| LookupError::Pool)?;
        pools.insert(database.to_owned(), (asker.clone(), pool.clone()));
        Ok(pool)
    }
}

impl Asker {
    fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        match &self.host {
            Host::Name(name) => config.host(name),
            Host::Address(ip) => config.host(ip.to_string()),
            // The port names the file in it.
            Host::Socket(folder) => config.host_path(folder),
        };
        config.ssl_mode(mode(&self.tls, &self.host));
        config.port(self.port).dbname(&self.database).user(&self.user);
        config.application_name(APPLICATION_NAME).connect_timeout(LIMIT);
        if let Some(password) = &self.password {
            config.password(password.expose());
        }
        config
    }
}

fn without_pool(error: PoolError) -> LookupError {
    match error {
        PoolError::Backend(error) => LookupError::Query(error),
        PoolError::Timeout(_)
        | PoolError::Closed
        | PoolError::NoRuntimeSpecified
        | PoolError::PostCreateHook(_) => LookupError::Pool,
    }
}

/// `tokio_postgres::Error` says "db error" and keeps what Postgres said to itself.
fn in_postgres_words(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => {
            let cause = std::error::Error::source(error);
            cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
        }
    }
}

impl std::fmt::Debug for Lookups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookups").field("known", &self.known.lock().len()).finish_non_exhaustive()
    }
}
