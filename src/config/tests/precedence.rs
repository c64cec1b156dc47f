//! Which of user, database and global setting holds: PgBouncer's order.

use std::time::Duration;

use super::super::{ClientLimits, ClientTimeouts, Config};
use super::toml;

/// Values that tell where they are from: the hundreds digit is 1 for global, 2 for a database, 3 for the
/// login user, 4 for the forced server user.
const EVERYWHERE: &str = r#"
[pool]
default_pool_size = 101
min_pool_size = 10
reserve_pool_size = 103
max_db_connections = 104
max_user_connections = 105
[limits]
max_db_client_connections = 106
max_user_client_connections = 107
[timeouts]
query_wait_timeout = 108
query_timeout = 109
idle_transaction_timeout = 110
transaction_timeout = 111
client_idle_timeout = 112
[server]
server_lifetime = 113
[databases.bare]
[databases.full]
pool_size = 201
min_pool_size = 20
reserve_pool_size = 203
max_db_connections = 204
max_db_client_connections = 206
query_wait_timeout = 208
server_lifetime = 213
[databases.forced]
user = "owner"
[users.none]
[users.ann]
pool_size = 301
reserve_pool_size = 303
max_user_connections = 305
max_user_client_connections = 307
query_wait_timeout = 308
query_timeout = 309
idle_transaction_timeout = 310
transaction_timeout = 311
client_idle_timeout = 312
[users.owner]
pool_size = 401
reserve_pool_size = 403
max_user_connections = 405
max_user_client_connections = 407
query_wait_timeout = 408
query_timeout = 409
idle_transaction_timeout = 410
transaction_timeout = 411
client_idle_timeout = 412
"#;

/// pool_size, min_pool_size, reserve_pool_size, max_db_connections, max_user_connections, server_lifetime.
fn pool(config: &Config, database: &str, user: &str) -> [u64; 6] {
    let limits = config.pool_limits(database, user).unwrap();
    let lifetime = limits.server_lifetime.map_or(0, |lifetime| lifetime.as_secs());
    [
        limits.pool_size.into(),
        limits.min_pool_size.into(),
        limits.reserve_pool_size.into(),
        limits.max_db_connections.into(),
        limits.max_user_connections.into(),
        lifetime,
    ]
}

/// query_wait, query, idle_transaction, transaction, client_idle.
fn timeouts(config: &Config, database: &str, user: &str) -> [u64; 5] {
    let ClientTimeouts { query_wait, query, idle_transaction, transaction, client_idle } =
        config.client_timeouts(database, user);
    [query_wait, query, idle_transaction, transaction, client_idle]
        .map(|timeout| timeout.map_or(0, |timeout| timeout.as_secs()))
}

fn clients(config: &Config, database: &str, user: &str) -> [u32; 2] {
    let ClientLimits { max_db_client_connections, max_user_client_connections } =
        config.client_limits(database, user);
    [max_db_client_connections, max_user_client_connections]
}

#[test]
fn user_wins_over_database_over_global() {
    let config = toml(EVERYWHERE);
    for unset in ["none", "unknown"] {
        assert_eq!(pool(&config, "bare", unset), [101, 10, 103, 104, 105, 113]);
        assert_eq!(pool(&config, "full", unset), [201, 20, 203, 204, 105, 213]);
        assert_eq!(timeouts(&config, "bare", unset), [108, 109, 110, 111, 112]);
        assert_eq!(timeouts(&config, "full", unset), [208, 109, 110, 111, 112]);
        assert_eq!(clients(&config, "bare", unset), [106, 107]);
        assert_eq!(clients(&config, "full", unset), [206, 107]);
    }
    assert_eq!(pool(&config, "bare", "ann"), [301, 10, 303, 104, 305, 113]);
    assert_eq!(pool(&config, "full", "ann"), [301, 20, 303, 204, 305, 213]);
    assert_eq!(timeouts(&config, "full", "ann"), [308, 309, 310, 311, 312]);
    assert_eq!(clients(&config, "full", "ann"), [206, 307]);
}

