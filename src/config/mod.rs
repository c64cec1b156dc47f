//! The settings: defaults, `pooler.toml` and `POOLER__` environment variables, made valid in one step.
//!
//! What a [`Config`] holds is within its range and fits together, so nobody checks it again. To open, resolve or
//! bind what it names is left to others, and so is to take a secret apart.
//!
//! A key is declared once, in `settings`: its type, default and sentence. The reader, `pooler check` and the test of
//! `pooler.toml.example` are made from that.

mod choices;
mod effective;
mod endpoint;
mod fault;
mod foreign;
pub mod hba;
mod jwks;
mod key;
mod kind;
mod layers;
mod oauth;
mod otel;
mod passwords;
mod render;
mod resolve;
mod secret_text;
mod settings;
mod shape;
mod size;
mod statements;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod token;
pub mod units;
pub mod userlist;
mod variables;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub use choices::{AuthType, LogFormat, PinPolicy, PoolMode, ServerReset, Unreadable};
pub use effective::{AuthQuery, ClientLimits, ClientTimeouts, PoolLimits, SessionRules};
pub use endpoint::{Host, MAX_SOCKET_FOLDER_BYTES, socket_file_name};
pub use fault::{ConfigErrors, Conflict, Fault, Found, Hint, Place, Problem, Warning};
pub use jwks::KeysProblem;
pub use key::{Key, Preset, Reload};
pub use layers::MAX_CONFIG_BYTES;
pub use oauth::TokenRules;
pub use otel::{OtlpEndpoint, OtlpProtocol, Scheme, otlp_headers};
pub use secret_text::{MASK, SecretText};
pub use settings::{
    Admin, AuthSettings, Database, General, Limits, Listen, Log, Metrics, OAuth, Otel,
    PoolDefaults, Samples, ServerSettings, TABLES, Timeouts, Tls, Token, User,
};
pub use shape::quoted;
pub use statements::{IgnoreRule, KeepParams, StripComments};
pub use table::Table;
pub use tls::{ServerTls, SslMode, SslNegotiation, TlsProtocols};
pub use token::{AdminPages, Role, TokenHash};
pub use variables::{FALLBACK, PREFIX};

/// The whole configuration, valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[listen]`: where clients connect.
    pub listen: Listen,
    /// `[pool]`: how many servers a pool has.
    pub pool: PoolDefaults,
    /// `[limits]`: how many clients there may be.
    pub limits: Limits,
    /// `[timeouts]`: how long clients may take.
    pub timeouts: Timeouts,
    /// `[server]`: how connections to Postgres are made and renewed.
    pub server: ServerSettings,
    /// `[auth]`: how clients prove who they are.
    pub auth: AuthSettings,
    /// `[oauth]`: which tokens let clients in.
    pub oauth: OAuth,
    /// `[tls]`: TLS towards clients and towards Postgres.
    pub tls: Tls,
    /// `[admin]`: the HTTP API.
    pub admin: Admin,
    /// `[metrics]`: what Prometheus sees beside the numbers of pools.
    pub metrics: Metrics,
    /// `[samples]`: what is kept of single calls.
    pub samples: Samples,
    /// `[otel]`: what is sent to OpenTelemetry's collector.
    pub otel: Otel,
    /// `[tokens.NAME]` by name: who may use the HTTP API.
    pub tokens: BTreeMap<String, Token>,
    /// `[log]`: what is logged.
    pub log: Log,
    /// `[general]`: the process.
    pub general: General,
    /// `[databases.NAME]` by name; [`FALLBACK`] serves every other name, and is alone there when none is configured.
    pub databases: BTreeMap<String, Database>,
    /// `[users.NAME]` and the users of `auth_file`, by name.
    pub users: BTreeMap<String, User>,
    /// The rules of `auth_hba_file`.
    pub hba: hba::Hba,
    /// `[oauth]` with the keys of its file, where that is configured.
    pub token_rules: Option<Arc<TokenRules>>,
    /// What works but ought to be known.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Reads the file, if one is given, and the environment, which wins over it.
    ///
    /// # Errors
    /// Every fault there is, not only the first.
    pub fn load(path: Option<&Path>, env: &BTreeMap<String, String>) -> Result<Self, ConfigErrors> {
        resolve::resolve(layers::Layers::read(path, env), env)
    }

    /// The paths of the keys that differ in `new` and that only a restart applies.
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let restart = |config: &Self| {
            let tables = config.shown().into_iter().flat_map(|table| table.values);
            tables.filter(|(key, _)| key.reload == Reload::Restart).collect::<Vec<_>>()
        };
        // Both lists have the same keys: those of single tables, none of a database or user.
        let both = restart(self).into_iter().zip(restart(new));
        both.filter(|(old, new)| old != new).map(|((key, _), _)| key.path).collect()
    }
}

impl Default for Config {
    fn default() -> Self {
        resolve::resolve(layers::Layers::default(), &BTreeMap::new())
            .expect("a test resolves the defaults")
    }
}
