//! What holds for one database and one user, by PgBouncer's order of precedence. Pure look-ups; nothing is counted here.

use std::time::Duration;

use super::choices::{PinPolicy, PoolMode, ServerReset, Unreadable};
use super::settings::{Database, User};
use super::statements::StripComments;
use super::{Config, FALLBACK};

/// The limits of the pool that serves a database and a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// The most servers of the pool; `u32::MAX` is no limit.
    pub pool_size: u32,
    /// The servers to keep open; never more than `pool_size`.
    pub min_pool_size: u32,
    /// The servers beyond `pool_size` for clients that waited `reserve_pool_timeout`; 0 where that is 0.
    pub reserve_pool_size: u32,
    /// How long a client waits before the reserve serves it.
    pub reserve_pool_timeout: Duration,
    /// The most servers of the database, all its users together; `u32::MAX` is no limit.
    ///
    /// PgBouncer counts them for each configured database, whatever it is called in Postgres: two names
    /// for one `dbname` count apart, and each name that the fallback serves counts by itself.
    pub max_db_connections: u32,
    /// The most servers that log in as the pool's server user, all databases together; `u32::MAX` is no limit.
    pub max_user_connections: u32,
    /// The most servers of the pool that log in at once, at least 1.
    pub max_concurrent_connects: u32,
    /// How long a connect with its login may take.
    pub server_connect_timeout: Option<Duration>,
    /// The age at which a free server is closed; zero is after one use.
    pub server_lifetime: Option<Duration>,
    /// How long a server may be unused.
    pub server_idle_timeout: Option<Duration>,
    /// How long a server may be unused before its next use needs a check; zero is not at all.
    pub server_check_delay: Option<Duration>,
}

/// What clients may do to the session of a server, and what is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRules {
    /// When a server goes back to its pool.
    pub mode: PoolMode,
    /// May a client keep its server for state that no other server has?
    pub pin: PinPolicy,
    /// The most clients of a pool that do; `u32::MAX` is no limit.
    pub max_pinned: u32,
    /// May a text run whose effects cannot be read?
    pub unreadable: Unreadable,
    /// When a server gets `DISCARD ALL`.
    pub reset: ServerReset,
    /// Which comments are taken off statements.
    pub strip: StripComments,
}

/// How long a client may take; `None` is without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// Waiting for a server.
    pub query_wait: Option<Duration>,
    /// One query.
    pub query: Option<Duration>,
    /// Silence within a transaction.
    pub idle_transaction: Option<Duration>,
    /// One transaction.
    pub transaction: Option<Duration>,
    /// Silence outside a transaction.
    pub client_idle: Option<Duration>,
}

/// How many clients there may be; `u32::MAX` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// Clients of the database, counted as [`PoolLimits::max_db_connections`] says.
    pub max_db_client_connections: u32,
    /// Clients that log in as the user, all databases together.
    pub max_user_client_connections: u32,
}

impl Config {
    /// The entry that serves the database of this name: its own, or the fallback's.
    pub fn database(&self, name: &str) -> Option<&Database> {
        self.databases.get(name).or_else(|| self.databases.get(FALLBACK))
    }

    /// The limits of the pool for clients that log in as `login_user`; `None` if nothing serves the database.
    ///
    /// Sizes look up the server's user, which the database may force, and then user before database before
    /// `[pool]`.
    pub fn pool_limits(&self, database: &str, login_user: &str) -> Option<PoolLimits> {
        let database = self.database(database)?;
        let user = self.users.get(database.server_user(login_user));
        let (pool, server) = (&self.pool, &self.server);
        let pool_size = of(user, |user| user.pool_size)
            .or(database.pool_size)
            .unwrap_or(pool.default_pool_size);
        let reserve = of(user, |user| user.reserve_pool_size)
            .or(database.reserve_pool_size)
            .unwrap_or(pool.reserve_pool_size);
        Some(PoolLimits {
            pool_size,
            min_pool_size: database.min_pool_size.unwrap_or(pool.min_pool_size).min(pool_size),
            reserve_pool_size: if pool.reserve_pool_timeout.is_zero() { 0 } else { reserve },
            reserve_pool_timeout: pool.reserve_pool_timeout,
            max_db_connections: database.max_db_connections.unwrap_or(pool.max_db_connections),
            max_user_connections: of(user, |user| user.max_user_connections)
                .unwrap_or(pool.max_user_connections),
            max_concurrent_connects: pool.max_concurrent_connects,
            server_connect_timeout: server.server_connect_timeout,
            server_lifetime: database.server_lifetime.unwrap_or(server.server_lifetime),
            server_idle_timeout: server.server_idle_timeout,
            server_check_delay: server.server_check_delay,
        })
    }

