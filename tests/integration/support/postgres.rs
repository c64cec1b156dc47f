//! A throwaway Postgres: found, initialised, started, stopped and removed whatever becomes of the tests.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::batch::query;
use super::client::RawClient;
use super::login::Login;
use super::process::{free_port, give_away, run, tail, unprivileged, wait_for};

/// Reaches everything through the Unix socket, without a password.
pub(crate) const SUPERUSER: &str = "postgres";

/// Recovery after an immediate stop is part of a start.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Lives as long as its standard input: when the tests end, however they end, it stops Postgres and removes
/// the folder. It has a process group of its own, so that Ctrl-C reaches it through the pipe only.
const GUARD: &str = r#"
folder=$1; shift
trap : INT TERM HUP
while read -r order; do
    case $order in
        start) "$@" >>"$folder/log" 2>&1 </dev/null & pid=$! ;;
        *) kill -s "$order" "$pid"; wait "$pid" ;;
    esac
    echo "$pid"
done
[ -z "$pid" ] || { kill -s QUIT "$pid"; wait "$pid"; } 2>/dev/null
rm -rf "$folder"
"#;

const SETTINGS: &str = "
max_connections = 300
fsync = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
autovacuum = off
log_connections = off
log_min_messages = warning
log_line_prefix = '%m [%p] %d '
password_encryption = 'scram-sha-256'
";

/// Where it is installed: what the pooler counts is compared with it.
const PG_STAT_STATEMENTS: &str = "
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track_planning = on
";

const HBA: &str = "
local all postgres,app trust
local all all          scram-sha-256
host  all trust_user all trust
host  all md5_user   all md5
host  all clear_user all password
host  all all        all scram-sha-256
";

const ROLES: &str = "
CREATE ROLE app LOGIN PASSWORD 'app_secret';
CREATE ROLE other LOGIN PASSWORD 'other_secret';
CREATE ROLE clear_user LOGIN PASSWORD 'clear_secret';
CREATE ROLE trust_user LOGIN;
CREATE ROLE tenant NOLOGIN;
GRANT tenant TO app;
CREATE ROLE chief SUPERUSER LOGIN PASSWORD 'chief_secret';
SET password_encryption = 'md5';
CREATE ROLE md5_user LOGIN PASSWORD 'md5_secret';
";

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    /// The socket file itself.
    Unix(PathBuf),
}

impl Address {
    pub(crate) fn loopback(port: u16) -> Address {
        Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }
}

/// The shell that owns the server process.
struct Guard {
    process: Child,
    /// Closing it is what ends the server.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Guard {
    /// The process id of Postgres, answered when the order is done.
    fn order(&mut self, order: &str) -> u32 {
        let orders = self.orders.as_mut().expect("taken on drop only");
        writeln!(orders, "{order}").expect("the guard lives as long as the tests");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the guard answers each order");
        answer.trim().parse().unwrap_or_else(|_| panic!("the guard answered {answer:?}"))
    }
}

/// One cluster with its own folder and port.
pub(crate) struct Cluster {
    guard: Mutex<Guard>,
    folder: PathBuf,
    port: u16,
}

/// The cluster all tests of this binary share; each has a database of its own in it.
pub(crate) struct Postgres;

impl Postgres {
    pub(crate) fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Cluster::start)
    }
}

