//! PgBouncer's settings that this program does not have, each with what to do instead.

use self::Foreign::{NotNeeded, Refused};

/// What becomes of a PgBouncer setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    /// Accepted with a warning: what it is for is had without it.
    NotNeeded(&'static str),
    /// Refused: what it asks for would not happen.
    Refused(&'static str),
}

/// Looks up a name that is none of this program's keys.
pub(super) fn find(name: &str) -> Option<Foreign> {
    if let Some((_, fate)) = BY_NAME.iter().find(|(known, _)| *known == name) {
        return Some(*fate);
    }
    let (_, fate) = BY_PREFIX.iter().find(|(prefix, _)| name.starts_with(prefix))?;
    Some(*fate)
}

const OWN_CIPHERS: Foreign =
    Refused("ciphers and curves are not chosen: only those that are safe are offered");
const NO_LDAP: Foreign =
    Refused("users come from [users], auth_file, auth_query or auth_type = \"passthrough\"");
const NO_CONSOLE: Foreign =
    Refused("there is no SQL console; admin_listen in [admin] serves the HTTP API");
const NO_FILE_LOG: Foreign = Refused("the log goes to standard error; see [log]");
const NO_DNS: Foreign = Refused("names are resolved at each connect, as the system does it");
const NO_BUFFER: Foreign = Refused("buffers have fixed sizes here");
const NO_PEERS: Foreign = Refused("one process uses every core; see workers in [general]");
const BY_CLIENT: Foreign =
    Refused("clients set it at login; for all of them use ALTER DATABASE ... SET");
const NO_RESET_QUERY: Foreign =
    Refused("what a client left is undone as needed; see server_reset in [pool]");
const NO_EMPTYING: Foreign = Refused("unused pools go by themselves, unless they are configured");
const EVERY_PARAMETER: Foreign = NotNeeded("every startup parameter is honoured");

const BY_PREFIX: &[(&str, Foreign)] = &[("auth_ldap", NO_LDAP)];

const BY_NAME: &[(&str, Foreign)] = &[
    ("ignore_startup_parameters", EVERY_PARAMETER),
    ("track_extra_parameters", EVERY_PARAMETER),
    ("client_tls_ciphers", OWN_CIPHERS),
    ("client_tls13_ciphers", OWN_CIPHERS),
    ("client_tls_dheparams", OWN_CIPHERS),
    ("client_tls_ecdhcurve", OWN_CIPHERS),
    ("server_tls_ciphers", OWN_CIPHERS),
    ("server_tls13_ciphers", OWN_CIPHERS),
    ("scram_iterations", Refused("plain secrets get Postgres' own 4096 iterations")),
    ("admin_users", NO_CONSOLE),
    ("stats_users", NO_CONSOLE),
    ("server_reset_query", NO_RESET_QUERY),
    ("server_reset_query_always", NO_RESET_QUERY),
    (
        "server_round_robin",
        Refused("the server used last is used next, which keeps its caches warm"),
    ),
    (
        "server_login_retry",
        Refused("an unreachable Postgres is tried again with a growing delay, from 100ms"),
    ),
    ("server_fast_close", Refused("a server that is still in use is never closed")),
    ("connect_query", Refused("set it in Postgres: ALTER ROLE ... SET or ALTER DATABASE ... SET")),
    ("load_balance_hosts", Refused("a database has one host")),
    ("reserve_pool", Refused("write reserve_pool_size")),
    ("pool_idle_timeout", NO_EMPTYING),
    ("autodb_idle_timeout", NO_EMPTYING),
    ("disable_pqexec", Refused("the simple protocol cannot be forbidden")),
    ("application_name_add_host", Refused("/clients of the HTTP API shows each client's address")),
    (
        "max_packet_size",
        Refused("large messages are passed on in pieces, so their size needs no limit"),
    ),
    (
        "query_wait_notify",
        Refused("waiting clients are not notified; /pools of the HTTP API shows them"),
    ),
    ("login_notify_message", Refused("no message is sent at login")),
    ("suspend_timeout", NO_CONSOLE),
    ("unix_socket_group", Refused("set the group on the folder unix_socket_dir (chmod g+s)")),
    ("so_reuseport", NO_PEERS),
    ("peer_id", NO_PEERS),
    ("peers", NO_PEERS),
    ("user", Refused("start the program as the user it shall run as")),
    ("pidfile", Refused("run it under systemd or a container; it stays in the foreground")),
    ("conffile", Refused("use --config")),
    ("job_name", NO_FILE_LOG),
    ("service_name", NO_FILE_LOG),
    ("tcp_defer_accept", NO_BUFFER),
    ("tcp_socket_buffer", NO_BUFFER),
    ("pkt_buf", NO_BUFFER),
    ("sbuf_loopcnt", NO_BUFFER),
    ("dns_max_ttl", NO_DNS),
    ("dns_nxdomain_ttl", NO_DNS),
    ("dns_zone_check_period", NO_DNS),
    ("resolv_conf", NO_DNS),
    ("logfile", NO_FILE_LOG),
    ("log_pooler_errors", Refused("set the level instead: level in [log]")),
    ("log_stats", Refused("/metrics of the HTTP API has the statistics")),
    (
        "stats_period",
        Refused(
            "/metrics of the HTTP API has totals and histograms; the reader chooses the period",
        ),
    ),
    ("verbose", Refused("set the level instead: level in [log]")),
    ("syslog", NO_FILE_LOG),
    ("syslog_ident", NO_FILE_LOG),
    ("syslog_facility", NO_FILE_LOG),
    ("client_encoding", BY_CLIENT),
    ("datestyle", BY_CLIENT),
    ("timezone", BY_CLIENT),
    ("application_name", BY_CLIENT),
];
