//! All pools: found by database and user, run by the configuration.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tracing::warn;

use super::compat::Compat;
use super::limits::Quota;
use super::shared::{Database, Plan, Pool, PoolKey, User};
use super::slots::{CheckAt, Limits};
use crate::auth::Secret;
use crate::auth::scram::{DEFAULT_CAPACITY, KeyCache};
use crate::config::{Config, Host, SecretText, ServerSettings};
use crate::net::address::ServerAddress;
use crate::net::keepalive::Keepalive;
use crate::net::tls::material::TlsMaterial;
use crate::server::cancel::Cancels;
use crate::server::login::{Credential, LoginContext, Target};
use crate::server::statement::StatementRegistry;

/// Every pool there is.
pub struct Pools {
    running: RwLock<Running>,
    pub(super) pools: RwLock<HashMap<PoolKey, Arc<Pool>>>,
    pub(super) databases: Mutex<HashMap<Box<str>, Arc<Database>>>,
    pub(super) users: Mutex<HashMap<Box<str>, Arc<User>>>,
    /// `max_client_conn`.
    pub clients: Arc<Quota>,
    /// Cancel requests to Postgres.
    pub cancels: Arc<Cancels>,
    /// What all logins to Postgres share.
    pub logins: Arc<LoginContext>,
    workers: usize,
}

/// What everything is run by.
#[derive(Clone, Debug)]
struct Running {
    config: Arc<Config>,
    tls: Arc<TlsMaterial>,
}

impl Pools {
    /// No pools yet, for this many workers.
    #[must_use]
    pub fn new(config: Arc<Config>, tls: Arc<TlsMaterial>, workers: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            clients: Quota::new(config.limits.max_client_conn),
            cancels: Arc::new(Cancels::new(
                config.limits.max_cancel_connections as usize,
                config.timeouts.cancel_wait_timeout,
            )),
            logins: Arc::new(LoginContext::new(KeyCache::new(DEFAULT_CAPACITY), cores)),
            running: RwLock::new(Running { config, tls }),
            pools: RwLock::default(),
            databases: Mutex::default(),
            users: Mutex::default(),
            workers,
        }
    }

    /// The configuration now.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.running.read().config)
    }

    /// The certificates and keys now.
    #[must_use]
    pub fn tls(&self) -> Arc<TlsMaterial> {
        Arc::clone(&self.running.read().tls)
    }

    fn running(&self) -> Running {
        self.running.read().clone()
    }

    /// How a client's pool is or would be run; `None`: there is no such database. Makes no pool:
    /// whoever is not let in leaves nothing behind.
    #[must_use]
    pub fn plan(&self, database: &str, login_user: &str) -> Option<(PoolKey, Plan)> {
        plan(&self.running(), database, login_user)
    }

    /// The pool that serves a client; `None`: there is no such database.
    #[must_use]
    pub fn pool(&self, database: &str, login_user: &str) -> Option<Arc<Pool>> {
        let (key, new) = plan(&self.running(), database, login_user)?;
        if let Some(pool) = self.pools.read().get(&key) {
            pool.set_used();
            pool.wake(new);
            return Some(Arc::clone(pool));
        }
        let mut pools = self.pools.write();
        // Read with the table locked: a reload changes it before it goes through the table.
        let running = self.running();
        let (key, plan) = plan(&running, database, login_user)?;
        let config = running.config;
        if let Some(pool) = pools.get(&key) {
            pool.set_used();
            return Some(Arc::clone(pool));
        }
        let limits = config.pool_limits(database, login_user)?;
        let database = self.database(&config, &key.database);
        let user = self.user(&config, &key.user);
        database.servers.set_limit(limits.max_db_connections);
        user.servers.set_limit(limits.max_user_connections);
        let workers = (self.workers, pools.len() % self.workers, Arc::clone(&self.logins));
        let pool = Pool::new(key.clone(), database, user, plan, workers);
        pools.insert(key, Arc::clone(&pool));
        Some(pool)
    }

    /// Every pool, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Pool>> {
        self.pools.read().values().cloned().collect()
    }

    /// Runs everything by another configuration. Gives the pools whose database is gone.
    pub fn reload(&self, config: Arc<Config>, tls: Arc<TlsMaterial>) -> Vec<Arc<Pool>> {
        let running = Running { config: Arc::clone(&config), tls };
        *self.running.write() = running.clone();
        self.clients.set_limit(config.limits.max_client_conn);
        let most_cancels = config.limits.max_cancel_connections as usize;
        self.cancels.set_bounds(most_cancels, config.timeouts.cancel_wait_timeout);
        let mut gone = Vec::new();
        for pool in self.all() {
            let PoolKey { database, user } = &pool.key;
            let planned = plan(&running, database, user);
            if planned.as_ref().is_some_and(|(key, _)| *key != pool.key) {
                warn!(%database, %user, "the database's servers are another user's now");
                pool.set_gone();
                continue;
            }
            let (Some((_, mut new)), Some(limits)) = (planned, config.pool_limits(database, user))
            else {
                warn!(%database, "the database is not configured any more");
                pool.set_gone();
                gone.push(pool);
                continue;
            };
            keep_learnt(&mut new, &pool);
            pool.database.servers.set_limit(limits.max_db_connections);
            pool.user.servers.set_limit(limits.max_user_connections);
            let clients = config.client_limits(database, user);
            pool.database.clients.set_limit(clients.max_db_client_connections);
            pool.set_plan(new);
            pool.rests.store(false, Ordering::Relaxed);
        }
        // By the name that clients log in with, which need not be that of a pool's user.
        for (name, user) in &*self.users.lock() {
            let limits = config.client_limits("", name);
            user.clients.set_limit(limits.max_user_client_connections);
        }
        gone
    }

    /// The user as whose client a login counts.
    #[must_use]
    pub fn login_user(&self, name: &str) -> Arc<User> {
        self.user(&self.config(), name)
    }

    fn database(&self, config: &Config, name: &str) -> Arc<Database> {
        let mut databases = self.databases.lock();
        Arc::clone(databases.entry(name.into()).or_insert_with(|| {
            let clients = config.client_limits(name, "").max_db_client_connections;
            Arc::new(Database {
                name: name.into(),
                registry: StatementRegistry::new(rand::random()),
                compat: Compat::default(),
                servers: Quota::new(u32::MAX),
                clients: Quota::new(clients),
                pools: Mutex::default(),
            })
        }))
    }

    fn user(&self, config: &Config, name: &str) -> Arc<User> {
        let mut users = self.users.lock();
        Arc::clone(users.entry(name.into()).or_insert_with(|| {
            let clients = config.client_limits("", name).max_user_client_connections;
            Arc::new(User {
                servers: Quota::new(u32::MAX),
                clients: Quota::new(clients),
                pools: Mutex::default(),
            })
        }))
    }
}

