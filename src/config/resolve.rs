//! From the merged tree to a valid `Config`: reads every table, joins the user list, and checks what must fit together.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use config::{Value, ValueKind};

use super::Config;
use super::choices::AuthType;
use super::endpoint::Host;
use super::fault::{ConfigErrors, Conflict, Fault, Place, Warning};
use super::hba::Hba;
use super::layers::{self, Layers, Tree};
use super::oauth::TokenRules;
use super::otel::check_headers;
use super::passwords::{Sources, fetch};
use super::settings::{Database, Listen, User};
use super::shape::quoted;
use super::table::{Scope, Settings};
use super::tls::{SslMode, SslNegotiation};
use super::userlist;
use super::variables::FALLBACK;

/// The configuration that the layers give, or all their faults.
pub(super) fn resolve(
    layers: Layers,
    env: &BTreeMap<String, String>,
) -> Result<Config, ConfigErrors> {
    let mut draft = Draft { tree: layers.tree, faults: layers.faults };
    let mut config = draft.read();
    config.warnings = layers.warnings;
    draft.fetch_passwords(&mut config, env);
    draft.join_user_list(&mut config);
    if draft.value("auth", "auth_type").is_none() {
        config.auth.auth_type = default_auth_type(&config);
    }
    draft.read_token_rules(&mut config);
    draft.read_hba(&mut config);
    draft.check(&config);
    ConfigErrors::unless_empty(draft.faults)?;
    warn_of_auth(&mut config);
    Ok(config)
}

/// A configuration that may still have faults.
struct Draft {
    tree: Tree,
    faults: Vec<Fault>,
}

impl Draft {
    fn read(&mut self) -> Config {
        let mut databases = self.many("databases");
        if databases.is_empty() {
            databases.insert(FALLBACK.to_owned(), defaults());
        }
        Config {
            listen: self.one("listen"),
            pool: self.one("pool"),
            limits: self.one("limits"),
            timeouts: self.one("timeouts"),
            server: self.one("server"),
            auth: self.one("auth"),
            oauth: self.one("oauth"),
            tls: self.one("tls"),
            admin: self.one("admin"),
            metrics: self.one("metrics"),
            samples: self.one("samples"),
            otel: self.one("otel"),
            tokens: self.many("tokens"),
            log: self.one("log"),
            general: self.one("general"),
            databases,
            users: self.many("users"),
            hba: Hba::default(),
            token_rules: None,
            warnings: Vec::new(),
        }
    }

    fn one<S: Settings>(&mut self, table: &str) -> S {
        let values = self.tree.get(table).and_then(as_table);
        S::read(&mut Scope { path: table.to_owned(), values, faults: &mut self.faults })
    }

    fn many<S: Settings>(&mut self, table: &str) -> BTreeMap<String, S> {
        let names = self.tree.get(table).and_then(as_table).into_iter().flatten();
        let mut all = BTreeMap::new();
        for (name, values) in names {
            let path = format!("{table}.{}", quoted(name));
            let values = as_table(values);
            let settings = S::read(&mut Scope { path, values, faults: &mut self.faults });
            all.insert(name.clone(), settings);
        }
        all
    }

