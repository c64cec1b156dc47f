//! Settings by environment variables.

use super::super::{AuthType, Host};
use super::{Folder, env, faults};

#[test]
fn a_variable_sets_a_key_from_its_text() {
    let config = env(&[
        ("POOLER__POOL__DEFAULT_POOL_SIZE", "25"),
        ("POOLER__TIMEOUTS__QUERY_TIMEOUT", "30"),
        ("POOLER__SERVER__TCP_KEEPALIVE", "False"),
        ("POOLER__SERVER__SERVER_CHECK_DELAY", "off"),
        ("POOLER__listen__listen_port", "7000"),
        ("POOLER__USERS__ANN__PASSWORD", "1234"),
        ("POOLER_PORT", "tcp://10.0.0.1:6432"),
        ("OTHER__POOL__MIN_POOL_SIZE", "x"),
    ]);
    assert_eq!(config.pool.default_pool_size, 25);
    assert_eq!(config.timeouts.query_timeout, Some(std::time::Duration::from_secs(30)));
    assert!(!config.server.tcp_keepalive);
    assert_eq!(config.server.server_check_delay, None);
    assert_eq!(config.listen.listen_port, 7000);
    assert_eq!(config.users["ann"].password.as_ref().map(|s| s.expose()), Some("1234"));
    assert_eq!(config.auth.auth_type, AuthType::ScramSha256);
}

#[test]
fn a_variable_wins_over_the_file_key_by_key() {
    let text = "[pool]\ndefault_pool_size = 1\nmin_pool_size = 1\n[databases.shop]\nhost = \"a\"\nport = 1";
    let set = [("POOLER__POOL__DEFAULT_POOL_SIZE", "9"), ("POOLER__DATABASES__SHOP__HOST", "b")];
    let config = Folder::new().load(text, &set).unwrap();
    assert_eq!((config.pool.default_pool_size, config.pool.min_pool_size), (9, 1));
    let shop = &config.databases["shop"];
    assert_eq!((&shop.host, shop.port), (&Host::Name("b".to_owned()), 1));
}

#[test]
fn a_name_is_spelled_as_in_the_file_and_else_in_lower_case() {
    let set = [
        ("POOLER__DATABASES__SHOP__PORT", "1"),
        ("POOLER__DATABASES__OTHER_SHOP__PORT", "2"),
        ("POOLER__DATABASES__MY__SHOP__PORT", "3"),
    ];
    let config = Folder::new().load("[databases.Shop]", &set).unwrap();
    let ports: Vec<_> = config.databases.iter().map(|(name, d)| (name.as_str(), d.port)).collect();
    assert_eq!(ports, [("Shop", 1), ("my__shop", 3), ("other_shop", 2)]);
    let two = faults("[databases.Shop]\n[databases.SHOP]", &set[..1]);
    assert_eq!(
        two,
        ["POOLER__DATABASES__SHOP__PORT: fits more than one name in the file; set it there"]
    );
}

#[test]
fn a_database_variable_without_a_name_is_of_the_fallback() {
    for variable in ["POOLER__DATABASES__HOST", "POOLER__DATABASES__*__HOST"] {
        let config = env(&[(variable, "db.example.com")]);
        let any = config.database("any").unwrap();
        assert_eq!(any.host, Host::Name("db.example.com".to_owned()));
    }
}

#[test]
fn a_fault_in_a_variable_names_the_variable() {
    let found = faults(
        "",
        &[
            ("POOLER__DATABASES__PGBOUNCER__HOST", "h"),
            ("POOLER__DATABASES__SHOP__PROT", "1"),
            ("POOLER__LISTEN", "1"),
            ("POOLER__LISTEN__LISTEN_PORT", "http"),
            ("POOLER__LISTEN__listen_port", "1"),
            ("POOLER__POLO__DEFAULT_POOL_SIZE", "1"),
            ("POOLER__POOL__DEFUALT_POOL_SIZE", "1"),
            ("POOLER__POOL__MAX_CLIENT_CONN", "1"),
            ("POOLER__POOL__POOL_SIZE", "1"),
            ("POOLER__POOL__STATS_PERIOD", "1"),
            ("POOLER__USERS__ANN__PASSWORD", ""),
        ],
    );
    let expected = [
        "POOLER__DATABASES__PGBOUNCER__HOST: the name is reserved",
        "POOLER__DATABASES__SHOP__PROT: unknown key; did you mean POOLER__DATABASES__SHOP__PORT?",
        "POOLER__LISTEN: unknown key",
        "POOLER__LISTEN__LISTEN_PORT: expected a whole number, found text",
        "POOLER__LISTEN__listen_port: sets the same key as POOLER__LISTEN__LISTEN_PORT",
        "POOLER__POLO__DEFAULT_POOL_SIZE: unknown table; did you mean pool?",
        "POOLER__POOL__DEFUALT_POOL_SIZE: unknown key; did you mean POOLER__POOL__DEFAULT_POOL_SIZE?",
        "POOLER__POOL__MAX_CLIENT_CONN: unknown key; it is POOLER__LIMITS__MAX_CLIENT_CONN here",
        "POOLER__POOL__POOL_SIZE: unknown key; it is POOLER__DATABASES__NAME__POOL_SIZE or POOLER__USERS__NAME__POOL_SIZE here",
        "POOLER__POOL__STATS_PERIOD: a PgBouncer setting that is not here: /metrics of the HTTP API has totals and histograms; the reader chooses the period",
        "POOLER__USERS__ANN__PASSWORD: is empty; leave the key out instead",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_variable_mends_a_fault_in_the_file() {
    let text = "[pool]\ndefault_pool_size = \"many\"";
    let set = [("POOLER__POOL__DEFAULT_POOL_SIZE", "9")];
    assert_eq!(Folder::new().load(text, &set).map(|c| c.pool.default_pool_size), Ok(9));
}
