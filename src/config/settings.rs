//! Every table and key of the configuration: name, type, default, sentence. How a value is read is its kind's affair.
//!
//! The sentences are the documentation: of the fields here, and of the keys in `pooler.toml.example`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::choices::{AuthType, LogFormat, PinPolicy, PoolMode, ServerReset, Unreadable};
use super::endpoint::{
    AdminAddresses, FileMode, FilePath, Host, HostName, ListenAddresses, SocketFolder,
};
use super::key::Preset::{Flag, Text, Unset, Whole};
use super::kind::{
    Cap, Count, KernelCount, LogDirectives, MOST_CONNECTIONS, Name, NameOrNone, OneOf, Opt, Port,
    Secret, Span, Sql, Switch, TIMEOUT, Timeout, Zero,
};
use super::oauth::{Issuer, Leeway, Words};
use super::otel::{Collector, OtlpEndpoint, OtlpProtocol, SecretOrNone};
use super::secret_text::SecretText;
use super::size::Size;
use super::statements::{IgnoreRule, IgnoreRules, KeepParams, StripComments, TagKeys};
use super::table::settings;
use super::tls::{SslMode, SslNegotiation, TlsProtocols};
use super::token::{AdminPages, Role, Sha256Hash, TokenHash};
use super::units::BareUnit;