    /// Puts secrets into their keys that stand in files and variables.
    fn fetch_passwords(&mut self, config: &mut Config, env: &BTreeMap<String, String>) {
        let mut found = Vec::new();
        let keys = ["password", "password_file"];
        for (name, user) in &mut config.users {
            let place =
                |key| self.place_in(&["users", name], &format!("users.{}", quoted(name)), key);
            let file = (user.password_file.as_ref(), place("password_file"));
            let variable = (user.password_env.as_str(), place("password_env"));
            found.push(fetch(Sources { keys, own: &mut user.password, file, variable }, env));
        }
        for (name, database) in &mut config.databases {
            let table = format!("databases.{}", quoted(name));
            let place = |key| self.place_in(&["databases", name], &table, key);
            let file = (database.password_file.as_ref(), place("password_file"));
            let variable = (database.password_env.as_str(), place("password_env"));
            found.push(fetch(Sources { keys, own: &mut database.password, file, variable }, env));
        }
        let otel = &mut config.otel;
        let file = (otel.headers_file.as_ref(), self.place("otel", "headers_file"));
        let variable = (otel.headers_env.as_str(), self.place("otel", "headers_env"));
        let keys = ["headers", "headers_file"];
        found.push(fetch(Sources { keys, own: &mut otel.headers, file, variable }, env));
        let places = ["headers", "headers_file", "headers_env"].map(|key| self.place("otel", key));
        let [place, ..] = written_first(places);
        self.faults.extend(check_headers(otel.headers.as_ref(), place));
        for outcome in found {
            match outcome {
                Ok(Some(warning)) if config.warnings.contains(&warning) => {}
                Ok(warning) => config.warnings.extend(warning),
                Err(fault) => self.faults.push(fault),
            }
        }
    }

    /// Adds the users of `auth_file`. What `[users]` says of one of them stays.
    fn join_user_list(&mut self, config: &mut Config) {
        let Some(file) = config.auth.auth_file.clone() else { return };
        let text = match layers::read_text(&file, userlist::MAX_BYTES) {
            Ok(text) => text,
            Err(problem) => {
                return self.faults.push(Fault { place: Place::File(file), problem });
            }
        };
        let list = userlist::parse(&text);
        self.faults.extend(list.faults.into_iter().map(|fault| Fault::in_user_list(&file, fault)));
        let repeated = list.repeated.into_iter();
        config
            .warnings
            .extend(repeated.map(|line| Warning::RepeatedUser { file: file.clone(), line }));
        if list.users.values().any(Option::is_some) {
            config.warnings.extend(layers::readable_by_all(&file));
        }
        for (name, secret) in list.users {
            let user = config.users.entry(name).or_insert_with(defaults::<User>);
            user.password = user.password.take().or(secret);
        }
    }

