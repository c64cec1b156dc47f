//! Every way to log in, by the clients people use: what comes of it through the pooler is what comes of it at Postgres, with the
//! same rules, users and certificates on both sides.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use pooler::net::tls::driver::MakeTls;
use tokio::runtime::Builder;
use tokio_postgres::NoTls;
use tokio_postgres::config::SslMode;

use super::support::{Age, Authority, Cluster, Papers, Scenario, World, query, speak_tls};
use super::{installed, postgres_program, root, run};

/// The databases are named after how clients of them prove themselves. `ASKED` is how the one is asked whose pooler asks
/// Postgres: for the password, which for Postgres itself is `password`.
const RULES: &str = "
host      m_scram    all all scram-sha-256
host      m_md5      all all md5
host      m_password all all password
host      m_trust    all all trust
hostssl   m_cert     all all cert
host      m_reject   all all reject
hostssl   m_tls      all all scram-sha-256
hostnossl m_clear    all all scram-sha-256
host      m_pass     all all ASKED
host      m_query    all all scram-sha-256
host      m_query5   all all md5
local     m_peer     all     peer map=people
";

const DATABASES: [&str; 12] = [
    "m_scram",
    "m_md5",
    "m_password",
    "m_trust",
    "m_cert",
    "m_reject",
    "m_tls",
    "m_clear",
    "m_pass",
    "m_query",
    "m_query5",
    "m_peer",
];

/// As whom who runs the tests may log in by a Unix socket.
const MAP: &str = "people WHO u_scram\n";

/// Stands for the folder of the Unix socket, Postgres' or the pooler's.
const SOCKET: &str = "SOCKET";

/// The users are named after how the pooler proves itself to Postgres for them.
const USERS: [&str; 4] = ["u_scram", "u_md5", "u_password", "u_trust"];

/// For whom the pooler proves itself by its own certificate.
const BY_CERTIFICATE: &str = "u_cert";

/// Users that the pooler knows nothing of: it asks Postgres for their secrets.
const ASKED_FOR: [&str; 2] = ["q_scram", "q_md5"];

const ROLES: &str = "
CREATE ROLE u_scram LOGIN PASSWORD 'secret';
CREATE ROLE u_password LOGIN PASSWORD 'secret';
CREATE ROLE u_trust LOGIN PASSWORD 'secret';
CREATE ROLE u_cert LOGIN PASSWORD 'secret';
CREATE ROLE q_scram LOGIN PASSWORD 'secret';
CREATE ROLE asker LOGIN SUPERUSER PASSWORD 'secret';
SET password_encryption = 'md5';
CREATE ROLE u_md5 LOGIN PASSWORD 'secret';
CREATE ROLE q_md5 LOGIN PASSWORD 'secret';
";

/// One login.
#[derive(Clone)]
struct Attempt {
    host: &'static str,
    database: &'static str,
    user: &'static str,
    password: &'static str,
    mode: &'static str,
    own: Option<Papers>,
}

struct Place {
    authority: Authority,
    world: World,
}

