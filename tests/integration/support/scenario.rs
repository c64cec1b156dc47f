//! What a test sets up: a database of its own, a pooler before it, and the check that all is at rest at the end.

use std::time::Duration;

use super::admin::PoolCounts;
use super::batch::Batch;
use super::client::RawClient;
use super::config::{PoolerConfig, Toml};
use super::encrypted::encrypted;
use super::login::Login;
use super::pooler::{Launch, Pooler};
use super::postgres::{Cluster, Postgres};
use super::process::wait_for;
use super::reply::Reply;

/// Cancel, ROLLBACK and release after the last client left: well under a second when nobody else computes.
const REST_LIMIT: Duration = Duration::from_secs(15);

/// What a cluster needs to be replicated.
const REPLICABLE: &str = "wal_level = logical\nmax_wal_senders = 10\nmax_replication_slots = 10\n";

/// Physical replication is not covered by `all` databases.
const REPLICATION_RULES: &str =
    "local replication postgres trust\nhost replication all all scram-sha-256\n";

/// The cluster below: the one all tests share, or one to stop and start.
enum Ground {
    Shared(&'static Cluster),
    Own(Box<Cluster>),
}

/// A configuration in the making.
pub(crate) struct Scenario {
    config: PoolerConfig,
    launch: Launch,
    ground: Ground,
    database: String,
    foreign: Vec<String>,
}

impl Scenario {
    /// A fresh database on the shared cluster, users `app` and `other`, five servers.
    pub(crate) fn new() -> Scenario {
        Scenario::on(Ground::Shared(Postgres::shared()))
    }

    /// As `new`, on a cluster that the test may stop.
    pub(crate) fn with_own_postgres() -> Scenario {
        Scenario::on(Ground::Own(Box::new(Cluster::start())))
    }

    /// As `new`, on a cluster that was made for the test.
    pub(crate) fn on_cluster(cluster: Cluster) -> Scenario {
        Scenario::on(Ground::Own(Box::new(cluster)))
    }

    /// As `new`, on a cluster of its own that `app` may replicate, physically through database `replication`.
    pub(crate) fn replicable() -> Scenario {
        let scenario = Scenario::with_own_postgres();
        let cluster = scenario.cluster();
        cluster.reconfigure(REPLICABLE, REPLICATION_RULES);
        cluster.stop();
        cluster.resume();
        cluster.superuser("postgres").query("ALTER ROLE app REPLICATION");
        let port = i64::from(cluster.port());
        scenario
            .set("databases.replication.host", "127.0.0.1")
            .set("databases.replication.port", port)
    }

    /// As `new`, on a cluster that speaks TLS.
    pub(crate) fn encrypted() -> Scenario {
        Scenario::on(Ground::Shared(&encrypted().0))
    }

    fn on(ground: Ground) -> Scenario {
        let mut config = PoolerConfig::default();
        // Servers move between workers, however few cores the machine has.
        config.set("general.workers", 2);
        let cluster = ground.cluster();
        let database = cluster.create_database();
        config.set(&format!("databases.{database}.host"), "127.0.0.1");
        config.set(&format!("databases.{database}.port"), i64::from(cluster.port()));
        config.set("users.app.password", "app_secret");
        config.set("users.other.password", "other_secret");
        config.set("pool.default_pool_size", 5);
        // The probes' own connections would be counted among the pooler's.
        config.set("server.health_check_interval", 0);
        Scenario { config, launch: Launch::default(), ground, database, foreign: Vec::new() }
    }

    pub(crate) fn set(mut self, path: &str, value: impl Into<Toml>) -> Scenario {
        self.config.set(path, value);
        self
    }

    /// A key of the database's own table.
    pub(crate) fn set_database(mut self, key: &str, value: impl Into<Toml>) -> Scenario {
        self.config.set(&format!("databases.{}.{key}", self.database), value);
        self
    }

    /// Forgets a table, as `users.app`.
    pub(crate) fn without(mut self, table: &str) -> Scenario {
        self.config.remove(table);
        self
    }

