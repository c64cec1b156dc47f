//! Real clients through the pooler: each runs as a program of its own, more of them than there are servers.
//! What the wire looks like is left to `tests/integration`.

// `allow-unwrap-in-tests` does not reach helper functions.
#![allow(clippy::unwrap_used)]

#[path = "clients/accuracy.rs"]
mod accuracy;
#[path = "clients/logins.rs"]
mod logins;
#[path = "clients/metrics.rs"]
mod metrics;
#[path = "clients/shop.rs"]
mod shop;
#[path = "integration/support/mod.rs"]
mod support;
#[path = "clients/tokens.rs"]
mod tokens;
#[path = "clients/tokio_postgres.rs"]
mod tokio_postgres;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::{Postgres, Scenario, World, postgres_program, wait_for};

/// Fewer than any program opens connections.
const SERVERS: i64 = 2;

/// A program that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(180);

fn world() -> World {
    Scenario::new().pool_size(SERVERS).start()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program or file that `make test-deps` installs.
fn installed(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run `make test-deps`", path.display());
    path
}

/// A running program; killed on drop.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Runs a program with the pooler in its PG* environment; it must succeed. Gives what it printed.
fn run(world: &World, command: &mut Command) -> String {
    let output = world.pooler.folder().join("output");
    let file = std::fs::File::create(&output).unwrap();
    command.env("PGHOST", "127.0.0.1").env("PGPORT", world.pooler.port().to_string());
    command.env("PGDATABASE", &world.database).env("PGUSER", "app").env("PGPASSWORD", "app_secret");
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    let child = command.spawn();
    let mut child = Program(child.unwrap_or_else(|error| {
        panic!("{command:?}: {error}; run `make test-deps`");
    }));
    let status = wait_for(LIMIT, "the program to end", || {
        child.0.try_wait().unwrap().ok_or_else(|| std::fs::read_to_string(&output).unwrap())
    });
    let printed = std::fs::read_to_string(&output).unwrap();
    assert!(status.success(), "{command:?}: {status}\n{printed}");
    printed
}

/// As `run`; more connections than servers were open, and the pool was kept to its size.
fn run_many(world: &World, command: &mut Command) {
    let printed = run(world, command);
    let clients = printed.lines().find_map(|line| line.strip_prefix("clients="));
    let clients: i64 = clients.unwrap_or_else(|| panic!("no count in: {printed}")).parse().unwrap();
    shared(world, clients);
}

fn shared(world: &World, clients: i64) {
    let servers = i64::try_from(world.backends().len()).unwrap();
    assert!((1..=SERVERS).contains(&servers), "{servers} servers");
    assert!(clients > SERVERS, "{clients} clients");
}

fn python(script: &str) -> Command {
    let mut command = Command::new(installed(root().join("target/venv/bin/python")));
    command.arg(root().join("tests/clients").join(script));
    command
}

fn psql(world: &World, script: &str) -> String {
    let file = world.pooler.folder().join("script.sql");
    std::fs::write(&file, script).unwrap();
    let mut command = Command::new(postgres_program("psql"));
    command.args(["--no-psqlrc", "--no-align", "--tuples-only", "--quiet"]);
    run(world, command.args(["--set=ON_ERROR_STOP=1", "--file"]).arg(file))
}

#[test]
fn psql_scripts_describe_and_copy() {
    let world = world();
    let script = "
        CREATE TABLE item (n int PRIMARY KEY, t text);
        \\copy item FROM PROGRAM 'printf \"1\\\\ta\\\\n2\\\\tb\\\\n\"'
        BEGIN; INSERT INTO item VALUES (3, 'c'); SAVEPOINT s; DELETE FROM item; ROLLBACK TO s; COMMIT;
        SELECT count(*) FROM item;
        SELECT t FROM item WHERE n = $1 \\bind 2 \\g
        SELECT format('SELECT %s', n) FROM item ORDER BY n \\gexec
        \\d item
        \\copy item TO STDOUT
    ";
    let with_bind = psql(&world, "\\echo :SERVER_VERSION_NUM").trim() >= "160000";
    let old = script.replace("WHERE n = $1 \\bind 2 \\g", "WHERE n = 2;");
    let printed = psql(&world, if with_bind { script } else { &old });
    assert!(printed.starts_with("3\nb\n1\n2\n3\n"), "{printed}");
    assert!(printed.contains("n|integer||not null|"), "{printed}");
    assert!(printed.ends_with("1\ta\n2\tb\n3\tc\n"), "{printed}");
}

#[test]
fn a_browser_shows_the_pages() {
    // Names and texts that are HTML, and a statement that is slow.
    let scenario = Scenario::new().set("log.log_slow_statements", "1ms");
    let world = scenario.start();
    let hostile = "SELECT 1 AS \"<script>alert('sql')</script>\";
                   SELECT 2 AS \"<img src=x onerror=alert(2)>\";
                   SELECT count(*) FROM generate_series(1, 1000);
                   SELECT sum(n) FROM generate_series(1, 1000) n;
                   SELECT 5 AS tagged /*route='%2F<b>shop%2F'*/;
                   SELECT pg_sleep(0.01);";
    let script = format!("SET application_name = '<script>alert(3)</script>'; {hostile}");
    psql(&world, &script);
    let mut command = Command::new("node");
    command.arg(
        installed(root().join("tests/clients/browser/node_modules")).with_file_name("pages.js"),
    );
    command.env("ADMIN_URL", format!("http://localhost:{}", world.pooler.admin_port()));
    assert_eq!(run(&world, &mut command), "pages are fine\n");
}

#[test]
fn psql_reports_errors_and_goes_on() {
    let world = world();
    let script = "\\set ON_ERROR_STOP 0\nSELECT nothing;\nSELECT 1 / 0;\nSELECT 'after';\n";
    let printed = psql(&world, script);
    assert!(printed.contains("column \"nothing\" does not exist"), "{printed}");
    assert!(printed.contains("division by zero"), "{printed}");
    assert!(printed.contains("after"), "{printed}");
}

#[test]
fn pg_dump_and_restore_go_through() {
    let world = world();
    world.prepare("CREATE TABLE item (n int); INSERT INTO item SELECT generate_series(1, 1000)");
    world.prepare("CREATE VIEW view AS SELECT sum(n) FROM item");
    let dump = run(&world, Command::new(postgres_program("pg_dump")).arg("--no-owner"));
    world.prepare("DROP VIEW view; DROP TABLE item");
    psql(&world, &dump);
    assert_eq!(world.direct().value("SELECT * FROM view"), "500500");
}

#[test]
fn pg_basebackup_copies_the_cluster_with_its_wal() {
    let world = Scenario::replicable().start();
    let copy = world.pooler.folder().join("copy");
    let mut command = Command::new(postgres_program("pg_basebackup"));
    // Two connections at once, one of which streams in both directions.
    command.args(["--no-sync", "--checkpoint=fast", "--wal-method=stream", "--pgdata"]);
    run(&world, command.arg(&copy));
    assert!(copy.join("PG_VERSION").exists());
    assert!(copy.join("pg_wal").read_dir().unwrap().count() > 0);
    let mut verify = Command::new(postgres_program("pg_verifybackup"));
    run(&world, verify.arg("--no-parse-wal").arg(&copy));
}

/// pgbench with its own tables, loaded through the pooler.
fn pgbench(world: &World, arguments: &[&str]) -> String {
    let mut command = Command::new(postgres_program("pgbench"));
    let printed =
        run(world, command.args(["--no-vacuum", "--client=20", "--jobs=2"]).args(arguments));
    shared(world, 20);
    printed
}

fn load(world: &World) {
    run(world, Command::new(postgres_program("pgbench")).args(["--initialize", "--quiet"]));
}

#[test]
fn pgbench_in_its_three_modes_keeps_the_books() {
    let world = world();
    load(&world);
    for mode in ["simple", "extended", "prepared"] {
        let printed = pgbench(&world, &["--transactions=50", "--protocol", mode]);
        assert!(printed.contains("processed: 1000/1000"), "{mode}: {printed}");
    }
    let mut client = world.client();
    assert_eq!(client.value("SELECT count(*) FROM pgbench_history"), "3000");
    let books = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM \
                 pgbench_history) AND (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) \
                 FROM pgbench_history)";
    assert_eq!(client.value(books), "t");
}

