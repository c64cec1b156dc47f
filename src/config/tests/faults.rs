//! What is refused, and in what words.

use super::super::settings::TABLES;
use super::super::{Config, MAX_CONFIG_BYTES};
use super::{fault, faults, toml, variables};

#[test]
fn every_fault_is_reported_at_once_and_in_order() {
    let text = r#"
        defualt_pool_size = 5
        [pool]
        defualt_pool_size = 5
        min_pool_size = "few"
        pool_mode = "sesion"
        [polo]
        [timeouts]
        query_timeout = "soon"
        [databases.shop]
        prot = 5432
    "#;
    let found = faults(text, &[("POOLER__LISTEN__LISTEN_PORT", "70000")]);
    let expected = [
        "pooler.toml: databases.shop.prot: unknown key; did you mean port?",
        "pooler.toml: defualt_pool_size: unknown key; did you mean pool.default_pool_size?",
        "pooler.toml: polo: unknown table; did you mean pool?",
        "pooler.toml: pool.defualt_pool_size: unknown key; did you mean default_pool_size?",
        "pooler.toml: pool.min_pool_size: expected a whole number, found text",
        "pooler.toml: pool.pool_mode: \"sesion\" is none of: transaction, session, statement",
        "pooler.toml: timeouts.query_timeout: \"soon\" is not a duration such as 500ms, 30s, 5m, 1h or 1d: expected a number with a unit",
        "POOLER__LISTEN__LISTEN_PORT: 70000 is out of range: 0 to 65535",
    ];
    assert_eq!(found, expected);
}

#[test]
fn numbers_switches_and_durations_say_what_they_expect() {
    check_lines(&[
        ("pool.default_pool_size = 1.5", "expected a whole number, found a number with a fraction"),
        ("pool.default_pool_size = true", "expected a whole number, found true or false"),
        ("pool.default_pool_size = [1]", "expected a whole number, found a list"),
        ("pool.default_pool_size = { a = 1 }", "expected a single value, found a table"),
        ("pool.default_pool_size = -1", "-1 is out of range: 0 to 10000000"),
        ("pool.max_concurrent_connects = 0", "0 is out of range: 1 to 1000"),
        ("limits.max_client_conn = 0", "0 is out of range: 1 to 10000000"),
        ("databases.shop.port = 0", "0 is out of range: 1 to 65535"),
        ("server.tcp_keepcnt = 128", "128 is out of range: 0 to 127"),
        ("server.tcp_keepidle = \"10ms\"", "\"10ms\" is out of range: 1s to 32767s"),
        ("server.tcp_keepalive = 2", "expected true or false, found a whole number"),
        ("server.tcp_keepalive = \"yes\"", "expected true or false, found text"),
        (
            "timeouts.query_timeout = true",
            "expected a duration such as \"30s\", found true or false",
        ),
        (
            "timeouts.query_timeout = -1",
            "\"-1\" is not a duration such as 500ms, 30s, 5m, 1h or 1d: expected a number with a unit",
        ),
        (
            "timeouts.query_timeout = \"9999d\"",
            "\"9999d\" is not a duration such as 500ms, 30s, 5m, 1h or 1d: longer than 3650d",
        ),
    ]);
}

#[test]
fn words_addresses_and_texts_say_what_they_expect() {
    check_lines(&[
        ("pool.pool_mode = \"nap\"", "\"nap\" is none of: transaction, session, statement"),
        (
            "auth.auth_type = \"gss\"",
            "\"gss\" is none of: trust, plain, md5, scram-sha-256, passthrough, cert, peer, oauth, hba",
        ),
        ("log.format = 1", "expected one of a few words, found a whole number"),
        (
            "log.level = \"infoo\"",
            "\"infoo\" is not a log level such as info, or directives such as info,pooler::pool=debug",
        ),
        (
            "log.level = \"pooler=loud\"",
            "\"pooler=loud\" is not a log level such as info, or directives such as info,pooler::pool=debug",
        ),
        (
            "listen.listen_addr = \"db.example.com\"",
            "\"db.example.com\" is not an IP address, localhost or *",
        ),
        (
            "listen.unix_socket_mode = 0o777",
            "expected a file mode in octal digits, as text, such as \"0770\", found a whole number",
        ),
        ("listen.unix_socket_dir = \"tmp\"", "\"tmp\" is not the absolute path of a folder"),
        (
            "admin.admin_listen = \"0.0.0.0:6433\"",
            "0.0.0.0:6433 is not a loopback address: whoever reaches it could see everything; `pooler token` makes a token that it can ask for",
        ),
        ("databases.shop.host = \"a,b\"", "only one host is possible, not a list"),
        ("databases.shop.dbname = \"\"", "is empty; leave the key out instead"),
        ("databases.shop.dbname = \"a\\u0000b\"", "holds a zero byte"),
        (
            "users.ann.password = 1234",
            "expected a password or a stored secret, found a whole number",
        ),
        ("users.ann.password = \"\"", "is empty; leave the key out instead"),
    ]);
}

