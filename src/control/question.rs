//! What to ask about which database: a query where the configuration says how to log in, else a hello.
//! Pure; how it is asked is left to `probe` and `postgres`, when to `health`.

use std::collections::{BTreeMap, HashMap};

use super::health::Method;
use crate::account::Account;
use crate::auth::Secret;
use crate::config::{Config, Database, FALLBACK};
use crate::net::address::ServerAddress;
use crate::net::tls::material::TlsMaterial;
use crate::pool::pools::{address, secret};
use crate::pool::shared::PoolKey;

/// The user that Postgres is asked about when none is known. It is not logged in as.
const ANY_USER: &str = "postgres";

/// The database that Postgres is asked about when none is known.
const ANY_DATABASE: &str = "postgres";

/// What is asked, once for all databases that it concerns.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// Does it take logins?
    Hello {
        /// Where it is.
        address: ServerAddress,
        /// As whom to say hello; nobody logs in.
        user: String,
        /// To which of its databases.
        database: String,
    },
    /// Does it run this?
    Query {
        /// What clients call the database.
        name: String,
        /// How to log in.
        account: Box<Account>,
        /// The query.
        sql: String,
    },
}

/// A question, and the databases that its answer is about.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    /// The question.
    pub(super) question: Question,
    /// The databases' names.
    pub(super) names: Vec<String>,
}

/// What tells one question from another, so that none is asked twice at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum QuestionKey {
    /// By address.
    Hello(ServerAddress),
    /// By the database's name.
    Query(String),
}

impl Question {
    /// What tells it from others.
    pub(super) fn key(&self) -> QuestionKey {
        match self {
            Self::Hello { address, .. } => QuestionKey::Hello(address.clone()),
            Self::Query { name, .. } => QuestionKey::Query(name.clone()),
        }
    }

    /// Is it a query to the database of this name?
    pub(super) fn is_query_of(&self, database: &str) -> bool {
        match self {
            Self::Query { name, .. } => name == database,
            Self::Hello { .. } => false,
        }
    }

    /// Where the Postgres is that it is put to.
    pub(super) fn address(&self) -> ServerAddress {
        match self {
            Self::Hello { address, .. } => address.clone(),
            Self::Query { account, .. } => address(&account.host, account.port),
        }
    }

    /// How it is put.
    pub(super) fn method(&self) -> Method {
        match self {
            Self::Hello { .. } => Method::Hello,
            Self::Query { .. } => Method::Query,
        }
    }
}

/// What is to be asked: of every database that is configured, and of those in use that `*` serves.
/// Databases at one address share one hello.
pub(super) fn probes(config: &Config, tls: &TlsMaterial, in_use: &[PoolKey]) -> Vec<Probe> {
    let mut users: BTreeMap<String, Option<String>> =
        config.databases.keys().map(|name| (name.clone(), None)).collect();
    for PoolKey { database, user } in in_use {
        users.insert(database.to_string(), Some(user.to_string()));
    }
    let mut probes: Vec<Probe> = Vec::new();
    let mut known: HashMap<QuestionKey, usize> = HashMap::new();
    for (name, user) in users {
        let Some(database) = config.database(&name) else { continue };
        let account = account(config, tls, &name, database);
        let question = account.map_or_else(
            || hello(config, &name, database, user),
            |account| query(config, &name, account),
        );
        let at = *known.entry(question.key()).or_insert(probes.len());
        match probes.get_mut(at) {
            Some(probe) => probe.names.push(name),
            None => probes.push(Probe { question, names: vec![name] }),
        }
    }
    probes
}

fn query(config: &Config, name: &str, account: Account) -> Question {
    let sql = config.server.server_check_query.clone();
    Question::Query { name: name.to_owned(), account: Box::new(account), sql }
}

fn hello(config: &Config, name: &str, database: &Database, user: Option<String>) -> Question {
    let known = database.user.clone().or(user).or_else(|| config.users.keys().next().cloned());
    let asked = if name == FALLBACK { ANY_DATABASE } else { name };
    Question::Hello {
        address: address(&database.host, database.port),
        user: known.unwrap_or_else(|| ANY_USER.to_owned()),
        database: database.server_database(asked).to_owned(),
    }
}

