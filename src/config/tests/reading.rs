//! What is read, what is shown, and that the one gives the other back.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::super::table::{Scope, Settings};
use super::super::{
    AuthType, Config, Database, FALLBACK, Host, LogFormat, MASK, PoolMode, User, Warning,
};
use super::{Folder, env, toml};

fn second(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[test]
fn every_default_of_a_database_and_a_user_can_be_read() {
    fn check<S: Settings>(keys: &mut usize) {
        let mut faults = Vec::new();
        let read = S::read(&mut Scope { path: String::new(), values: None, faults: &mut faults });
        assert_eq!((read.show().len(), faults.len()), (S::KEYS.len(), 0));
        *keys += S::KEYS.len();
    }
    let mut keys = 0;
    check::<Database>(&mut keys);
    check::<User>(&mut keys);
    assert_eq!(keys, 38);
}

#[test]
fn without_any_configuration_it_serves_the_local_postgres() {
    let config = env(&[]);
    assert_eq!(config, Config::default());
    assert_eq!(config.listen.listen_addr, [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    assert_eq!(config.listen.listen_port, 6432);
    assert_eq!(config.listen.unix_socket_dir, None);
    assert_eq!(config.listen.unix_socket_mode, 0o777);
    assert_eq!(config.admin.admin_listen, ["127.0.0.1:6433".parse().unwrap()]);
    assert_eq!(config.pool.pool_mode, PoolMode::Transaction);
    assert_eq!(config.pool.default_pool_size, 20);
    assert_eq!(config.pool.max_db_connections, u32::MAX);
    assert_eq!(config.limits.max_client_conn, 10_000);
    assert_eq!(config.timeouts.query_wait_timeout, second(120));
    assert_eq!(config.timeouts.query_timeout, None);
    assert_eq!(config.server.server_lifetime, second(3600));
    assert_eq!(config.auth.auth_type, AuthType::Passthrough);
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.databases.keys().collect::<Vec<_>>(), [FALLBACK]);
    let any = config.database("any").unwrap();
    assert_eq!((&any.host, any.port), (&Host::Address(Ipv4Addr::LOCALHOST.into()), 5432));
    assert_eq!(any.server_database("any"), "any");
    assert_eq!((config.users.len(), config.warnings.len()), (0, 0));
}

#[test]
fn a_file_sets_every_sort_of_value() {
    let config = toml(
        r#"
        [listen]
        listen_addr = "127.0.0.1, ::1"
        listen_port = 0
        unix_socket_dir = "/run/pooler"
        unix_socket_mode = "0700"
        [pool]
        default_pool_size = 0
        reserve_pool_timeout = 0.5
        [timeouts]
        query_timeout = 30
        client_login_timeout = "off"
        [server]
        server_check_query = "<empty>"
        tcp_keepalive = 0
        tcp_keepcnt = 3
        tcp_user_timeout = 1500
        [log]
        level = "warn,pooler::pool=debug"
        format = "json"
        [databases.shop]
        host = "/run/postgresql"
        dbname = "shop_live"
        user = "owner"
        password = "hunter2"
        "#,
    );
    assert_eq!(config.listen.listen_addr.len(), 2);
    assert_eq!(config.listen.listen_port, 0);
    assert_eq!(config.listen.unix_socket_dir, Some(PathBuf::from("/run/pooler")));
    assert_eq!(config.listen.unix_socket_mode, 0o700);
    assert_eq!(config.pool.default_pool_size, u32::MAX);
    assert_eq!(config.pool.reserve_pool_timeout, Duration::from_millis(500));
    assert_eq!(config.timeouts.query_timeout, second(30));
    assert_eq!(config.timeouts.client_login_timeout, None);
    assert_eq!(config.server.server_check_query, "");
    assert!(!config.server.tcp_keepalive);
    assert_eq!(config.server.tcp_keepcnt, Some(3));
    assert_eq!(config.server.tcp_keepidle, None);
    assert_eq!(config.server.tcp_user_timeout, Some(Duration::from_millis(1500)));
    assert_eq!(config.log.level, "warn,pooler::pool=debug");
    assert_eq!(config.log.format, LogFormat::Json);
    let shop = config.database("shop").unwrap();
    assert_eq!(shop.host, Host::Socket("/run/postgresql".into()));
    assert_eq!(shop.server_database("shop"), "shop_live");
    assert_eq!(shop.server_user("ann"), "owner");
    assert_eq!(shop.password.as_ref().map(|secret| secret.expose()), Some("hunter2"));
}

#[test]
fn zero_and_off_differ_where_pgbouncer_gives_zero_a_meaning() {
    let read = |value: &str| {
        let server = toml(&format!(
            "[server]\nserver_lifetime = {value}\nserver_check_delay = {value}\nserver_idle_timeout = {value}"
        ))
        .server;
        [server.server_lifetime, server.server_check_delay, server.server_idle_timeout]
    };
    assert_eq!(read("0"), [second(0), second(0), None]);
    assert_eq!(read("\"off\""), [None, None, None]);
    assert_eq!(read("7"), [second(7), second(7), second(7)]);
}

#[test]
fn a_configured_database_takes_the_place_of_the_fallback() {
    let config = toml("[databases.shop]");
    assert!(config.database("shop").is_some());
    assert!(config.database("other").is_none());
    let config = toml("[databases.shop]\n[databases.\"*\"]\nhost = \"other.example\"");
    let other = config.database("other").unwrap();
    assert_eq!(other.host, Host::Name("other.example".to_owned()));
}

#[test]
fn secrets_decide_the_default_of_auth_type() {
    let of = |text| toml(text).auth.auth_type;
    assert_eq!(of(""), AuthType::Passthrough);
    assert_eq!(of("[users.ann]\npool_size = 3"), AuthType::Passthrough);
    assert_eq!(of("[users.ann]\npassword = \"x\""), AuthType::ScramSha256);
    assert_eq!(of("[users.ann]\npassword = \"x\"\n[auth]\nauth_type = \"md5\""), AuthType::Md5);
}

#[test]
fn what_is_shown_reads_back_as_the_same_configuration() {
    let config = toml(
        r#"
        [listen]
        listen_addr = "*"
        unix_socket_mode = "0070"
        [pool]
        max_user_connections = 7
        [server]
        server_lifetime = "off"
        server_check_delay = 0
        server_check_query = "select \"a\\b\"\n"
        tcp_keepidle = 90
        [admin]
        admin_listen = ""
        [auth]
        auth_type = "scram-sha-256"
        [databases."my \"shop\""]
        host = "::1"
        query_wait_timeout = "1500ms"
        [users."ann.b"]
        query_timeout = 0
        pool_size = 0
        "#,
    );
    let shown = config.to_toml();
    assert_eq!(toml(&shown), config, "{shown}");
}

#[test]
fn no_output_shows_a_secret() {
    let config = toml(
        r#"
        [databases.shop]
        user = "owner"
        password = "hunter2"
        [users.ann]
        password = "hunter3"
        "#,
    );
    let shown = format!("{}{config:?}{config:#?}", config.to_toml());
    assert!(!shown.contains("hunter"), "{shown}");
    assert_eq!(shown.matches(MASK).count(), 6);
}

#[test]
fn a_restart_is_needed_for_what_is_bound_or_started_once() {
    let old = Config::default();
    assert_eq!(old.needs_restart(&old), [""; 0]);
    let live = toml(
        "[pool]\ndefault_pool_size = 3\n[users.ann]\n[databases.shop]\n[log]\nlevel = \"debug\"",
    );
    assert_eq!(old.needs_restart(&live), [""; 0]);
    let changed = toml(
        r#"
        [listen]
        listen_addr = "::1"
        listen_port = 1
        listen_backlog = 1
        unix_socket_dir = "/tmp"
        unix_socket_mode = "0700"
        [admin]
        admin_listen = ""
        [log]
        format = "json"
        [general]
        workers = 1
        [databases.added]
        "#,
    );
    let expected = [
        "listen.listen_addr",
        "listen.listen_port",
        "listen.listen_backlog",
        "listen.unix_socket_dir",
        "listen.unix_socket_mode",
        "admin.admin_listen",
        "log.format",
        "general.workers",
    ];
    assert_eq!(old.needs_restart(&changed), expected);
    assert_eq!(changed.needs_restart(&old), expected);
}

#[test]
fn a_file_with_secrets_that_everybody_reads_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let load = |text: &str, mode| {
        let path = folder.write("pooler.toml", text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (Config::load(Some(&path), &Default::default()).unwrap().warnings, path)
    };
    let secret = "[users.ann]\npassword = \"x\"";
    let (warnings, path) = load(secret, 0o644);
    assert_eq!(warnings, [Warning::ReadableByAll(path)]);
    assert_eq!(load(secret, 0o640).0, []);
    assert_eq!(load("[users.ann]\npool_size = 1", 0o644).0, []);
}

#[test]
fn a_login_that_is_open_or_impossible_is_warned_of() {
    let listening = |address: &str, method: &str| {
        let text = format!(
            "[listen]\nlisten_addr = \"{address}\"\n[auth]\nauth_type = \"{method}\"\n[users.ann]\npassword = \"x\""
        );
        toml(&text).warnings
    };
    let network: IpAddr = "10.0.0.1".parse().unwrap();
    assert_eq!(listening("10.0.0.1", "trust"), [Warning::TrustOnNetwork(network)]);
    assert_eq!(listening("::1, 10.0.0.1", "plain"), [Warning::PlainOnNetwork(network)]);
    assert_eq!(
        listening("10.0.0.1", "passthrough"),
        [Warning::RefusedOnNetwork("passthrough", network)]
    );
    assert_eq!(listening("10.0.0.1", "scram-sha-256"), []);
    for method in ["trust", "plain", "md5", "passthrough"] {
        assert_eq!(listening("127.0.0.1, ::1", method), [], "{method}");
    }
    let nobody = toml("[auth]\nauth_type = \"md5\"").warnings;
    assert_eq!(nobody, [Warning::NobodyCanLogIn("md5")]);
    let md5 = format!("[users.ann]\npassword = \"md5{}\"", "0a".repeat(16));
    assert_eq!(toml(&md5).warnings, [Warning::Md5SecretForScram("ann".to_owned())]);
    assert_eq!(toml("[users.ann]\npassword = \"md5sum\"").warnings, []);
}