/// Each line is a key with a value, and the fault of that value.
fn check_lines(lines: &[(&str, &str)]) {
    for (line, expected) in lines {
        let (key, _) = line.split_once(" = ").unwrap();
        assert_eq!(fault(line), format!("{key}: {expected}"), "{line}");
    }
}

#[test]
fn no_fault_shows_a_secret() {
    for secret in ["\"hunter2\\u0000\"", "[\"hunter2\"]", "{ hunter2 = 1 }"] {
        let shown = fault(&format!("[users.ann]\npassword = {secret}"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let url = fault("[databases.shop]\nhost = \"postgres://ann:hunter2@db/shop\"");
    assert_eq!(
        url,
        "databases.shop.host: a URL is not possible; set host, port, dbname, user and password apart"
    );
    let unclosed = fault("[users.ann]\npassword = \"hunter2\nx = 1");
    assert!(unclosed.starts_with("not valid TOML: at line 2, column"), "{unclosed}");
    assert!(!unclosed.contains("hunter2"), "{unclosed}");
}

#[test]
fn a_known_key_in_the_wrong_table_is_shown_its_place() {
    assert_eq!(
        fault("[pool]\nmax_client_conn = 1"),
        "pool.max_client_conn: unknown key; it is limits.max_client_conn here"
    );
    assert_eq!(fault("listen_port = 1"), "listen_port: unknown key; it is listen.listen_port here");
    assert_eq!(
        fault("[databases.shop]\nserver_reset = \"auto\""),
        "databases.shop.server_reset: unknown key; it is pool.server_reset here"
    );
    assert_eq!(fault("[pool]\ncolour = 1"), "pool.colour: unknown key");
    assert_eq!(
        fault("[limits]\nquery_timeuot = 1"),
        "limits.query_timeuot: unknown key; did you mean timeouts.query_timeout?"
    );
}

#[test]
fn pgbouncers_table_is_taken_apart_key_by_key() {
    let text = "[pgbouncer]\nlisten_port = 1\nauth_query = \"x\"\nfoo = 1\n[databases]\nshop = \"host=a dbname=b\"";
    let expected = [
        "pooler.toml: databases.shop: expected a table of keys such as { pool_size = 5 }, found text",
        "pooler.toml: pgbouncer.auth_query: unknown key; it is auth.auth_query or databases.NAME.auth_query here",
        "pooler.toml: pgbouncer.foo: unknown key",
        "pooler.toml: pgbouncer.listen_port: unknown key; it is listen.listen_port here",
    ];
    assert_eq!(faults(text, &[]), expected);
}

#[test]
fn who_asks_for_secrets_behind_the_fallback_says_where() {
    let shown = fault("[auth]\nauth_user = \"asker\"\n[databases.\"*\"]\nhost = \"db\"");
    assert_eq!(
        shown,
        "auth.auth_user: the databases behind \"*\" need auth_dbname, which says where auth_user asks"
    );
}

#[test]
fn a_pgbouncer_setting_says_what_serves_instead() {
    for (line, start) in [
        ("server.server_reset_query = \"DISCARD ALL\"", "what a client left"),
        ("databases.shop.reserve_pool = 1", "write reserve_pool_size"),
        ("tls.client_tls_ciphers = \"HIGH\"", "ciphers and curves are not chosen"),
        ("log.stats_period = 60", "/metrics of the HTTP API"),
        ("general.user = \"postgres\"", "start the program as the user"),
    ] {
        let shown = fault(line);
        let advice = shown.split_once(": a PgBouncer setting that is not here: ").unwrap().1;
        assert!(advice.starts_with(start), "{shown}");
    }
}

#[test]
fn what_is_not_needed_is_accepted_with_a_warning() {
    let config = toml(
        "ignore_startup_parameters = \"extra_float_digits\"\n[pool]\ntrack_extra_parameters = \"search_path\"",
    );
    let shown: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 2, "{shown:?}");
    for warning in shown {
        assert!(
            warning.ends_with(": not needed: every startup parameter is honoured"),
            "{warning}"
        );
    }
}

#[test]
fn a_table_that_is_none_is_refused_once() {
    assert_eq!(fault("pool = 5"), "pool: expected a table of keys, found a whole number");
    assert_eq!(fault("[[pool]]\nx = 1"), "pool: expected a table of keys, found a list");
    assert_eq!(fault("databases = 5"), "databases: expected a table of keys, found a whole number");
    assert_eq!(
        fault("[databases]\nhost = \"a\""),
        "databases.host: expected a table of keys such as { pool_size = 5 }, found text"
    );
}

#[test]
fn a_name_may_be_neither_reserved_nor_empty() {
    assert_eq!(fault("[databases.pgbouncer]"), "databases.pgbouncer: the name is reserved");
    assert_eq!(fault("[databases.pooler]"), "databases.pooler: the name is reserved");
    assert_eq!(fault("[users.\"\"]"), "users.\"\": the name is empty");
    assert_eq!(fault("[databases.\"a\\u0000\"]"), "databases.\"a\\u0000\": holds a zero byte");
    toml("[users.pgbouncer]");
    assert_eq!(fault("[\"databases.NAME\"]"), "\"databases.NAME\": unknown table");
}

#[test]
fn values_that_do_not_fit_together_are_refused_where_they_are_written() {
    for (text, expected) in [
        (
            "[listen]\nlisten_addr = \"\"",
            "listen.listen_addr: nothing to listen on: both listen_addr and unix_socket_dir are empty",
        ),
        (
            "[pool]\nmin_pool_size = 21",
            "pool.min_pool_size: min_pool_size 21 is more than the pool size 20",
        ),
        (
            "[pool]\nmin_pool_size = 5\n[databases.shop]\npool_size = 3",
            "databases.shop.pool_size: min_pool_size 5 is more than the pool size 3",
        ),
        (
            "[databases.shop]\npassword = \"x\"",
            "databases.shop.password: needs a user beside it, whose password it is",
        ),
        (
            "[listen]\nlisten_port = 6433",
            "listen.listen_port: 127.0.0.1:6433 is where clients connect too (listen_addr, listen_port)",
        ),
        (
            "[listen]\nlisten_port = 5432",
            "listen.listen_port: with this port it leads back to this pooler itself",
        ),
        (
            "[databases.shop]\nhost = \"localhost\"\nport = 6432",
            "databases.shop.port: with this port it leads back to this pooler itself",
        ),
        (
            "[listen]\nunix_socket_dir = \"/tmp\"\nlisten_addr = \"\"\n[databases.shop]\nhost = \"/tmp\"\nport = 6432",
            "databases.shop.port: with this port it leads back to this pooler itself",
        ),
    ] {
        assert_eq!(fault(text), expected, "{text}");
    }
}

#[test]
fn values_that_only_look_like_a_conflict_are_accepted() {
    for text in [
        "[listen]\nlisten_addr = \"\"\nunix_socket_dir = \"/tmp\"",
        "[listen]\nlisten_addr = \"::1\"\nlisten_port = 6433",
        "[listen]\nlisten_port = 0\n[admin]\nadmin_listen = \"127.0.0.1:0\"",
        "[listen]\nlisten_addr = \"10.0.0.1\"\n[databases.shop]\nport = 6432",
        "[databases.shop]\nhost = \"db.example.com\"\nport = 6432",
        "[listen]\nlisten_addr = \"*\"\n[databases.shop]\nhost = \"10.0.0.5\"\nport = 6432",
        "[pool]\ndefault_pool_size = 0\nmin_pool_size = 100",
        "[databases.shop]\nuser = \"owner\"",
    ] {
        toml(text);
    }
}

#[test]
fn a_faulty_value_causes_no_second_fault() {
    assert_eq!(
        fault("[pool]\ndefault_pool_size = \"many\"\nmin_pool_size = 50"),
        "pool.default_pool_size: expected a whole number, found text"
    );
}

#[test]
fn a_file_that_is_missing_huge_or_no_text_is_refused() {
    assert_eq!(faults([0xff, 0xfe], &[]), ["pooler.toml: not UTF-8 text"]);
    let huge = vec![b'\n'; MAX_CONFIG_BYTES as usize + 1];
    assert_eq!(faults(huge, &[]), ["pooler.toml: larger than 10485760 bytes"]);
    let missing = Config::load(Some("/nonexistent/p.toml".as_ref()), &variables(&[]));
    assert_eq!(
        missing.unwrap_err().to_string(),
        "/nonexistent/p.toml: cannot be read: entity not found"
    );
    let twice = fault("[pool]\nmin_pool_size = 1\nmin_pool_size = 2");
    assert!(twice.starts_with("not valid TOML: at line 3"), "{twice}");
}

#[test]
fn every_key_is_said_in_a_sentence() {
    let keys: Vec<_> = TABLES.iter().flat_map(|table| table.keys).collect();
    assert!(keys.len() > 60, "{}", keys.len());
    for key in keys {
        assert!(key.about().len() > 10 && key.about().ends_with('.'), "{}", key.path);
        assert_eq!(key.path, format!("{}.{}", key.table, key.name));
    }
}

#[test]
fn a_deeply_nested_file_is_a_fault_and_no_crash() {
    for text in [
        format!("x = {}", "[".repeat(100_000)),
        format!("{}x = 1", "x.".repeat(100_000)),
        format!("x = {}1{}", "{ x = ".repeat(100_000), "}".repeat(100_000)),
    ] {
        assert_eq!(faults(text, &[]).len(), 1);
    }
}