/// What a client's login taught us is not in the file.
pub(super) fn keep_learnt(plan: &mut Plan, pool: &Pool) {
    if matches!(plan.target.credential, Credential::None) {
        plan.target.credential = pool.plan().target.credential.clone();
    }
}

/// Keepalive settings for sockets, to clients and to servers.
#[must_use]
pub fn keepalive(server: &ServerSettings) -> Keepalive {
    Keepalive {
        enabled: server.tcp_keepalive,
        idle: server.tcp_keepidle.unwrap_or_default(),
        interval: server.tcp_keepintvl.unwrap_or_default(),
        count: server.tcp_keepcnt.unwrap_or_default(),
        user_timeout: server.tcp_user_timeout.unwrap_or_default(),
    }
}

/// The address a database is at.
#[must_use]
pub fn address(host: &Host, port: u16) -> ServerAddress {
    match host {
        Host::Name(name) => ServerAddress::Tcp { host: name.clone(), port },
        Host::Address(ip) => ServerAddress::Tcp { host: ip.to_string(), port },
        Host::Socket(folder) => ServerAddress::new(&folder.to_string_lossy(), port),
    }
}

/// Reads a configured secret; the configuration has been checked, so what cannot be read is none.
#[must_use]
pub fn secret(text: &SecretText) -> Option<Secret> {
    Secret::parse(text.expose()).ok()
}

fn plan(running: &Running, name: &str, login_user: &str) -> Option<(PoolKey, Plan)> {
    let Running { config, tls } = running;
    let database = config.database(name)?;
    let limits = config.pool_limits(name, login_user)?;
    let user = database.server_user(login_user);
    let password = if database.user.is_some() && database.password.is_some() {
        database.password.as_ref()
    } else {
        config.users.get(user).and_then(|u| u.password.as_ref())
    };
    let credential = match password.and_then(secret) {
        Some(Secret::Scram(_)) | None => Credential::None,
        Some(secret) => Credential::Secret(secret),
    };
    let plan = Plan {
        target: Target {
            address: address(&database.host, database.port),
            tls: tls.connector(config.tls.servers(database)),
            user: user.into(),
            database: database.server_database(name).into(),
            credential,
            keepalive: keepalive(&config.server),
            max_statements: config.pool.max_prepared_statements,
            startup: Vec::new(),
        },
        limits: Limits {
            size: limits.pool_size,
            min: limits.min_pool_size,
            reserve: limits.reserve_pool_size,
            reserve_after: (limits.reserve_pool_size > 0).then_some(limits.reserve_pool_timeout),
            concurrent_opens: limits.max_concurrent_connects,
            check: match limits.server_check_delay {
                Some(Duration::ZERO) => CheckAt::Use,
                Some(_) | None => CheckAt::Leisure,
            },
        },
        connect_timeout: limits.server_connect_timeout,
        lifetime: limits.server_lifetime,
        idle_timeout: limits.server_idle_timeout,
        check_delay: limits.server_check_delay,
        function_check: config.server.function_check,
        check_query: config.server.server_check_query.as_str().into(),
        rules: config.session_rules(name, login_user)?,
    };
    Some((PoolKey { database: name.into(), user: user.into() }, plan))
}

impl std::fmt::Debug for Pools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pools").field("pools", &self.pools.read().len()).finish_non_exhaustive()
    }
}