    pub(crate) fn pool_size(self, size: i64) -> Scenario {
        self.set("pool.default_pool_size", size)
    }

    /// The most files the pooler may have open.
    pub(crate) fn file_limit(mut self, files: usize) -> Scenario {
        self.launch.files = Some(files);
        self
    }

    /// A variable in the pooler's environment.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Scenario {
        self.launch.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another database, behind any port of this machine.
    pub(crate) fn foreign_database(mut self, name: &str, port: u16) -> Scenario {
        self.config.set(&format!("databases.{name}.host"), "127.0.0.1");
        self.config.set(&format!("databases.{name}.port"), i64::from(port));
        // Scripts begin with the startup packet, and know of no questions but the client's.
        self.config.set(&format!("databases.{name}.server_tls_sslmode"), "disable");
        self.config.set("server.function_check", 0);
        self.foreign.push(name.to_owned());
        self
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        self.ground.cluster()
    }

    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    pub(crate) fn start(self) -> World {
        let pooler = Pooler::start(self.config, &self.launch);
        let Scenario { database, ground, foreign, .. } = self;
        World { pooler, database, ground, foreign, rest: AtEnd::Checked }
    }
}

impl Ground {
    fn cluster(&self) -> &Cluster {
        match self {
            Ground::Shared(cluster) => cluster,
            Ground::Own(cluster) => cluster,
        }
    }
}

/// Whether the end of the test looks for what was left behind.
#[derive(PartialEq, Eq)]
enum AtEnd {
    Checked,
    Unchecked,
}

/// A pooler before a database. Make clients after it: they are gone, then, when it looks for what they
/// left behind.
pub(crate) struct World {
    pub(crate) pooler: Pooler,
    pub(crate) database: String,
    ground: Ground,
    /// Databases that are not on the cluster.
    foreign: Vec<String>,
    rest: AtEnd,
}

impl World {
    pub(crate) fn cluster(&self) -> &Cluster {
        self.ground.cluster()
    }

    /// `app` through the pooler.
    pub(crate) fn login(&self) -> Login {
        Login::new(self.pooler.address(), &self.database, "app", "app_secret")
    }

    #[track_caller]
    pub(crate) fn client(&self) -> RawClient {
        RawClient::login(&self.login())
    }

    pub(crate) fn clients(&self, count: usize) -> Vec<RawClient> {
        (0..count).map(|_| self.client()).collect()
    }

    /// `app` past the pooler.
    pub(crate) fn direct_login(&self) -> Login {
        self.cluster().login(&self.database, "app", "app_secret")
    }

    pub(crate) fn direct(&self) -> RawClient {
        RawClient::login(&self.direct_login())
    }

    pub(crate) fn superuser(&self) -> RawClient {
        self.cluster().superuser(&self.database)
    }

    /// One client of the pooler and one of Postgres, to be asked the same.
    pub(crate) fn pair(&self) -> Pair {
        Pair { direct: self.direct(), pooled: self.client() }
    }

    /// Runs SQL past the pooler, as the owner of the database.
    #[track_caller]
    pub(crate) fn prepare(&self, sql: &str) {
        self.direct().query(sql);
    }

    /// Process ids of the connections that serve clients, the oldest first.
    pub(crate) fn backends(&self) -> Vec<String> {
        let sql = format!("SELECT pid {SERVERS} AND client_port >= 0 ORDER BY backend_start");
        self.superuser().query(&sql).rows().concat()
    }

    /// Ends a backend as an administrator does and waits until it is gone.
    #[track_caller]
    pub(crate) fn terminate_backend(&self, backend: &str) {
        let sql = format!("SELECT pg_terminate_backend({backend}, 10000)");
        assert_eq!(self.superuser().value(&sql), "t", "no backend {backend}");
    }

    /// Waits until so many clients stand in the queue.
    #[track_caller]
    pub(crate) fn wait_for_waiting(&self, count: u64) {
        self.wait_for_counts(|counts| counts.clients_waiting == count, "clients to wait");
    }