settings! {
    /// Where clients connect.
    "listen" => Listen {
        /// The IP addresses to listen on, with commas; `*` is every IPv4 and IPv6 address, empty is no TCP at all.
        listen_addr: Vec<IpAddr> = Text("127.0.0.1") => ListenAddresses, Restart;
        /// The TCP port, which also names the Unix socket; 0 lets the system choose.
        listen_port: u16 = Whole(6432) => Port { low: 0 }, Restart;
        /// How many connections the kernel may hold until they are accepted; it caps this at net.core.somaxconn.
        listen_backlog: u32 = Whole(4096) => Count { low: 1, high: 65_535 }, Restart;
        /// The folder of the Unix socket; empty is none.
        unix_socket_dir: Option<PathBuf> = Text("") => SocketFolder, Restart;
        /// The file mode of the Unix socket, in octal digits.
        unix_socket_mode: u32 = Text("0777") => FileMode, Restart;
    }

    /// How many servers a pool has. A pool is a database together with a user.
    "pool" => PoolDefaults {
        /// When a server goes back to its pool: after each transaction, when its client leaves (session), or after each statement (statement, which forbids BEGIN).
        pool_mode: PoolMode = Text("transaction") => OneOf::words(), Live;
        /// Whether a client may keep its server for state that no other server has: LISTEN, session advisory locks, temporary tables, cursors WITH HOLD, LOAD. allow or reject, which answers with an error.
        pin: PinPolicy = Text("allow") => OneOf::words(), Live;
        /// The most clients of a pool that keep a server so; 0 is no limit.
        max_pinned: u32 = Whole(0) => Cap, Live;
        /// What becomes of a text whose effects on the session cannot be read: DO, CALL, set_config of any name, a simple query over 64 KiB. allow (Postgres is asked afterwards what it left), pin (the client keeps its server until DISCARD ALL) or reject, which answers with an error.
        unreadable: Unreadable = Text("allow") => OneOf::words(), Live;
        /// Whether a server gets DISCARD ALL before its next client: auto (only where something may be left that cannot be read), always, or never.
        server_reset: ServerReset = Text("auto") => OneOf::words(), Live;
        /// The most servers of a pool; 0 is no limit.
        default_pool_size: u32 = Whole(20) => Cap, Live;
        /// The servers to keep open even when nobody needs them.
        min_pool_size: u32 = Whole(0) => CONNECTIONS, Live;
        /// More servers for clients that have waited for reserve_pool_timeout.
        reserve_pool_size: u32 = Whole(0) => CONNECTIONS, Live;
        /// How long a client waits before the reserve serves it; 0 is no reserve.
        reserve_pool_timeout: Duration = Text("5s") => Span, Live;
        /// The most servers of a database, all its users together; 0 is no limit.
        max_db_connections: u32 = Whole(0) => Cap, Live;
        /// The most servers of a user, all databases together; 0 is no limit.
        max_user_connections: u32 = Whole(0) => Cap, Live;
        /// How many servers of a pool may be logging in at once.
        max_concurrent_connects: u32 = Whole(4) => Count { low: 1, high: 1000 }, Live;
        /// The prepared statements to keep on each server; 0 keeps none.
        max_prepared_statements: u32 = Whole(200) => Count { low: 0, high: 100_000 }, Live;
        /// Whether comments with tags (SQLCommenter's, marginalia's, Datadog's) are taken off statements before Postgres gets them, so that prepared statements which differ only in tags are one: off or tags. They are counted all the same; Postgres' log and pg_stat_activity lose them.
        strip_comments: StripComments = Text("off") => OneOf::words(), Live;
    }

    /// How many clients there may be.
    "limits" => Limits {
        /// The most clients; one more is refused with an error that names this limit.
        max_client_conn: u32 = Whole(10_000) => Count { low: 1, high: MOST_CONNECTIONS }, Live;
        /// The most connections of one address (of one network, /64, in IPv6) that are not logged in yet.
        max_logins_per_address: u32 = Whole(1_000) => Count { low: 1, high: MOST_CONNECTIONS }, Live;
        /// The most clients of a database; 0 is no limit.
        max_db_client_connections: u32 = Whole(0) => Cap, Live;
        /// The most clients of a user; 0 is no limit.
        max_user_client_connections: u32 = Whole(0) => Cap, Live;
        /// The most cancel requests on their way to servers at once; more of them wait.
        max_cancel_connections: u32 = Whole(64) => Count { low: 1, high: 10_000 }, Live;
    }

    /// How long clients may take. 0 switches a limit off.
    "timeouts" => Timeouts {
        /// How long a query waits for a server before it fails.
        query_wait_timeout: Option<Duration> = Text("120s") => TIMEOUT, Live;
        /// How long a query runs before it is cancelled.
        query_timeout: Option<Duration> = Text("0") => TIMEOUT, Live;
        /// How long a client keeps a transaction open without sending anything before it is closed.
        idle_transaction_timeout: Option<Duration> = Text("0") => TIMEOUT, Live;
        /// How long a transaction lasts before its client is closed.
        transaction_timeout: Option<Duration> = Text("0") => TIMEOUT, Live;
        /// How long a client outside a transaction is silent before it is closed.
        client_idle_timeout: Option<Duration> = Text("0") => TIMEOUT, Live;
        /// How long a login takes before it is given up.
        client_login_timeout: Option<Duration> = Text("60s") => TIMEOUT, Live;
        /// How long a cancel request waits for its turn before it is dropped.
        cancel_wait_timeout: Option<Duration> = Text("10s") => TIMEOUT, Live;
        /// How long transactions may go on once the program is told to end; 0 waits for them without limit.
        shutdown_timeout: Option<Duration> = Text("30s") => TIMEOUT, Live;
    }

    /// How connections to Postgres are made, checked and renewed.
    "server" => ServerSettings {
        /// How long a connect with its login takes before it fails.
        server_connect_timeout: Option<Duration> = Text("15s") => TIMEOUT, Live;
        /// The age at which a server is replaced once it is free; 0 uses each only once, off keeps it for ever.
        server_lifetime: Option<Duration> = Text("1h") => FROM_ZERO, Live;
        /// How long a server is unused before it is closed, down to min_pool_size.
        server_idle_timeout: Option<Duration> = Text("10m") => TIMEOUT, Live;
        /// How long a server is unused before it is checked at its next use; 0 checks always, off never.
        server_check_delay: Option<Duration> = Text("30s") => FROM_ZERO, Live;
        /// The SQL of that check; empty is an empty query, which costs Postgres the least.
        server_check_query: String = Text("") => Sql, Live;
        /// How often each database is asked for functions that leave something in the session of whoever calls them (SET, set_config, locks, LISTEN); off asks never, and what they leave may reach the next client.
        function_check: Option<Duration> = Text("60s") => TIMEOUT, Live;
        /// How often each database is probed for /readyz and the metrics.
        health_check_interval: Option<Duration> = Text("5s") => TIMEOUT, Live;
        /// Whether idle TCP connections, to clients and to servers, are probed by the kernel.
        tcp_keepalive: bool = Flag(true) => Switch, Live;
        /// How long a connection is silent before the first probe; 0 is the kernel's own.
        tcp_keepidle: Option<Duration> = Text("0") => KEEPALIVE, Live;
        /// The time between two probes; 0 is the kernel's own.
        tcp_keepintvl: Option<Duration> = Text("0") => KEEPALIVE, Live;
        /// The unanswered probes after which a connection is dead; 0 is the kernel's own.
        tcp_keepcnt: Option<u32> = Whole(0) => KernelCount { high: MAX_TCP_KEEPCNT }, Live;
        /// How long sent data may go unacknowledged before a connection is dead; 0 is the kernel's own, plain numbers are ms.
        tcp_user_timeout: Option<Duration> = Text("0") => USER_TIMEOUT, Live;
    }

    /// How clients prove who they are.
    "auth" => AuthSettings {
        /// trust, plain, md5, scram-sha-256, passthrough (Postgres decides), cert, peer (Unix sockets only), oauth (a token, see `[oauth]`) or hba (rules of auth_hba_file); unless set, hba where auth_hba_file is set, else scram-sha-256 where any user has a secret, or auth_file or auth_user is set.
        auth_type: AuthType = Text("passthrough") => OneOf::words(), Live;
        /// A file of users and secrets in the format of PgBouncer's userlist.txt; `[users]` wins over it.
        auth_file: Option<PathBuf> = Text("") => FilePath, Live;
        /// A file of rules in the format of pg_hba.conf: who is let in how.
        auth_hba_file: Option<PathBuf> = Text("") => FilePath, Live;
        /// A file of maps in the format of pg_ident.conf, for the rules' option map.
        auth_ident_file: Option<PathBuf> = Text("") => FilePath, Live;
        /// A user that asks Postgres for the secrets of users who have none here; empty asks nobody.
        auth_user: String = Text("") => NameOrNone, Live;
        /// The query it asks with: $1 is the user, the second column the secret.
        auth_query: String = Text(AUTH_QUERY) => Sql, Live;
        /// The database it asks in; empty is the one that the client wants.
        auth_dbname: String = Text("") => NameOrNone, Live;
        /// How long a password that Postgres accepted is believed without asking again; 0 asks each time.
        auth_cache_ttl: Duration = Text("5m") => Span, Live;
    }

    /// Which tokens let clients in by auth_type = "oauth" (OAUTHBEARER, as in PostgreSQL 18): JWTs that the issuer has signed, taken over TLS or from this machine only. The pooler asks the issuer nothing.
    "oauth" => OAuth {
        /// Who issues the tokens: an https URL, letter by letter as in their claim iss. A client without a token is told it, to find its way to one.
        issuer: Option<String> = Text("") => Issuer, Live;
        /// The issuer's public keys, a JWK set as its jwks_uri gives it. It is read at the start and at each reload; nothing is fetched.
        jwks_file: Option<PathBuf> = Text("") => FilePath, Live;
        /// Whom tokens must be for, with commas: one of these has to be in their claim aud. Empty takes only tokens without that claim, and needs a scope.
        audience: Vec<String> = Text("") => Words::Commas, Live;
        /// What tokens must be good for, with blanks: all of it has to be in their claim scope (or scp). A client without a token is told it.
        scope: Vec<String> = Text("") => Words::Blanks, Live;
        /// The claim with the name of who the token was issued to: the user, or what a map of auth_ident_file has for it.
        user_claim: String = Text("sub") => Name, Live;
        /// By how much the issuer's clock may differ, where a token begins and ends.
        leeway: Duration = Text("60s") => Leeway, Live;
    }

    /// TLS towards clients, towards Postgres and of the admin API. Certificates, keys and CAs are PEM files, read again at each reload.
    "tls" => Tls {
        /// TLS with clients over TCP: disable, allow or prefer (if the client asks), require, verify-ca (with a client certificate), verify-full (whose common name is the user).
        client_tls_sslmode: SslMode = Text("disable") => OneOf::words(), Live;
        /// The certificate that clients are shown, with those between it and its CA.
        client_tls_cert_file: Option<PathBuf> = Text("") => FilePath, Live;
        /// The private key of that certificate.
        client_tls_key_file: Option<PathBuf> = Text("") => FilePath, Live;
        /// The CAs of client certificates. Unless client_tls_sslmode is verify-ca or verify-full, a client need not show one; if it does, it must be good.
        client_tls_ca_file: Option<PathBuf> = Text("") => FilePath, Live;
        /// The versions with clients: secure (1.2 and 1.3) or tlsv1.3.
        client_tls_protocols: TlsProtocols = Text("secure") => OneOf::words(), Live;
        /// TLS with Postgres over TCP, as in libpq: disable, allow, prefer, require (checks the CA if one is given), verify-ca, verify-full (the host name too).
        server_tls_sslmode: SslMode = Text("prefer") => OneOf::words(), Live;
        /// How TLS with Postgres begins: postgres (it is asked first) or direct, which PostgreSQL 17 and later understand.
        server_tls_negotiation: SslNegotiation = Text("postgres") => OneOf::words(), Live;
        /// The CAs of Postgres' certificates, or those certificates themselves.
        server_tls_ca_file: Option<PathBuf> = Text("") => FilePath, Live;
        /// The certificate to show to Postgres, if it asks for one.
        server_tls_cert_file: Option<PathBuf> = Text("") => FilePath, Live;
        /// The private key of that certificate.
        server_tls_key_file: Option<PathBuf> = Text("") => FilePath, Live;
        /// The versions with Postgres: secure (1.2 and 1.3) or tlsv1.3.
        server_tls_protocols: TlsProtocols = Text("secure") => OneOf::words(), Live;
        /// The certificate of the admin API, with those between it and its CA; with it, the API speaks TLS only.
        admin_tls_cert_file: Option<PathBuf> = Text("") => FilePath, Live;
        /// The private key of that certificate.
        admin_tls_key_file: Option<PathBuf> = Text("") => FilePath, Live;
    }

    /// The HTTP API for operators.
    "admin" => Admin {
        /// The addresses with ports, with commas; others than loopback need a token in `[tokens]`; empty is off.
        admin_listen: Vec<SocketAddr> = Text("127.0.0.1:6433") => AdminAddresses, Restart;
        /// all, or metrics: only /metrics, /healthz, /readyz and /version.
        admin_pages: AdminPages = Text("all") => OneOf::words(), Live;
        /// Whether statements are counted and timed by fingerprint, for /queries.
        query_stats: bool = Flag(true) => Switch, Restart;
        /// How much memory that takes at most; with less room, fewer fingerprints are told apart.
        query_stats_memory: usize = Text("64MB") => Size { low: 1 << 20, high: 16 << 30 }, Restart;
        /// The tags that are kept of comments in statements (SQLCommenter's and others'), with commas; empty is none. Routes are made of route, controller with action, and job.
        query_tags: Vec<String> = Text("route, controller, action, job, application, framework") => TagKeys, Restart;
        /// Whether statements that repeat within a request are looked for, for /nplusone. It needs query_stats.
        nplusone: bool = Flag(true) => Switch, Restart;
        /// What is never listed there, with commas: route=/health, application=cron, user=app, fingerprint=9b922b45ac2fa024.
        nplusone_ignore: Vec<IgnoreRule> = Text("") => IgnoreRules, Restart;
        /// Whether Postgres may be asked how it would run a statement (POST /queries/FINGERPRINT/explain). It needs query_stats.
        explain: bool = Flag(true) => Switch, Live;
        /// Whether a statement that takes as long as log_slow_statements is explained by itself, at most once in ten minutes and four of them a minute.
        explain_auto: bool = Flag(false) => Switch, Live;
        /// Whether a SELECT may also be run to see what its plan does (EXPLAIN ANALYZE), with the values of a call that samples.params = "full" has kept. It needs explain.
        explain_analyze: bool = Flag(false) => Switch, Live;
    }

    /// A token for the admin API by the name of who has it; `pooler token` makes one. As soon as there is any, every page but /healthz and /readyz needs one.
    "tokens.NAME" => Token {
        /// What it is good for: metrics (to scrape), view (to see every page) or admin (to change something too).
        role: Role = Text("view") => OneOf::words(), Live;
        /// The hash of the token.
        hash: Option<TokenHash> = Unset { sample: "\"sha256:5df1cfd5d6a4a4f0bd2e5ac2b3a7a3c6b1f0ac2f6b3de51de4b2c6bb3e6bd7d1\"" } => Opt(Sha256Hash), Live;
    }

    /// What /metrics shows beside the numbers of pools.
    "metrics" => Metrics {
        /// How many statements have numbers of their own, those that take the most time; the rest is one sum. Up to twice as many are shown, since none goes for an hour. It needs query_stats.
        fingerprints: u32 = Whole(0) => Count { low: 0, high: MAX_FINGERPRINTS }, Restart;
    }

    /// What is kept of single calls, for /queries/FINGERPRINT/samples and /slow.
    "samples" => Samples {
        /// What is kept of their values: off (nothing), hash (which calls had the same) or full (they themselves, up to 2 kB of each call, shown to the role admin only). It needs query_stats.
        params: KeepParams = Text("off") => OneOf::words(), Live;
    }

    /// OpenTelemetry: numbers, and spans of statements that belong to a trace, to a collector that speaks OTLP.
    "otel" => Otel {
        /// The collector, as http://127.0.0.1:4318; /v1/metrics and /v1/traces are added. Empty is off.
        endpoint: Option<OtlpEndpoint> = Text("") => Collector, Restart;
        /// How it is spoken to: http/protobuf.
        protocol: OtlpProtocol = Text("http/protobuf") => OneOf::words(), Restart;
        /// How often the numbers of /metrics are sent, under their names; 0 is never.
        interval: Option<Duration> = Text("60s") => OTLP_INTERVAL, Restart;
        /// What each request has as headers: authorization=Bearer%20..., with commas, values URL-encoded. They are secret; empty is none.
        headers: Option<SecretText> = Text("") => SecretOrNone, Restart;
        /// A file whose first line is that.
        headers_file: Option<PathBuf> = Text("") => FilePath, Restart;
        /// An environment variable that is that.
        headers_env: String = Text("") => NameOrNone, Restart;
        /// The CAs of a collector at https, a PEM file; empty is the system's.
        ca_file: Option<PathBuf> = Text("") => FilePath, Restart;
        /// The name of this service; databases and users are labels of the numbers.
        service_name: String = Text("pooler") => Name, Restart;
        /// Whether db.client.operation.duration is sent too, which applications may send already.
        semconv_metrics: bool = Flag(false) => Switch, Restart;
        /// Whether spans are sent, of statements whose traceparent (a tag) says that its trace is sampled. It needs query_stats.
        traces: bool = Flag(true) => Switch, Restart;
    }

    /// What is logged, to standard error.
    "log" => Log {
        /// error, warn, info, debug or trace, also per module as in info,pooler::pool=debug; RUST_LOG wins over it.
        level: String = Text("info") => LogDirectives, Live;
        /// text, or json with one object a line.
        format: LogFormat = Text("text") => OneOf::words(), Restart;
        /// Whether each login is logged.
        log_connections: bool = Flag(true) => Switch, Live;
        /// Whether each disconnect is logged, with its reason.
        log_disconnections: bool = Flag(true) => Switch, Live;
        /// How long a statement takes to be logged, without its values, and shown by /slow; 0 is off. It needs query_stats.
        log_slow_statements: Option<Duration> = Text("0") => TIMEOUT, Live;
    }

    /// The process.
    "general" => General {
        /// The threads that serve clients; 0 is one for every two cores.
        workers: u32 = Whole(0) => Count { low: 0, high: MAX_WORKERS }, Restart;
    }

    /// A database by the name that clients use; `[databases."*"]` serves every other name. Without any database there is that one, with the host and port shown here. What is not set is as the tables above say; the other values shown are those, or examples.
    "databases.NAME" => Database {
        /// The host: a name, an IP address or, with a slash at its start, the folder of a Unix socket.
        host: Host = Text("127.0.0.1") => HostName, Live;
        /// The port, of a Unix socket too.
        port: u16 = Whole(5432) => Port { low: 1 }, Live;
        /// The database's name in Postgres, if it is another than the one that clients use.
        dbname: Option<String> = Unset { sample: "\"shop\"" } => Opt(Name), Live;
        /// The user to log in to Postgres as, whoever the client is; all clients then share one pool.
        user: Option<String> = Unset { sample: "\"shop_owner\"" } => Opt(Name), Live;
        /// The password of that user.
        password: Option<SecretText> = Unset { sample: "\"secret\"" } => Opt(Secret), Live;
        /// A file whose first line is that password.
        password_file: Option<PathBuf> = Text("") => FilePath, Live;
        /// An environment variable that is that password.
        password_env: String = Text("") => NameOrNone, Live;
        /// In place of the global server_tls_sslmode.
        server_tls_sslmode: Option<SslMode> = Unset { sample: "\"prefer\"" } => Opt(OneOf::words()), Live;
        /// In place of the global server_tls_negotiation.
        server_tls_negotiation: Option<SslNegotiation> = Unset { sample: "\"postgres\"" } => Opt(OneOf::words()), Live;
        /// In place of the global auth_user.
        auth_user: Option<String> = Unset { sample: "\"\"" } => Opt(NameOrNone), Live;
        /// In place of the global auth_query.
        auth_query: Option<String> = Unset { sample: AUTH_QUERY_SAMPLE } => Opt(Sql), Live;
        /// In place of the global auth_dbname.
        auth_dbname: Option<String> = Unset { sample: "\"\"" } => Opt(NameOrNone), Live;
        /// In place of default_pool_size.
        pool_size: Option<u32> = Unset { sample: "20" } => Opt(Cap), Live;
        /// In place of the global min_pool_size.
        min_pool_size: Option<u32> = Unset { sample: "0" } => Opt(CONNECTIONS), Live;
        /// In place of the global reserve_pool_size.
        reserve_pool_size: Option<u32> = Unset { sample: "0" } => Opt(CONNECTIONS), Live;
        /// In place of the global max_db_connections. Each name that `*` serves has a limit of its own.
        max_db_connections: Option<u32> = Unset { sample: "0" } => Opt(Cap), Live;
        /// In place of the global max_db_client_connections.
        max_db_client_connections: Option<u32> = Unset { sample: "0" } => Opt(Cap), Live;
        /// In place of the global pool_mode.
        pool_mode: Option<PoolMode> = Unset { sample: "\"transaction\"" } => Opt(OneOf::words()), Live;
        /// In place of the global pin.
        pin: Option<PinPolicy> = Unset { sample: "\"allow\"" } => Opt(OneOf::words()), Live;
        /// In place of the global unreadable.
        unreadable: Option<Unreadable> = Unset { sample: "\"allow\"" } => Opt(OneOf::words()), Live;
        /// In place of the global max_pinned.
        max_pinned: Option<u32> = Unset { sample: "0" } => Opt(Cap), Live;
        /// In place of the global strip_comments.
        strip_comments: Option<StripComments> = Unset { sample: "\"off\"" } => Opt(OneOf::words()), Live;
        /// In place of the global server_lifetime.
        server_lifetime: Option<Option<Duration>> = Unset { sample: "\"1h\"" } => Opt(FROM_ZERO), Live;
        /// In place of the global log_slow_statements.
        log_slow_statements: Option<Option<Duration>> = Unset { sample: "\"0\"" } => Opt(TIMEOUT), Live;
        /// In place of the global query_wait_timeout.
        query_wait_timeout: Option<Option<Duration>> = Unset { sample: "\"120s\"" } => Opt(TIMEOUT), Live;
    }

    /// A user by name. What is not set is as the database or the tables above say; the values shown are those, or examples.
    "users.NAME" => User {
        /// The password, or its stored form: md5 with 32 hexadecimal digits, or SCRAM-SHA-256$...
        password: Option<SecretText> = Unset { sample: "\"secret\"" } => Opt(Secret), Live;
        /// A file whose first line is the password or its stored form.
        password_file: Option<PathBuf> = Text("") => FilePath, Live;
        /// An environment variable that is the password or its stored form.
        password_env: String = Text("") => NameOrNone, Live;
        /// In place of the database's pool_size, for servers that log in as this user.
        pool_size: Option<u32> = Unset { sample: "20" } => Opt(Cap), Live;
        /// In place of the database's reserve_pool_size, for servers that log in as this user.
        reserve_pool_size: Option<u32> = Unset { sample: "0" } => Opt(CONNECTIONS), Live;
        /// In place of the global max_user_connections, for servers that log in as this user.
        max_user_connections: Option<u32> = Unset { sample: "0" } => Opt(Cap), Live;
        /// In place of the global max_user_client_connections.
        max_user_client_connections: Option<u32> = Unset { sample: "0" } => Opt(Cap), Live;
        /// In place of the database's pool_mode, for servers that log in as this user.
        pool_mode: Option<PoolMode> = Unset { sample: "\"transaction\"" } => Opt(OneOf::words()), Live;
        /// In place of the global query_timeout, for servers that log in as this user.
        query_timeout: Option<Option<Duration>> = Unset { sample: "\"0\"" } => Opt(TIMEOUT), Live;
        /// In place of the database's query_wait_timeout.
        query_wait_timeout: Option<Option<Duration>> = Unset { sample: "\"120s\"" } => Opt(TIMEOUT), Live;
        /// In place of the global idle_transaction_timeout, for servers that log in as this user.
        idle_transaction_timeout: Option<Option<Duration>> = Unset { sample: "\"0\"" } => Opt(TIMEOUT), Live;
        /// In place of the global transaction_timeout, for servers that log in as this user.
        transaction_timeout: Option<Option<Duration>> = Unset { sample: "\"0\"" } => Opt(TIMEOUT), Live;
        /// In place of the global client_idle_timeout.
        client_idle_timeout: Option<Option<Duration>> = Unset { sample: "\"0\"" } => Opt(TIMEOUT), Live;
    }
}