/// The account a database is to be used with, where the configuration says it and its password in
/// full. Not with a limit on the database's or the user's connections: ours would be one more.
fn account(config: &Config, tls: &TlsMaterial, name: &str, database: &Database) -> Option<Account> {
    let user = database.user.as_ref()?;
    let limits = config.pool_limits(name, user)?;
    // Behind `*` there may be any number of databases: too many for a connection to each.
    let is_named = name != FALLBACK || database.dbname.is_some();
    let is_named = is_named && config.databases.contains_key(name);
    let is_unlimited = [limits.max_db_connections, limits.max_user_connections] == [u32::MAX; 2];
    let theirs = || config.users.get(user).and_then(|user| user.password.as_ref());
    let password = database.password.as_ref().or_else(theirs)?;
    let is_plain = matches!(secret(password), Some(Secret::Plain(_)));
    (is_named && is_unlimited && is_plain).then(|| Account {
        host: database.host.clone(),
        port: database.port,
        database: database.server_database(name).to_owned(),
        user: user.clone(),
        password: Some(password.clone()),
        tls: tls.connector(config.tls.servers(database)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &[(&str, &str)]) -> Config {
        let setting = |(key, value): &(&str, &str)| {
            (format!("POOLER__DATABASES__{key}"), (*value).to_owned())
        };
        Config::load(None, &settings.iter().map(setting).collect()).unwrap()
    }

    /// The questions and the databases they are about, with the pools of these databases in use.
    fn asked(config: &Config, in_use: &[&str]) -> Vec<(String, Vec<String>)> {
        let key = |database: &&str| PoolKey { database: (*database).into(), user: "app".into() };
        let in_use: Vec<_> = in_use.iter().map(key).collect();
        let show = |probe: Probe| {
            let question = match probe.question {
                Question::Hello { address, user, database } => {
                    format!("hello {user}@{database} {address}")
                }
                Question::Query { account, .. } => {
                    format!("query {}@{}", account.user, account.database)
                }
            };
            (question, probe.names)
        };
        let tls = TlsMaterial::load(&config.tls).unwrap();
        probes(config, &tls, &in_use).into_iter().map(show).collect()
    }

    fn owned(expected: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        expected.iter().map(|(question, of)| ((*question).to_owned(), names(of))).collect()
    }

    #[test]
    fn databases_at_one_address_are_asked_together() {
        let config = config(&[
            ("SHOP__HOST", "db"),
            ("CRM__HOST", "db"),
            ("CRM__PORT", "5433"),
            ("HOST", "db"),
        ]);
        let expected: [(&str, &[&str]); 2] = [
            ("hello postgres@postgres db:5432", &["*", "new", "shop"]),
            ("hello postgres@crm db:5433", &["crm"]),
        ];
        assert_eq!(asked(&config, &["new"]), owned(&expected));
        let expected: [(&str, &[&str]); 1] = [("hello postgres@postgres 127.0.0.1:5432", &["*"])];
        assert_eq!(asked(&Config::default(), &[]), owned(&expected));
    }

    #[test]
    fn a_database_with_user_and_password_is_asked_a_query() {
        let full = [("SHOP__HOST", "db"), ("SHOP__USER", "owner"), ("SHOP__PASSWORD", "secret")];
        let expected: [(&str, &[&str]); 1] = [("query owner@shop", &["shop"])];
        assert_eq!(asked(&config(&full), &["shop"]), owned(&expected));
        // Our connection would be one more than this limit, or cannot be made from this secret.
        let scram = "md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        for other in [("SHOP__MAX_DB_CONNECTIONS", "5"), ("SHOP__PASSWORD", scram)] {
            let settings: Vec<_> = full.into_iter().chain([other]).collect();
            let expected: [(&str, &[&str]); 1] = [("hello owner@shop db:5432", &["shop"])];
            assert_eq!(asked(&config(&settings), &["shop"]), owned(&expected), "{other:?}");
        }
    }

    #[test]
    fn the_many_databases_behind_the_fallback_get_no_connection_each() {
        let config = config(&[("HOST", "db"), ("USER", "owner"), ("PASSWORD", "secret")]);
        let expected: [(&str, &[&str]); 1] = [("hello owner@postgres db:5432", &["*", "a", "b"])];
        assert_eq!(asked(&config, &["a", "b"]), owned(&expected));
    }
}