    #[track_caller]
    pub(crate) fn wait_for_counts(&self, rule: impl Fn(&PoolCounts) -> bool, what: &str) {
        wait_for(REST_LIMIT, what, || {
            let counts = self.pooler.admin().total();
            if rule(&counts) { Ok(()) } else { Err(format!("{counts:?}")) }
        });
    }

    /// Waits until the query of a backend of this database holds the text.
    #[track_caller]
    pub(crate) fn wait_for_query(&self, text: &str) {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%{text}%'"
        );
        let mut superuser = self.superuser();
        wait_for(REST_LIMIT, "the query to run", || match superuser.value(&sql).as_str() {
            "0" => Err(superuser.query("TABLE pg_stat_activity").shape()),
            _ => Ok(()),
        });
    }

    /// Idle servers that the cluster knows nothing of.
    fn foreign_idle(&self) -> u64 {
        let pools = self.pooler.admin().pools().into_iter();
        let foreign = pools.filter(|(database, ..)| self.foreign.contains(database));
        foreign.map(|(.., counts)| counts.servers_idle).sum()
    }

    /// For tests that end the pooler or Postgres themselves.
    pub(crate) fn skip_rest_check(&mut self) {
        self.rest = AtEnd::Unchecked;
    }

    /// Nobody served, nobody waiting, no transaction, no lock; as many connections as the pooler says.
    #[track_caller]
    pub(crate) fn assert_at_rest(&self) {
        let mut superuser = self.superuser();
        let states = format!("SELECT state || ',' || query {SERVERS}");
        wait_for(REST_LIMIT, "everything to be at rest", || {
            let counts = self.pooler.admin().total();
            let idle = PoolCounts { servers_idle: counts.servers_idle, ..PoolCounts::default() };
            let clients = self.pooler.admin().clients().len();
            let backends = superuser.query(&states).rows().concat();
            let held = superuser.value(LOCKS);
            let connections = backends.len() as u64;
            let unclean = backends.iter().any(|backend| !backend.starts_with("idle,"));
            let own = counts.servers_idle - self.foreign_idle();
            let rest = counts == idle && clients == 0 && connections == own;
            if rest && held == "0" && !unclean {
                return Ok(());
            }
            Err(format!("{counts:?}, {clients} clients, {held} locks, {backends:#?}"))
        });
    }
}

/// The connections of the pooler, without those for questions of its own.
const SERVERS: &str = "FROM pg_stat_activity WHERE datname = current_database() \
    AND usename <> 'postgres' AND backend_type = 'client backend' \
    AND application_name NOT IN ('pooler health', 'pooler auth_query')";

/// Locks of anyone but the asking session, advisory ones too.
const LOCKS: &str = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database \
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() && self.rest == AtEnd::Checked {
            self.assert_at_rest();
        }
        if let (Ground::Shared(cluster), false) = (&self.ground, std::thread::panicking()) {
            cluster.drop_database(&self.database);
        }
    }
}

/// Postgres as the oracle: the same frames to it and to the pooler must bring the same replies.
pub(crate) struct Pair {
    pub(crate) direct: RawClient,
    pub(crate) pooled: RawClient,
}

impl Pair {
    /// Runs the batch on both; the replies must read as expected.
    #[track_caller]
    pub(crate) fn expect(&mut self, batch: &Batch, expected: &str) -> Reply {
        assert_eq!(self.direct.run(batch).shape(), expected, "Postgres itself");
        let reply = self.pooled.run(batch);
        assert_eq!(reply.shape(), expected, "through the pooler");
        reply
    }

    /// Runs the batch on both; the replies must be equal, whatever they are.
    #[track_caller]
    pub(crate) fn same(&mut self, batch: &Batch) -> Reply {
        let expected = self.direct.run(batch).shape();
        let reply = self.pooled.run(batch);
        assert_eq!(reply.shape(), expected, "Postgres (right) and the pooler (left) differ");
        reply
    }
}