impl Cluster {
    /// A running cluster with the roles of `ROLES`.
    pub(crate) fn start() -> Cluster {
        // Removed if anything fails before the guard has it.
        let unguarded = tempfile::Builder::new().prefix("pooler-postgres-").tempdir().unwrap();
        let folder = unguarded.path().to_owned();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&folder, open).unwrap();
        give_away(&folder);
        let data = folder.join("data");
        let initdb = ["--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"];
        let mut command = unprivileged(&binary("initdb"));
        // The user that it runs as may not enter the folder that the tests run in.
        run(command.args(initdb).arg("-D").arg(&data).env_remove("PGDATA").current_dir("/"));
        append(&data.join("postgresql.conf"), SETTINGS);
        if has_pg_stat_statements() {
            append(&data.join("postgresql.conf"), PG_STAT_STATEMENTS);
        }
        std::fs::write(data.join("pg_hba.conf"), HBA).unwrap();
        let port = free_port();
        let guard = Mutex::new(guard(&folder, port));
        let _path = unguarded.keep();
        let cluster = Cluster { guard, folder, port };
        cluster.resume();
        cluster.superuser("postgres").run(&query(ROLES));
        cluster
    }

    /// Adds to the settings, puts its own rules before those for logging in, and reads both.
    pub(crate) fn reconfigure(&self, settings: &str, rules: &str) {
        let data = self.folder.join("data");
        append(&data.join("postgresql.conf"), settings);
        std::fs::write(data.join("pg_hba.conf"), format!("{rules}{HBA}")).unwrap();
        self.superuser("postgres").query("SELECT pg_reload_conf()");
    }

    /// Adds to the settings, and lets in by nothing but these rules and maps, and whom the tests need.
    pub(crate) fn let_in_by(&self, settings: &str, rules: &str, maps: &str) {
        let data = self.folder.join("data");
        append(&data.join("postgresql.conf"), settings);
        let rules = format!("local all postgres,app trust\n{rules}");
        std::fs::write(data.join("pg_hba.conf"), rules).unwrap();
        std::fs::write(data.join("pg_ident.conf"), maps).unwrap();
        self.superuser("postgres").query("SELECT pg_reload_conf()");
    }

    /// Starts Postgres again after `stop`; returns when it takes queries.
    pub(crate) fn resume(&self) {
        self.launch();
        wait_for(START_LIMIT, "Postgres to start", || {
            let tried = RawClient::try_login(&self.login("postgres", SUPERUSER, ""));
            tried
                .map(drop)
                .map_err(|error| format!("{error:?}\n{}", tail(&self.folder.join("log"))))
        });
    }

    /// Starts Postgres and returns at once.
    pub(crate) fn launch(&self) {
        let _pid = self.guard.lock().order("start");
    }

    /// Stops at once, as a crash would; returns when the process is gone.
    pub(crate) fn crash(&self) {
        let _pid = self.guard.lock().order("QUIT");
    }

    /// Stops in good order: clients hear 57P01.
    pub(crate) fn stop(&self) {
        let _pid = self.guard.lock().order("INT");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn tcp(&self) -> Address {
        Address::loopback(self.port)
    }

    /// The folder with the Unix socket.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn superuser(&self, database: &str) -> RawClient {
        RawClient::login(&self.login(database, SUPERUSER, ""))
    }

    /// A login through the Unix socket, past any pooler. `app` needs no password there, which saves time.
    pub(crate) fn login(&self, database: &str, user: &str, password: &str) -> Login {
        let socket = self.folder.join(format!(".s.PGSQL.{}", self.port));
        Login::new(Address::Unix(socket), database, user, password)
    }

    /// A new empty database that `app` and `other` may create tables in.
    pub(crate) fn create_database(&self) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut postgres = self.superuser("postgres");
        let created = postgres.run(&query(&format!("CREATE DATABASE {name} OWNER app")));
        assert!(!created.has_error(), "{:?}", created.error());
        let granted = self.superuser(&name).run(&query("GRANT ALL ON SCHEMA public TO PUBLIC"));
        assert!(!granted.has_error(), "{:?}", granted.error());
        name
    }

    pub(crate) fn drop_database(&self, name: &str) {
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        let _reply = self.superuser("postgres").run(&query(&drop));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let guard = self.guard.get_mut();
        drop(guard.orders.take());
        let _status = guard.process.wait();
    }
}

fn guard(folder: &Path, port: u16) -> Guard {
    let mut server = unprivileged(&binary("postgres"));
    let socket_folder = format!("unix_socket_directories={}", folder.display());
    server.arg("-D").arg(folder.join("data")).args(["-p", &port.to_string(), "-c", &socket_folder]);
    server.args(["-c", "listen_addresses=127.0.0.1,::1"]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", GUARD, "guard"])
        .arg(folder)
        .arg(server.get_program())
        .args(server.get_args());
    // Postgres wants to be able to enter the folder it is started in.
    shell.current_dir("/").process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = shell.spawn().expect("sh is everywhere");
    let orders = process.stdin.take();
    let answers = BufReader::new(process.stdout.take().expect("it was piped"));
    Guard { process, orders, answers }
}

/// Is the extension there? It is part of Debian's package of the server, not of every build.
pub(crate) fn has_pg_stat_statements() -> bool {
    let lib = binary("postgres").parent().and_then(Path::parent).map(|home| home.join("lib"));
    let lib = lib.expect("programs are in a folder of the installation");
    ["", "postgresql"].iter().any(|sub| lib.join(sub).join("pg_stat_statements.so").exists())
}

fn append(path: &Path, text: &str) {
    let mut file = std::fs::File::options().append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A program of PostgreSQL: from `PG_BIN`, else `pg_config`, else where Debian keeps the newest. A package of the server
/// alone has no clients; those of another do.
pub(crate) fn binary(name: &str) -> PathBuf {
    let folders = binaries();
    let server = folders.iter().find(|folder| folder.join("initdb").exists());
    let server = server.unwrap_or_else(|| {
        panic!("no PostgreSQL server found: run `make test-deps`, or set PG_BIN to the folder of initdb")
    });
    let has_it = |folder: &&PathBuf| folder.join(name).exists();
    std::iter::once(server).chain(&folders).find(has_it).unwrap_or(server).join(name)
}

/// Where programs may be, the best place first.
fn binaries() -> Vec<PathBuf> {
    let asked = std::env::var_os("PG_BIN").map(PathBuf::from);
    if let Some(folder) = &asked {
        assert!(folder.join("initdb").exists(), "PG_BIN={}: no initdb there", folder.display());
    }
    let config = Command::new("pg_config").arg("--bindir").output();
    let configured = config.map(|output| String::from_utf8_lossy(&output.stdout).trim().into());
    let mut debian: Vec<_> =
        std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().collect();
    debian.sort_by_key(|entry| {
        let name = entry.as_ref().map(|entry| entry.file_name().into_string().unwrap_or_default());
        name.unwrap_or_default().parse::<u32>().unwrap_or(0)
    });
    let newest = debian.into_iter().rev().flatten().map(|entry| entry.path().join("bin"));
    asked.into_iter().chain(configured).chain(newest).collect()
}