    /// The rules for sessions of the pool for clients that log in as `login_user`; the mode looks up the server's
    /// user first.
    pub fn session_rules(&self, database: &str, login_user: &str) -> Option<SessionRules> {
        let database = self.database(database)?;
        let user = self.users.get(database.server_user(login_user));
        Some(SessionRules {
            mode: of(user, |user| user.pool_mode)
                .or(database.pool_mode)
                .unwrap_or(self.pool.pool_mode),
            pin: database.pin.unwrap_or(self.pool.pin),
            max_pinned: database.max_pinned.unwrap_or(self.pool.max_pinned),
            unreadable: database.unreadable.unwrap_or(self.pool.unreadable),
            reset: self.pool.server_reset,
            strip: database.strip_comments.unwrap_or(self.pool.strip_comments),
        })
    }

    /// The timeouts of a client. Those of waiting and idling look up the login user, the others the server's.
    pub fn client_timeouts(&self, database: &str, login_user: &str) -> ClientTimeouts {
        let database = self.database(database);
        let login = self.users.get(login_user);
        let server_user = database.map_or(login_user, |database| database.server_user(login_user));
        let server = self.users.get(server_user);
        let global = &self.timeouts;
        ClientTimeouts {
            query_wait: of(login, |user| user.query_wait_timeout)
                .or(database.and_then(|database| database.query_wait_timeout))
                .unwrap_or(global.query_wait_timeout),
            query: of(server, |user| user.query_timeout).unwrap_or(global.query_timeout),
            idle_transaction: of(server, |user| user.idle_transaction_timeout)
                .unwrap_or(global.idle_transaction_timeout),
            transaction: of(server, |user| user.transaction_timeout)
                .unwrap_or(global.transaction_timeout),
            client_idle: of(login, |user| user.client_idle_timeout)
                .unwrap_or(global.client_idle_timeout),
        }
    }

    /// The limits on clients of this database that log in as this user.
    pub fn client_limits(&self, database: &str, login_user: &str) -> ClientLimits {
        let database = self.database(database);
        let user = self.users.get(login_user);
        ClientLimits {
            max_db_client_connections: database
                .and_then(|database| database.max_db_client_connections)
                .unwrap_or(self.limits.max_db_client_connections),
            max_user_client_connections: of(user, |user| user.max_user_client_connections)
                .unwrap_or(self.limits.max_user_client_connections),
        }
    }
}

/// Who is asked for secrets that are not in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthQuery<'a> {
    /// The database's name in the configuration, [`FALLBACK`] among them.
    pub name: &'a str,
    /// The database.
    pub database: &'a Database,
    /// `auth_user`.
    pub user: &'a str,
    /// `auth_dbname`, or the database in Postgres that a client of `name` gets.
    pub dbname: &'a str,
    /// `auth_query`.
    pub sql: &'a str,
}

impl Config {
    /// How secrets are asked for, for clients of this database; `None`: they are not.
    ///
    /// Behind [`FALLBACK`] a client could name any number of databases, so there `auth_dbname` says where.
    pub fn auth_query<'a>(&'a self, name: &'a str) -> Option<AuthQuery<'a>> {
        let configured = self.databases.get_key_value(name);
        let (name, database) = configured.or_else(|| self.databases.get_key_value(FALLBACK))?;
        let own = |own: &'a Option<String>, global: &'a str| own.as_deref().unwrap_or(global);
        let user = own(&database.auth_user, &self.auth.auth_user);
        let dbname = own(&database.auth_dbname, &self.auth.auth_dbname);
        let dbname = match dbname {
            "" if name == FALLBACK => database.dbname.as_deref().unwrap_or_default(),
            "" => database.server_database(name),
            dbname => dbname,
        };
        let sql = own(&database.auth_query, &self.auth.auth_query);
        let asks = !user.is_empty() && !dbname.is_empty() && !sql.is_empty();
        asks.then_some(AuthQuery { name, database, user, dbname, sql })
    }
}

impl Database {
    /// The user that servers log in as, for a client that logs in as `login_user`.
    pub fn server_user<'a>(&'a self, login_user: &'a str) -> &'a str {
        self.user.as_deref().unwrap_or(login_user)
    }

    /// The database's name in Postgres, for a client that asks for `name`.
    pub fn server_database<'a>(&'a self, name: &'a str) -> &'a str {
        self.dbname.as_deref().unwrap_or(name)
    }
}

/// What the user's entry sets, if there is one and it does.
fn of<T>(user: Option<&User>, value: impl Fn(&User) -> Option<T>) -> Option<T> {
    user.and_then(value)
}