#[test]
fn a_forced_user_sets_sizes_and_query_timeouts_the_login_user_the_rest() {
    let config = toml(EVERYWHERE);
    assert_eq!(pool(&config, "forced", "ann"), [401, 10, 403, 104, 405, 113]);
    assert_eq!(timeouts(&config, "forced", "ann"), [308, 409, 410, 411, 312]);
    assert_eq!(clients(&config, "forced", "ann"), [106, 307]);
    assert_eq!(timeouts(&config, "forced", "none"), [108, 409, 410, 411, 112]);
}

#[test]
fn a_timeout_can_be_switched_off_for_one_user_or_database() {
    let config = toml(
        r#"
        [timeouts]
        query_wait_timeout = 108
        query_timeout = 109
        [databases.shop]
        query_wait_timeout = "0"
        server_lifetime = "off"
        [users.ann]
        query_timeout = "off"
        [users.bob]
        query_wait_timeout = 308
        "#,
    );
    assert_eq!(timeouts(&config, "shop", "ann")[..2], [0, 0]);
    assert_eq!(timeouts(&config, "shop", "bob")[..2], [308, 109]);
    assert_eq!(config.pool_limits("shop", "ann").unwrap().server_lifetime, None);
}

#[test]
fn zero_is_no_limit() {
    let config = toml(
        "[users.ann]\npool_size = 0\n[databases.shop]\nmax_db_connections = 0\n[pool]\nmax_db_connections = 5",
    );
    let limits = config.pool_limits("shop", "ann").unwrap();
    assert_eq!((limits.pool_size, limits.max_db_connections), (u32::MAX, u32::MAX));
    assert_eq!(clients(&config, "shop", "ann"), [u32::MAX, u32::MAX]);
}

#[test]
fn a_small_pool_of_a_user_keeps_no_more_servers_than_it_may_have() {
    let config = toml("[pool]\nmin_pool_size = 10\n[users.ann]\npool_size = 3");
    assert_eq!(config.pool_limits("any", "ann").unwrap().min_pool_size, 3);
    assert_eq!(config.pool_limits("any", "bob").unwrap().min_pool_size, 10);
}

#[test]
fn no_reserve_timeout_is_no_reserve() {
    let of = |timeout: &str| {
        let text = format!("[pool]\nreserve_pool_size = 5\nreserve_pool_timeout = {timeout}");
        let limits = toml(&text).pool_limits("any", "ann").unwrap();
        (limits.reserve_pool_size, limits.reserve_pool_timeout)
    };
    assert_eq!(of("3"), (5, Duration::from_secs(3)));
    assert_eq!(of("0"), (0, Duration::ZERO));
}

#[test]
fn a_database_that_nothing_serves_has_no_pool() {
    let config = toml("[databases.shop]");
    assert_eq!(config.pool_limits("other", "ann"), None);
    assert_eq!(timeouts(&config, "other", "ann")[0], 120);
    assert_eq!(clients(&config, "other", "ann"), [u32::MAX; 2]);
}

#[test]
fn a_database_says_itself_who_is_asked_for_secrets_and_where() {
    let config = toml(
        "[auth]\nauth_user = \"asker\"\nauth_dbname = \"postgres\"\nauth_query = \"q\"\n\
         [databases.shop]\nauth_user = \"other\"\nauth_dbname = \"\"\ndbname = \"shop_v2\"\n\
         [databases.crm]\nauth_user = \"\"\n[databases.\"*\"]\nauth_query = \"own\"",
    );
    let asked = |name| {
        let query = config.auth_query(name);
        query.map(|query| (query.name.to_owned(), query.user, query.dbname, query.sql))
    };
    assert_eq!(asked("shop"), Some(("shop".to_owned(), "other", "shop_v2", "q")));
    assert_eq!(asked("crm"), None);
    assert_eq!(asked("any"), Some(("*".to_owned(), "asker", "postgres", "own")));
}