/// Postgres and a pooler before it, with the same rules; both show a server's certificate of this age.
fn place(age: Age) -> Place {
    let (authority, mut scenario) = (Authority::new(), Scenario::on_cluster(Cluster::start()));
    let (cluster, behind) = (scenario.cluster(), scenario.database().to_owned());
    let mut superuser = cluster.superuser("postgres");
    superuser.run(&query(ROLES));
    for database in DATABASES {
        superuser.query(&format!("CREATE DATABASE {database}"));
    }
    let papers = authority.server("server", &["localhost"], age);
    let port = i64::from(cluster.port());
    let mut rules = RULES.replace("ASKED", "password");
    for (user, method) in USERS.into_iter().chain(ASKED_FOR).chain(["asker"]).zip([
        "scram-sha-256",
        "md5",
        "password",
        "trust",
        "scram-sha-256",
        "md5",
        "scram-sha-256",
    ]) {
        writeln!(rules, "host {behind} {user} all {method}").unwrap();
    }
    writeln!(rules, "hostssl {behind} {BY_CERTIFICATE} all cert").unwrap();
    let me = rustix::process::geteuid().as_raw().into();
    let me = nix::unistd::User::from_uid(me).unwrap().unwrap().name;
    let map = MAP.replace("WHO", &me);
    speak_tls(cluster, &authority, &papers, |settings| cluster.let_in_by(settings, &rules, &map));
    let written = |name: &str, text: &str| {
        let file = cluster.folder().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let own = authority.client(BY_CERTIFICATE, Age::Current);
    let rules = written("rules", &RULES.replace("ASKED", "passthrough"));
    let map = written("map", &map);
    scenario = scenario
        .without("users.app")
        .set("auth.auth_hba_file", rules)
        .set("auth.auth_ident_file", map)
        .set("tls.server_tls_cert_file", text(&own.cert))
        .set("tls.server_tls_key_file", text(&own.key))
        .set("tls.client_tls_sslmode", "prefer")
        .set("tls.client_tls_cert_file", text(&papers.cert))
        .set("tls.client_tls_key_file", text(&papers.key))
        .set("tls.client_tls_ca_file", text(&authority.file()))
        .set("tls.server_tls_ca_file", text(&authority.file()));
    for user in USERS.into_iter().chain([BY_CERTIFICATE, "asker"]) {
        scenario = scenario.set(&format!("users.{user}.password"), "secret");
    }
    Place { authority, world: with_databases(scenario, port, &behind).start() }
}

/// All databases of the pooler lead to one of Postgres, in turn by each mode of TLS.
fn with_databases(mut scenario: Scenario, port: i64, behind: &str) -> Scenario {
    for (database, mode) in DATABASES
        .into_iter()
        .zip(["disable", "prefer", "require", "verify-full"].into_iter().cycle())
    {
        scenario = scenario
            .set(&format!("databases.{database}.host"), "localhost")
            .set(&format!("databases.{database}.port"), port)
            .set(&format!("databases.{database}.dbname"), behind)
            .set(&format!("databases.{database}.server_tls_sslmode"), mode);
    }
    for database in ["m_query", "m_query5"] {
        scenario = scenario
            .set(&format!("databases.{database}.auth_user"), "asker")
            .set(&format!("databases.{database}.auth_dbname"), behind);
    }
    scenario
}

const PLAIN: Attempt = Attempt {
    host: "localhost",
    database: "m_scram",
    user: "u_scram",
    password: "secret",
    mode: "disable",
    own: None,
};

/// What clients can ask for.
const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Each method with each mode and password for one user, and with less of them for the others; then certificates and names.
fn attempts(authority: &Authority) -> Vec<Attempt> {
    let (mut all, plain) = (Vec::new(), PLAIN);
    for database in DATABASES {
        // Of a password stored as md5 Postgres knows nothing that SCRAM needs; the pooler has it in clear.
        let user = match database {
            "m_md5" => "u_md5",
            "m_query" => "q_scram",
            "m_query5" => "q_md5",
            _ => "u_scram",
        };
        let by_scram = ["m_scram", "m_tls", "m_clear", "m_query"].contains(&database);
        // Who is let in by Postgres without a password proves nothing by it.
        let proves = |user: &str| database != "m_pass" || user != "u_trust";
        for mode in MODES {
            for password in ["secret", "wrong", ""] {
                all.push(Attempt { database, user, mode, password, ..plain.clone() });
            }
        }
        let users = USERS.into_iter().filter(|user| !(by_scram && *user == "u_md5"));
        for user in users.filter(|user| proves(user)) {
            for (mode, password) in
                [("disable", "secret"), ("verify-full", "secret"), ("require", "wrong")]
            {
                all.push(Attempt { database, user, mode, password, ..plain.clone() });
            }
        }
    }
    for (name, age) in [("u_scram", Age::Current), ("other", Age::Current), ("u_md5", Age::Expired)]
    {
        let own = Some(authority.client(name, age));
        for (database, mode) in
            [("m_cert", "require"), ("m_cert", "verify-full"), ("m_tls", "require")]
        {
            all.push(Attempt { database, mode, own: own.clone(), ..plain.clone() });
        }
    }
    all.extend(further(&plain));
    for (database, user) in [
        ("m_query", "nobody"),
        ("m_query5", "nobody"),
        ("m_scram", "nobody"),
        ("m_md5", "nobody"),
        ("m_password", "nobody"),
        ("nowhere", "u_scram"),
    ] {
        all.push(Attempt { database, user, ..plain.clone() });
    }
    // The certificate is for localhost alone.
    for mode in ["require", "verify-ca", "verify-full"] {
        all.push(Attempt { host: "127.0.0.1", mode, ..plain.clone() });
    }
    all
}

/// With the pooler's own certificate at Postgres, where it speaks TLS with it, and by the Unix socket.
fn further(plain: &Attempt) -> Vec<Attempt> {
    let mut all = Vec::new();
    for database in ["m_md5", "m_password", "m_trust", "m_tls", "m_query", "m_query5"] {
        for password in ["secret", "wrong"] {
            let user = BY_CERTIFICATE;
            all.push(Attempt { database, user, password, mode: "verify-full", ..plain.clone() });
        }
    }
    for (database, user) in
        [("m_peer", "u_scram"), ("m_peer", "u_md5"), ("m_peer", "nobody"), ("m_scram", "u_scram")]
    {
        for mode in ["disable", "prefer"] {
            all.push(Attempt { host: SOCKET, database, user, mode, ..plain.clone() });
        }
    }
    all
}

/// The lines that the programs read.
fn lines(attempts: &[Attempt], (port, socket): (u16, &Path), authority: &Authority) -> String {
    let mut text = String::new();
    for Attempt { host, database, user, password, mode, own } in attempts {
        let path =
            |path: Option<&Path>| path.map(|path| path.display().to_string()).unwrap_or_default();
        let (cert, key) =
            (path(own.as_ref().map(|own| &*own.cert)), path(own.as_ref().map(|own| &*own.key)));
        let root = authority.file().display().to_string();
        let host = host.replace(SOCKET, socket.to_str().unwrap());
        writeln!(
            text,
            "{host}\t{port}\t{database}\t{user}\t{password}\t{mode}\t{root}\t{cert}\t{key}"
        )
        .unwrap();
    }
    text
}

/// What must be the same: whether it is let in, and Postgres' words if it was refused by them. What a client says of its own accord
/// names ports and system errors.
fn essence(said: &str) -> String {
    if said == "let in" || said == "not tried" {
        return said.to_owned();
    }
    match said.rsplit_once("FATAL: ") {
        Some((_, words)) => words.trim().replace("::1", "127.0.0.1"),
        None => "refused by the client".to_owned(),
    }
}

/// Each way to prove oneself has let somebody in, whom it was tried for: to the pooler, and by it to Postgres.
fn every_way_is_open(attempts: &[Attempt], outcomes: &[String]) {
    let users = USERS.into_iter().chain(ASKED_FOR).chain([BY_CERTIFICATE]);
    let databases = DATABASES.into_iter().filter(|database| *database != "m_reject");
    for name in databases.chain(users) {
        let about = |attempt: &Attempt| {
            // By TCP nobody comes to the one.
            [attempt.database, attempt.user].contains(&name)
                && (name != "m_peer" || attempt.host == SOCKET)
        };
        let of = attempts.iter().zip(outcomes).filter(|(attempt, _)| about(attempt));
        let mut tried = of.map(|(_, said)| said).filter(|said| *said != "not tried").peekable();
        let open = tried.peek().is_none() || tried.any(|said| said == "let in");
        assert!(open, "nobody is let in by {name}");
    }
}

/// Everything that is tried, with certificates that are good, and a few with one of the server's that is not.
fn compare(run: impl Fn(&Place, &str) -> Vec<String>) {
    let good = place(Age::Current);
    let all = attempts(&good.authority);
    let (kinds, outcomes) = compare_at(&good, &all, &run);
    every_way_is_open(&all, &outcomes);
    assert!(
        kinds["let in"] > 20 && kinds["let in, verified"] > 10 && kinds.len() > 4,
        "{kinds:#?}"
    );
    let attempts = MODES.map(|mode| Attempt { mode, ..PLAIN });
    let (kinds, _) = compare_at(&place(Age::Expired), &attempts, &run);
    // Those who look are not let in by themselves; how many look at which mode is the client's way.
    assert!(kinds["refused by the client"] > 0 && kinds["let in"] > 0, "{kinds:#?}");
}

/// The same attempts at Postgres and through the pooler; gives how many came out in which way, and how each did.
fn compare_at(
    place: &Place,
    attempts: &[Attempt],
    run: impl Fn(&Place, &str) -> Vec<String>,
) -> (BTreeMap<String, usize>, Vec<String>) {
    let Place { authority, world } = place;
    let outcomes = |port: u16, socket: &Path| {
        let said = run(place, &lines(attempts, (port, socket), authority));
        assert_eq!(said.len(), attempts.len(), "{said:#?}");
        let port = format!("port {port}");
        said.into_iter().map(|said| said.replace(&port, "port")).collect::<Vec<_>>()
    };
    let (cluster, pooler) = (world.cluster(), &world.pooler);
    let direct = outcomes(cluster.port(), cluster.folder());
    let pooled = outcomes(pooler.port(), pooler.folder());
    let mut kinds = BTreeMap::<_, usize>::new();
    let mut differing = String::new();
    for ((attempt, direct), pooled) in attempts.iter().zip(&direct).zip(&pooled) {
        if essence(direct) != essence(pooled) {
            let Attempt { host, database, user, password, mode, own } = attempt;
            let own = own.is_some();
            writeln!(differing, "{host} {database} {user} {password:?} {mode} {own}\n  Postgres: {direct}\n  pooler:   {pooled}").unwrap();
        }
        let verified = attempt.mode == "verify-full" && essence(direct) == "let in";
        let kind = if verified { "let in, verified".to_owned() } else { essence(direct) };
        *kinds.entry(kind).or_default() += 1;
    }
    assert!(differing.is_empty(), "{differing}");
    (kinds, pooled)
}

/// Runs a program that takes the lines in a file; gives the lines that it prints.
fn program(place: &Place, lines: &str, command: &mut Command) -> Vec<String> {
    let world = &place.world;
    let file = world.pooler.folder().join("attempts");
    std::fs::write(&file, lines).unwrap();
    run(world, command.arg(file)).lines().map(str::to_owned).collect()
}

#[test]
fn psql_logs_in_as_it_does_at_postgres() {
    compare(|_, lines| {
        let psql = |line: &str| {
            let settings: Vec<_> = line.split('\t').collect();
            let [host, port, database, user, password, mode, root, cert, key] = settings[..] else {
                panic!("{line}")
            };
            let or_none =
                |path: &str| if path.is_empty() { "/nonexistent" } else { path }.to_owned();
            let mut command = Command::new(postgres_program("psql"));
            command.args([
                "-X",
                "-A",
                "-t",
                "-w",
                "-c",
                "SELECT 'let ' || 'in'",
                "-h",
                host,
                "-p",
                port,
                "-U",
                user,
                database,
            ]);
            command
                .env("PGSSLMODE", mode)
                .env("PGSSLROOTCERT", root)
                .env("PGSSLCERT", or_none(cert));
            command
                .env("PGSSLKEY", or_none(key))
                .env("PGPASSWORD", password)
                .env("PGPASSFILE", "/nonexistent");
            let output = command.env("PGGSSENCMODE", "disable").output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ")
        };
        lines.lines().map(psql).collect()
    });
}

#[test]
fn psycopg_logs_in_as_it_does_at_postgres() {
    compare(|place, lines| program(place, lines, &mut super::python("python/logins.py")));
}

#[test]
fn node_postgres_logs_in_as_it_does_at_postgres() {
    let folder = root().join("tests/clients/node");
    installed(folder.join("node_modules/pg"));
    compare(|place, lines| {
        program(place, lines, Command::new("node").arg(folder.join("logins.js")))
    });
}

#[test]
fn pgjdbc_logs_in_as_it_does_at_postgres() {
    let driver = installed("/usr/share/java/postgresql.jar".into());
    let source = root().join("tests/clients/jdbc/Logins.java");
    compare(|place, lines| {
        program(place, lines, Command::new("java").arg("--class-path").arg(&driver).arg(&source))
    });
}

/// What tokio-postgres says of a login. It always looks whether a certificate is good: there is no `require` here.
async fn by_tokio_postgres(attempt: &[&str], authority: &Authority) -> String {
    let [host, port, database, user, password, mode, _, cert, key] = attempt[..] else {
        panic!("{attempt:?}")
    };
    let mut config = tokio_postgres::Config::new();
    config.host(host).port(port.parse().unwrap()).dbname(database).user(user).password(password);
    let connected = match mode {
        "disable" => config.ssl_mode(SslMode::Disable).connect(NoTls).await.map(|(client, run)| {
            tokio::spawn(run);
            client
        }),
        "prefer" | "verify-full" => {
            let own = Papers { cert: cert.into(), key: key.into() };
            let own = (!cert.is_empty()).then_some(&own);
            let tls = MakeTls::new(authority.trusting(&[], own));
            let mode = if mode == "prefer" { SslMode::Prefer } else { SslMode::Require };
            config.ssl_mode(mode).connect(tls).await.map(|(client, run)| {
                tokio::spawn(run);
                client
            })
        }
        _ => return "not tried".to_owned(),
    };
    let answer = match connected {
        Ok(client) => client.query_one("SELECT 1", &[]).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(row) if row.get::<_, i32>(0) == 1 => "let in".to_owned(),
        Ok(_) => "a wrong answer".to_owned(),
        Err(error) => match error.as_db_error() {
            Some(said) => format!("FATAL: {}", said.message()),
            None => error.to_string(),
        },
    }
}

#[test]
fn tokio_postgres_logs_in_as_it_does_at_postgres() {
    compare(|place, lines| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let log_in = |line: &str| {
            let attempt: Vec<_> = line.split('\t').collect();
            runtime.block_on(by_tokio_postgres(&attempt, &place.authority))
        };
        lines.lines().map(log_in).collect()
    });
}
