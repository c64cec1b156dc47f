//! Connections to Postgres for questions of our own, beside the pools that serve clients: through
//! tokio-postgres and deadpool, opened when they are first used. What is asked is left to those who ask.

use std::collections::HashMap;
use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use parking_lot::Mutex;

use crate::config::{Host, SecretText};
use crate::net::tls::connector::Connector;
use crate::net::tls::driver::{MakeTls, mode};

/// Where to log in, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Where Postgres is.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// The database's name in Postgres.
    pub database: String,
    /// The user.
    pub user: String,
    /// The user's password; without one, Postgres must not ask.
    pub password: Option<SecretText>,
    /// Whether and how the connection is encrypted.
    pub tls: Connector,
}

/// What connections are for.
#[derive(Clone, Copy, Debug)]
pub struct Purpose {
    /// What `pg_stat_activity` shows them by.
    pub application: &'static str,
    /// The most of them for each name.
    pub most: usize,
    /// How long connecting takes at most; `None`: whoever asks has a limit of its own.
    pub connect_timeout: Option<Duration>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Postgres cannot be reached, or does not let us in.
    #[error("{}", in_postgres_words(.0))]
    Postgres(tokio_postgres::Error),
    /// The connection could not be made ready.
    #[error("no connection")]
    Pool,
}

/// Connections for one purpose, by the name that clients call the database.
pub struct Connections {
    purpose: Purpose,
    pools: Mutex<HashMap<String, (Account, Pool)>>,
}

impl Connections {
    /// None yet.
    #[must_use]
    pub fn new(purpose: Purpose) -> Self {
        Self { purpose, pools: Mutex::default() }
    }

    /// A connection to the database called `name`. Those of another account by that name are closed.
    /// Cancel safe. The first use derives the SCRAM keys on the current thread: a few milliseconds.
    ///
    /// # Errors
    /// As [`AccountError`] says.
    pub async fn get(&self, name: &str, account: &Account) -> Result<Object, AccountError> {
        self.pool(name, account)?.get().await.map_err(|error| match error {
            PoolError::Backend(error) => AccountError::Postgres(error),
            PoolError::Timeout(_)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => AccountError::Pool,
        })
    }

    /// Closes the connections to databases that `keep` does not want.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.pools.lock().retain(|name, _| keep(name));
    }

    fn pool(&self, name: &str, account: &Account) -> Result<Pool, AccountError> {
        let mut pools = self.pools.lock();
        if let Some((known, pool)) = pools.get(name)
            && known == account
        {
            return Ok(pool.clone());
        }
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let config = account.config(&self.purpose);
        let manager = Manager::from_config(config, MakeTls::new(account.tls.config()), manager);
        let builder = Pool::builder(manager).max_size(self.purpose.most).runtime(Runtime::Tokio1);
        let pool = builder.build().map_err(|_| AccountError::Pool)?;
        pools.insert(name.to_owned(), (account.clone(), pool.clone()));
        Ok(pool)
    }
}

impl Account {
    fn config(&self, purpose: &Purpose) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        match &self.host {
            Host::Name(name) => config.host(name),
            Host::Address(ip) => config.host(ip.to_string()),
            // The port names the file in it.
            Host::Socket(folder) => config.host_path(folder),
        };
        let (mode, negotiation) = mode(&self.tls, &self.host);
        config.ssl_mode(mode).ssl_negotiation(negotiation);
        config.port(self.port).dbname(&self.database).user(&self.user);
        config.application_name(purpose.application);
        if let Some(limit) = purpose.connect_timeout {
            config.connect_timeout(limit);
        }
        if let Some(password) = &self.password {
            config.password(password.expose());
        }
        config
    }
}

/// `tokio_postgres::Error` says "db error" and keeps what Postgres said to itself.
pub fn in_postgres_words(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => {
            let cause = std::error::Error::source(error);
            cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ServerTls, SslMode};
    use crate::net::tls::material::TlsMaterial;

    #[test]
    fn an_account_tells_no_password() {
        let tls = TlsMaterial::load(&Config::default().tls).unwrap();
        let account = Account {
            host: Host::Name("db".to_owned()),
            port: 5432,
            database: "shop".to_owned(),
            user: "app".to_owned(),
            password: Some(SecretText::new("hunter2".to_owned())),
            tls: tls.connector(ServerTls::asking(SslMode::Prefer)),
        };
        let purpose = Purpose { application: "test", most: 1, connect_timeout: None };
        assert!(!format!("{account:?}").contains("hunter2"));
        assert!(!format!("{:?}", account.config(&purpose)).contains("hunter2"));
    }
}
