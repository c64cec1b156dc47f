//! Rules in the form of `pg_hba.conf`: the pooler lets in and refuses as Postgres does by the same file.

use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;

use crate::support::{
    Address, Age, Authority, Cluster, Login, RawClient, Scenario, World, speak_tls,
};

const RULES: &str = r#"
# Each user meets rules of one kind.
local   all          other                      peer map=people
local   all          md5_user                   md5
local   all          clear_user                 reject
host    nowhere      all        all             trust
host    all          trust_user 127.0.0.1/32    trust
host    all          trust_user 0.0.0.0/0       reject
hostssl all          other      127.0.0.0 255.0.0.0 cert
hostnossl all        other      samehost        reject
hostssl sameuser     app        samenet         trust
hostssl all          app        samenet         scram-sha-256 clientcert=verify-full
hostnossl all        app        10.0.0.0/8      trust
hostnossl all,"all" app     \
        all                                     scram-sha-256
host    all          md5_user   ::1/128         trust
host    all          md5_user   all             md5
hostssl all          clear_user all             password clientcert=verify-ca
hostssl all          mapped     all             cert map=papers
"#;

/// `PEOPLE` is who runs the tests.
const MAPS: &str = r"
people  PEOPLE          other
papers  /^(.*)@example  \1
papers  nobody          mapped
papers  /^$             mapped
";

/// What came of a login: `let in`, or Postgres' code and words.
fn outcome(login: &Login, tls: Option<&Arc<ClientConfig>>) -> String {
    let mut client = RawClient::connect(&login.address);
    if let Some(config) = tls
        && let Err(error) = client.start_tls(Arc::clone(config), "localhost")
    {
        return format!("TLS: {error}");
    }
    match client.log_in_here(login) {
        Ok(()) => "let in".to_owned(),
        Err(error) => format!("{} {} {}", error.severity, error.sqlstate, error.message),
    }
}

struct Place {
    authority: Authority,
    world: World,
}