/// PgBouncer's default: a password that is not valid any more is none.
const AUTH_QUERY: &str = "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname = $1 AND rolcanlogin";

/// The same as TOML writes it.
const AUTH_QUERY_SAMPLE: &str = "\"SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname = $1 AND rolcanlogin\"";

const CONNECTIONS: Count = Count { low: 0, high: MOST_CONNECTIONS };

/// More threads than any machine has cores.
const MAX_WORKERS: u32 = 1024;

/// More series than that is a job for another tool than Prometheus.
const MAX_FINGERPRINTS: u32 = 200;

/// A collector takes each as one more sample.
const OTLP_INTERVAL: Timeout = Timeout { low: Duration::from_secs(1), ..TIMEOUT };

/// PgBouncer gives 0 a meaning of its own here.
const FROM_ZERO: Timeout = Timeout { zero: Zero::AtOnce, ..TIMEOUT };

/// Linux counts these in whole seconds, up to `MAX_TCP_KEEPIDLE` and `MAX_TCP_KEEPINTVL`.
const KEEPALIVE: Timeout =
    Timeout { low: Duration::from_secs(1), high: Duration::from_secs(32_767), ..TIMEOUT };

/// As Linux names it.
const MAX_TCP_KEEPCNT: u32 = 127;

/// The socket option is a signed number of milliseconds (tcp(7)): 24 days fit.
const USER_TIMEOUT: Timeout =
    Timeout { bare: BareUnit::Milliseconds, high: Duration::from_secs(24 * 24 * 3600), ..TIMEOUT };