    /// Reads the keys of `jwks_file`.
    fn read_token_rules(&mut self, config: &mut Config) {
        let oauth = &config.oauth;
        let [issuer, file] = ["issuer", "jwks_file"].map(|key| self.place("oauth", key));
        match (&oauth.issuer, &oauth.jwks_file) {
            (Some(_), None) => return self.conflict(Conflict::OAuthNeeds("jwks_file"), [issuer]),
            (None, Some(_)) => return self.conflict(Conflict::OAuthNeeds("issuer"), [file]),
            (Some(_), Some(_)) if oauth.audience.is_empty() && oauth.scope.is_empty() => {
                return self.conflict(Conflict::OAuthTakesAll, [issuer]);
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        match TokenRules::read(oauth) {
            Ok(rules) => config.token_rules = rules.map(Arc::new),
            Err((file, problem)) => {
                self.faults.push(Fault { place: Place::File(file.to_owned()), problem });
            }
        }
    }

    /// Reads `auth_hba_file` with the maps of `auth_ident_file`.
    fn read_hba(&mut self, config: &mut Config) {
        let place = self.place("auth", "auth_type");
        let auth = &config.auth;
        let no_issuer = config.oauth.issuer.is_none() && config.oauth.jwks_file.is_none();
        let no_tls = config.tls.client_tls_ca_file.is_none()
            || config.tls.client_tls_sslmode == SslMode::Disable;
        match (auth.auth_type, &auth.auth_hba_file) {
            (AuthType::Hba, None) => self.conflict(Conflict::HbaNeedsFile, [place]),
            (AuthType::Cert, _) if no_tls => self.conflict(Conflict::CertNeedsTls, [place]),
            (AuthType::OAuth, _) if no_issuer => self.conflict(Conflict::OAuthNeedsKeys, [place]),
            (AuthType::Hba, Some(file)) => {
                let ident = auth.auth_ident_file.as_deref();
                let surroundings = (&config.tls, &config.oauth);
                config.hba = Hba::read(file, ident, surroundings, &mut self.faults);
                config.warnings.extend(config.hba.blind(&config.tls));
            }
            (_, Some(_)) => config.warnings.push(Warning::HbaUnused),
            (_, None) => {}
        }
    }

    fn check(&mut self, config: &Config) {
        self.check_listeners(config);
        self.check_tokens(config);
        self.check_pool_sizes(config);
        self.check_tls(config);
        self.check_auth_query(config);
        for (name, database) in &config.databases {
            let table = format!("databases.{}", quoted(name));
            let places = |key| self.place_in(&["databases", name], &table, key);
            let (host, port) = (places("host"), places("port"));
            if database.password.is_some() && database.user.is_none() {
                let (password, user) = (places("password"), places("user"));
                self.conflict(Conflict::PasswordWithoutUser, [password, user]);
            }
            if leads_back(&config.listen, database) {
                let listen = ["listen_addr", "listen_port", "unix_socket_dir"];
                let [addr, listen_port, dir] = listen.map(|key| self.place("listen", key));
                // Named after what the operator wrote: most often a port of one of the two sides.
                let written = [port, host, listen_port, addr, dir];
                self.conflict(Conflict::LeadsBack, written_first(written));
            }
        }
    }

    fn check_listeners(&mut self, config: &Config) {
        let listen = &config.listen;
        let [addr, port, dir] =
            ["listen_addr", "listen_port", "unix_socket_dir"].map(|key| self.place("listen", key));
        if listen.listen_addr.is_empty() && listen.unix_socket_dir.is_none() {
            self.conflict(Conflict::NothingToListenOn, [addr.clone(), dir]);
        }
        let admin = self.place("admin", "admin_listen");
        let clash = config.admin.admin_listen.iter().find(|admin| listens_on(listen, **admin));
        if let Some(address) = clash {
            let written = written_first([admin, port, addr]);
            self.conflict(Conflict::AdminOnListenPort(*address), written);
        }
    }

    fn check_tokens(&mut self, config: &Config) {
        for (name, token) in &config.tokens {
            if token.hash.is_none() {
                let table = format!("tokens.{}", quoted(name));
                let places =
                    ["hash", "role"].map(|key| self.place_in(&["tokens", name], &table, key));
                self.conflict(Conflict::TokenNeedsHash, places);
            }
        }
        if let (Some(address), true) = (beyond_loopback(config), config.tokens.is_empty()) {
            let place = self.place("admin", "admin_listen");
            self.conflict(Conflict::AdminNeedsToken(address), [place]);
        }
    }

    fn check_pool_sizes(&mut self, config: &Config) {
        let pool = &config.pool;
        let global = ["min_pool_size", "default_pool_size"].map(|key| self.place("pool", key));
        if pool.min_pool_size > pool.default_pool_size {
            let (min, size) = (pool.min_pool_size, pool.default_pool_size);
            self.conflict(Conflict::MinAbovePoolSize { min, size }, global.clone());
        }
        for (name, database) in &config.databases {
            let min = database.min_pool_size.unwrap_or(pool.min_pool_size);
            let size = database.pool_size.unwrap_or(pool.default_pool_size);
            let of_global = database.min_pool_size.is_none() && database.pool_size.is_none();
            if of_global || min <= size {
                continue;
            }
            let table = format!("databases.{}", quoted(name));
            let own = ["min_pool_size", "pool_size"]
                .map(|key| self.place_in(&["databases", name], &table, key));
            let [own_min, own_size] = own;
            let [global_min, global_size] = global.clone();
            let places = written_first([own_min, own_size, global_min, global_size]);
            self.conflict(Conflict::MinAbovePoolSize { min, size }, places);
        }
    }

    /// Behind `*` no client may choose where it is asked who it is.
    fn check_auth_query(&mut self, config: &Config) {
        let Some(fallback) = config.databases.get(FALLBACK) else { return };
        let user = fallback.auth_user.as_ref().unwrap_or(&config.auth.auth_user);
        if !user.is_empty() && config.auth_query(FALLBACK).is_none() {
            let places = [self.place("auth", "auth_dbname"), self.place("auth", "auth_user")];
            self.conflict(Conflict::NoAuthDatabase, written_first(places));
        }
    }

    fn check_tls(&mut self, config: &Config) {
        for (conflict, keys) in config.tls.conflicts() {
            let places = keys.map(|key| self.place("tls", key));
            self.conflict(conflict, written_first(places));
        }
        let ca = "server_tls_ca_file";
        let no_ca = config.tls.server_tls_ca_file.is_none();
        for (name, database) in &config.databases {
            let own = (database.server_tls_negotiation, database.server_tls_sslmode);
            let way = config.tls.servers(database);
            if own != (None, None)
                && way.negotiation == SslNegotiation::Direct
                && !way.mode.requires()
            {
                let table = format!("databases.{}", quoted(name));
                let keys = ["server_tls_negotiation", "server_tls_sslmode"];
                let places = keys.map(|key| self.place_in(&["databases", name], &table, key));
                self.conflict(Conflict::WeakForDirect, written_first(places));
            }
            if database.server_tls_sslmode.is_some_and(SslMode::verifies) && no_ca {
                let table = format!("databases.{}", quoted(name));
                let place = self.place_in(&["databases", name], &table, "server_tls_sslmode");
                let places = [place, self.place("tls", ca)];
                self.conflict(Conflict::TlsNeeds(ca), places);
            }
        }
    }

    /// Notes a conflict at the first of the places that it involves; not if one of them has a fault already,
    /// since then its default stood in.
    fn conflict<const N: usize>(&mut self, conflict: Conflict, involved: [Place; N]) {
        if self.faults.iter().any(|fault| involved.contains(&fault.place)) {
            return;
        }
        let first = involved.into_iter().next().expect("a conflict is somewhere");
        self.faults.push(Fault { place: first, problem: conflict.into() });
    }

    fn place(&self, table: &str, key: &str) -> Place {
        self.place_in(&[table], table, key)
    }

    /// Where a key's value came from: `names` lead to its table, whose path is `table`.
    fn place_in(&self, names: &[&str], table: &str, key: &str) -> Place {
        let path = format!("{table}.{key}");
        let mut values = Some(&self.tree);
        for name in names {
            values = values.and_then(|values| values.get(*name)).and_then(as_table);
        }
        match values.and_then(|values| values.get(key)) {
            Some(value) => layers::place(value, path),
            None => Place::Default(path),
        }
    }

    fn value(&self, table: &str, key: &str) -> Option<&Value> {
        self.tree.get(table).and_then(as_table)?.get(key)
    }
}

/// The table with every key at its default.
fn defaults<S: Settings>() -> S {
    S::read(&mut Scope { path: String::new(), values: None, faults: &mut Vec::new() })
}

fn as_table(value: &Value) -> Option<&Tree> {
    if let ValueKind::Table(table) = &value.kind { Some(table) } else { None }
}

/// The places with those that somebody wrote before those that are defaults, otherwise in their order.
fn written_first<const N: usize>(mut places: [Place; N]) -> [Place; N] {
    places.sort_by_key(|place| matches!(place, Place::Default(_)));
    places
}

/// Without any secret to check against, Postgres has to decide who a client is.
fn default_auth_type(config: &Config) -> AuthType {
    if config.auth.auth_hba_file.is_some() {
        return AuthType::Hba;
    }
    let has_secret = config.users.values().any(|user| user.password.is_some());
    if has_secret || config.auth.auth_file.is_some() || asks_for_secrets(config) {
        AuthType::ScramSha256
    } else {
        AuthType::Passthrough
    }
}

fn asks_for_secrets(config: &Config) -> bool {
    config.databases.keys().any(|name| config.auth_query(name).is_some())
}

/// Whether clients are listened for on this very address.
fn listens_on(listen: &Listen, address: SocketAddr) -> bool {
    // Port 0 is a different free port at each bind.
    address.port() != 0
        && address.port() == listen.listen_port
        && listen.listen_addr.iter().any(|own| covers(*own, address.ip()))
}

/// An address of the admin API that others than this machine's users can reach.
fn beyond_loopback(config: &Config) -> Option<SocketAddr> {
    let addresses = config.admin.admin_listen.iter().copied();
    addresses.into_iter().find(|address| !address.ip().to_canonical().is_loopback())
}

fn covers(listened: IpAddr, address: IpAddr) -> bool {
    listened == address || (listened.is_unspecified() && listened.is_ipv4() == address.is_ipv4())
}

/// Whether the database's server is this pooler, so far as the configuration shows.
fn leads_back(listen: &Listen, database: &Database) -> bool {
    let own_port = database.port == listen.listen_port;
    match &database.host {
        Host::Socket(folder) => own_port && listen.unix_socket_dir.as_ref() == Some(folder),
        // A wildcard listens on the machine's other addresses too, but those are not known here.
        Host::Address(ip) => {
            (ip.is_loopback() || listen.listen_addr.contains(ip))
                && listens_on(listen, SocketAddr::new(*ip, database.port))
        }
        Host::Name(name) => {
            name == "localhost"
                && own_port
                && listen.listen_addr.iter().any(|own| own.is_loopback() || own.is_unspecified())
        }
    }
}

fn warn_of_auth(config: &mut Config) {
    let method = config.auth.auth_type;
    let tls = &config.tls;
    let keys = [&tls.client_tls_key_file, &tls.server_tls_key_file, &tls.admin_tls_key_file];
    let keys = keys.into_iter().flatten();
    config.warnings.extend(keys.filter_map(|key| layers::readable_by_all(key)).collect::<Vec<_>>());
    let encrypted = config.tls.client_tls_sslmode.requires();
    let network = config.listen.listen_addr.iter().copied().find(|own| !own.is_loopback());
    let of_network = network.and_then(|address| match method {
        AuthType::Trust => Some(Warning::TrustOnNetwork(address)),
        AuthType::Plain | AuthType::Passthrough | AuthType::OAuth if encrypted => None,
        AuthType::Plain => Some(Warning::PlainOnNetwork(address)),
        AuthType::Passthrough | AuthType::OAuth => {
            Some(Warning::RefusedOnNetwork(method.as_str(), address))
        }
        AuthType::Md5 | AuthType::ScramSha256 | AuthType::Cert | AuthType::Peer | AuthType::Hba => {
            None
        }
    });
    config.warnings.extend(of_network);
    let in_clear = beyond_loopback(config).filter(|_| config.tls.admin_tls_cert_file.is_none());
    config.warnings.extend(in_clear.map(Warning::AdminInClear));
    let checks_secrets = matches!(method, AuthType::Plain | AuthType::Md5 | AuthType::ScramSha256);
    if checks_secrets
        && !asks_for_secrets(config)
        && config.users.values().all(|user| user.password.is_none())
    {
        config.warnings.push(Warning::NobodyCanLogIn(method.as_str()));
    }
    if method == AuthType::ScramSha256 {
        let with_md5 = config.users.iter().filter(|(_, user)| has_md5_secret(user));
        let warnings = with_md5.map(|(name, _)| Warning::Md5SecretForScram(name.clone()));
        config.warnings.extend(warnings.collect::<Vec<_>>());
    }
}

/// As Postgres tells them (`get_password_type` in `src/backend/libpq/crypt.c`).
fn has_md5_secret(user: &User) -> bool {
    const MD5_HEX_DIGITS: usize = 32;
    let hex = user.password.as_ref().and_then(|secret| secret.expose().strip_prefix("md5"));
    hex.is_some_and(|hex| {
        hex.len() == MD5_HEX_DIGITS && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}