#[test]
fn pgbench_pipelines_and_reconnects() {
    let world = world();
    load(&world);
    let script = world.pooler.folder().join("pipeline.sql");
    let select = "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n".repeat(10);
    let text = format!("\\set aid random(1, 100000)\n\\startpipeline\n{select}\\endpipeline\n");
    std::fs::write(&script, text).unwrap();
    let file = format!("--file={}", script.display());
    let printed = pgbench(&world, &["--transactions=50", "--protocol=prepared", &file]);
    assert!(printed.contains("processed: 1000/1000"), "{printed}");
    let printed = pgbench(&world, &["--transactions=10", "--select-only", "--connect"]);
    assert!(printed.contains("processed: 200/200"), "{printed}");
}

#[test]
fn psycopg_3() {
    let world = world();
    run_many(&world, &mut python("python/psycopg_client.py"));
}

#[test]
fn psycopg_2() {
    let world = world();
    run_many(&world, &mut python("python/psycopg2_client.py"));
}

#[test]
fn asyncpg() {
    let world = world();
    run_many(&world, &mut python("python/asyncpg_client.py"));
}

/// The project under one choice of settings.
fn django(settings: &[(&str, &str)]) {
    let world = world();
    run_many(&world, python("django/run.py").envs(settings.iter().copied()));
}

