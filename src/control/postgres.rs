//! Connections to Postgres for our own queries, beside the pools that serve clients: one for each
//! database, opened when it is first used, through tokio-postgres and deadpool.

use std::collections::HashMap;
use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::probe::ProbeError;
use crate::config::{Host, SecretText};
use crate::net::tls::connector::Connector;
use crate::net::tls::driver::{MakeTls, mode};

/// One connection for each database: our own queries must not compete with the clients'.
const CONNECTIONS: usize = 1;

/// What `pg_stat_activity` shows these connections by.
pub const APPLICATION_NAME: &str = "pooler health";

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
    /// The user's password.
    pub password: SecretText,
    /// Whether and how the connection is encrypted.
    pub tls: Connector,
}

/// The connections, by the name that clients call the database.
#[derive(Default)]
pub struct Connections(Mutex<HashMap<String, (Account, Pool)>>);

impl Connections {
    /// Runs `sql`, or an empty query if it is empty, and drops the connection if that fails; a query
    /// that takes too long is cancelled. The first use derives the SCRAM keys on the current thread: a few milliseconds.
    ///
    /// # Errors
    /// When Postgres cannot be reached, does not let us in, refuses the query or takes longer than
    /// `limit`.
    pub async fn run(
        &self,
        name: &str,
        account: &Account,
        sql: &str,
        limit: Duration,
    ) -> Result<(), ProbeError> {
        let pool = self.pool(name, account)?;
        let mut taken = None;
        let asked = timeout(limit, async {
            let connection = taken.insert(pool.get().await.map_err(without_pool)?);
            Ok(connection.batch_execute(sql).await?)
        });
        let outcome = asked.await.unwrap_or(Err(ProbeError::Timeout(limit)));
        if let (Err(error), Some(connection)) = (&outcome, taken) {
            if matches!(error, ProbeError::Timeout(_)) {
                // Postgres would go on with it: at each probe one more.
                let _ = timeout(
                    limit,
                    connection.cancel_token().cancel_query(MakeTls::new(&account.tls)),
                )
                .await;
            }
            drop(Object::take(connection));
        }
        outcome
    }

    /// Closes the connections to databases that `keep` does not want.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.0.lock().retain(|name, _| keep(name));
    }

    fn pool(&self, name: &str, account: &Account) -> Result<Pool, ProbeError> {
        let mut pools = self.0.lock();
        if let Some((known, pool)) = pools.get(name)
            && known == account
        {
            return Ok(pool.clone());
        }
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(account.config(), MakeTls::new(&account.tls), manager);
        let builder = Pool::builder(manager).max_size(CONNECTIONS).runtime(Runtime::Tokio1);
        let pool = builder.build().map_err(|_| ProbeError::Pool)?;
        pools.insert(name.to_owned(), (account.clone(), pool.clone()));
        Ok(pool)
    }
}

impl Account {
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
        config.password(self.password.expose()).application_name(APPLICATION_NAME);
        config
    }
}

fn without_pool(error: PoolError) -> ProbeError {
    match error {
        PoolError::Backend(error) => ProbeError::Query(error),
        PoolError::Timeout(_)
        | PoolError::Closed
        | PoolError::NoRuntimeSpecified
        | PoolError::PostCreateHook(_) => ProbeError::Pool,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, SslMode};
    use crate::net::tls::material::TlsMaterial;

    #[test]
    fn an_account_tells_no_password() {
        let tls = TlsMaterial::load(&Config::default().tls).unwrap();
        let account = Account {
            host: Host::Name("db".to_owned()),
            port: 5432,
            database: "shop".to_owned(),
            user: "app".to_owned(),
            password: SecretText::new("hunter2".to_owned()),
            tls: tls.connector(SslMode::Prefer),
        };
        assert!(!format!("{account:?}").contains("hunter2"));
        assert!(!format!("{:?}", account.config()).contains("hunter2"));
    }
}