/// Rules and maps in force on both sides.
fn place() -> Place {
    let (authority, cluster) = (Authority::new(), Cluster::start());
    let me = rustix::process::geteuid();
    let me = nix::unistd::User::from_uid(me.as_raw().into()).unwrap().unwrap().name;
    let maps = MAPS.replace("PEOPLE", &me);
    let mut superuser = cluster.superuser("postgres");
    superuser.query("CREATE ROLE mapped LOGIN");
    let papers = authority.local();
    speak_tls(&cluster, &authority, &papers, |settings| {
        cluster.let_in_by(settings, RULES, &maps);
    });
    let folder = cluster.folder().to_str().unwrap().to_owned();
    let write = |name: &str, text: &str| {
        let path = cluster.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (rules, maps) = (write("rules", RULES), write("maps", &maps));
    let scenario = Scenario::on_cluster(cluster)
        .set("auth.auth_hba_file", rules)
        .set("auth.auth_ident_file", maps)
        .set("tls.client_tls_sslmode", "prefer")
        .set("tls.client_tls_cert_file", papers.cert.to_str().unwrap())
        .set("tls.client_tls_key_file", papers.key.to_str().unwrap())
        .set("tls.client_tls_ca_file", authority.file().to_str().unwrap())
        .set("users.md5_user.password", "md5_secret")
        .set("users.clear_user.password", "clear_secret");
    // The servers' own logins are met by a rule of the cluster's alone.
    let scenario = scenario.set_database("host", folder);
    let scenario = scenario.set_database("user", "app").set_database("password", "app_secret");
    Place { authority, world: scenario.start() }
}

#[test]
fn everybody_is_let_in_or_refused_as_by_postgres() {
    let Place { authority, world } = place();
    let papers = |user: &str| Some(authority.client(user, Age::Current));
    let ways: Vec<_> = [None, papers("app"), papers("other"), papers("mapped@example"), papers("")]
        .iter()
        .map(|own| Some(authority.trusting(&["postgresql"], own.as_ref())))
        .chain([None])
        .collect();
    let postgres = |address: &Address| match address {
        Address::Tcp(_) => world.cluster().tcp(),
        Address::Unix(_) => world.direct_login().address,
    };
    let mut seen = std::collections::BTreeSet::new();
    for (user, password) in [
        ("app", "app_secret"),
        ("other", "other_secret"),
        ("md5_user", "md5_secret"),
        ("clear_user", "clear_secret"),
        ("trust_user", ""),
        ("mapped", ""),
        ("nobody_known", "x"),
    ] {
        for password in [password, "wrong"] {
            for address in [world.pooler.address(), world.pooler.socket()] {
                for way in &ways {
                    let local = matches!(address, Address::Unix(_));
                    // What the tests themselves need is not a rule of the pooler's.
                    if local && (way.is_some() || user == "app") {
                        continue;
                    }
                    let login = Login::new(address.clone(), &world.database, user, password);
                    let direct = Login { address: postgres(&address), ..login.clone() };
                    let expected = outcome(&direct, way.as_ref());
                    let found = outcome(&login, way.as_ref());
                    assert_eq!(found, expected, "{user} {password} {address:?} {}", way.is_some());
                    seen.insert(expected);
                }
            }
        }
    }
    // It was not all the same.
    for kind in [
        "let in",
        "no pg_hba.conf entry",
        "pg_hba.conf rejects",
        "password",
        "valid client",
        "certificate auth",
    ] {
        assert!(seen.iter().any(|outcome| outcome.contains(kind)), "{kind}: {seen:#?}");
    }
}

#[test]
fn a_reload_takes_new_rules_and_refuses_faulty_ones() {
    let scenario = Scenario::new();
    let rules = scenario.cluster().folder().join(format!("rules_{}", scenario.database()));
    std::fs::write(&rules, "host all all all scram-sha-256\n").unwrap();
    let mut world = scenario.set("auth.auth_hba_file", rules.to_str().unwrap()).start();
    let tried = |world: &World| {
        RawClient::try_login(&world.login()).map(drop).map_err(|error| error.message)
    };
    assert_eq!(tried(&world), Ok(()));
    std::fs::write(&rules, "host all app all reject\n").unwrap();
    world.pooler.reload(|_| {});
    world.pooler.wait_for_log("the configuration is reloaded");
    assert!(tried(&world).unwrap_err().starts_with("pg_hba.conf rejects connection for host"));
    world.pooler.wait_for_log(&format!("rejected by {}:1", rules.display()));
    std::fs::write(&rules, "host all all all trust\nhost all all all sesame\n").unwrap();
    world.pooler.reload(|_| {});
    world.pooler.wait_for_log(&format!("{}:2: \"sesame\" is none of", rules.display()));
    assert!(tried(&world).is_err(), "the old rules go on");
}

#[test]
fn peer_and_cert_need_no_rules() {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    let authority = AUTHORITY.get_or_init(Authority::new);
    let world = Scenario::new().set("auth.auth_type", "peer").start();
    let mut login = world.login();
    assert_eq!(
        outcome(&login, None),
        "FATAL 28000 Peer authentication failed for user \"app\"",
        "by TCP nobody is known"
    );
    login.address = world.pooler.socket();
    assert_eq!(outcome(&login, None), "FATAL 28000 Peer authentication failed for user \"app\"");

    let papers = authority.local();
    let world = Scenario::new()
        .set("auth.auth_type", "cert")
        .set("tls.client_tls_sslmode", "allow")
        .set("tls.client_tls_cert_file", papers.cert.to_str().unwrap())
        .set("tls.client_tls_key_file", papers.key.to_str().unwrap())
        .set("tls.client_tls_ca_file", authority.file().to_str().unwrap())
        .start();
    let by = |own: Option<&str>| {
        let own = own.map(|user| authority.client(user, Age::Current));
        outcome(&world.login(), Some(&authority.trusting(&["postgresql"], own.as_ref())))
    };
    assert_eq!(by(Some("app")), "let in");
    assert!(by(Some("other")).contains("certificate authentication failed for user \"app\""));
    assert!(by(None).contains("connection requires a valid client certificate"));
    assert!(outcome(&world.login(), None).contains("requires a valid client certificate"));
}