#[test]
fn django_with_its_defaults() {
    // Iterators stay inside atomic blocks here: beyond them Django asks for a cursor WITH HOLD.
    django(&[]);
}

#[test]
fn django_with_persistent_connections() {
    django(&[("CONN_MAX_AGE", "60"), ("CONN_HEALTH_CHECKS", "1")]);
}

#[test]
fn django_as_advised_for_poolers() {
    django(&[("CONN_MAX_AGE", "0"), ("DISABLE_SERVER_SIDE_CURSORS", "1")]);
    let persistent = [("CONN_MAX_AGE", "60"), ("DISABLE_SERVER_SIDE_CURSORS", "1")];
    django(&[persistent[0], persistent[1], ("CONN_HEALTH_CHECKS", "1")]);
}

#[test]
fn django_with_parameters_bound_by_the_server() {
    django(&[("CONN_MAX_AGE", "60"), ("SERVER_SIDE_BINDING", "1")]);
}

/// Two copies at once, in the two ways to wait for a session lock.
#[test]
fn django_migrates_within_a_session_lock() {
    let world = Scenario::new().pool_size(2).start();
    run(&world, &mut python("django/migrate_twice.py"));
}

/// Four copies at once, more than there are servers.
#[test]
fn migrations_as_rails_runs_them_exclude_each_other() {
    let world = Scenario::new().pool_size(2).start();
    run(&world, &mut python("python/rails_migrations.py"));
}

#[test]
fn node_postgres() {
    let world = world();
    let folder = root().join("tests/clients/node");
    installed(folder.join("node_modules/pg"));
    run_many(&world, Command::new("node").arg(folder.join("client.js")));
}

#[test]
fn pgjdbc() {
    let world = world();
    let driver = installed("/usr/share/java/postgresql.jar".into());
    let program = root().join("tests/clients/jdbc/Client.java");
    run_many(&world, Command::new("java").arg("--class-path").arg(driver).arg(program));
}

#[test]
fn sqlx() {
    let world = world();
    let manifest = root().join("tests/clients/sqlx/Cargo.toml");
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--locked", "--manifest-path"]).arg(manifest);
    run_many(&world, command.env("CARGO_TARGET_DIR", root().join("target/sqlx")));
}

#[test]
fn tokio_postgres_in_this_process() {
    let world = world();
    tokio_postgres::run(&world);
    shared(&world, tokio_postgres::CLIENTS.into());
}

#[test]
fn programs_find_the_shared_cluster() {
    // Guards the fixture: a program that reached Postgres past the pooler would prove nothing.
    let world = world();
    let port = psql(&world, "SHOW port;");
    assert_eq!(port.trim(), Postgres::shared().port().to_string());
    assert_ne!(world.pooler.port(), Postgres::shared().port());
    assert_eq!(world.backends().len(), 1);
}
