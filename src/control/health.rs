//! Is each database's Postgres there? Asked in the background, so that whoever wants to know has
//! the answer at once. What to make of it is left to others: no client is refused because of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::postgres::{Account, Connections};
use super::probe::{ProbeError, takes_logins};
use crate::auth::Secret;
use crate::client::context::Shared;
use crate::config::{Config, Database, FALLBACK};
use crate::net::address::ServerAddress;
use crate::pool::pools::{address, secret};

/// A probe that takes longer has failed, whatever `server_connect_timeout` allows: an operator
/// wants to know.
const LONGEST_PROBE: Duration = Duration::from_secs(5);

/// Probes under way at once; more would be a burst for a Postgres that serves many databases.
const PROBES_AT_ONCE: usize = 16;

/// With probing off, how soon it is noticed that a reload has switched it on.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The user that Postgres is asked about when none is known. It is not logged in as.
const ANY_USER: &str = "postgres";

/// The database that Postgres is asked about when none is known.
const ANY_DATABASE: &str = "postgres";

/// What is known of every database.
#[derive(Debug)]
pub struct Health {
    databases: Mutex<BTreeMap<String, DatabaseHealth>>,
    first_round: watch::Sender<FirstRound>,
}

/// Has every configured database been probed at least once since the start?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstRound {
    /// Not yet.
    UnderWay,
    /// Yes. A database that is not known after that has just been configured.
    Over,
}

/// What is known of one database.
#[derive(Clone, Debug)]
pub struct DatabaseHealth {
    /// Where its Postgres is.
    pub address: ServerAddress,
    /// How it is asked.
    pub method: Method,
    /// What came of it.
    pub state: State,
    /// Since when it is so.
    pub since: Instant,
    /// How long the last probe took.
    pub took: Option<Duration>,
}

/// How a database is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Its Postgres says whether it takes logins.
    Hello,
    /// It runs `server_check_query`.
    Query,
}

/// What came of asking.
#[derive(Clone, Debug)]
pub enum State {
    /// It has not been asked yet.
    Unknown,
    /// Postgres answers.
    Up,
    /// It does not, for this reason.
    Down(Arc<ProbeError>),
}

/// What is asked, once for all databases that it concerns.
#[derive(Clone, Debug)]
enum Question {
    Hello { address: ServerAddress, user: String, database: String },
    Query { name: String, account: Box<Account>, sql: String },
}

/// A question, and the databases that its answer is about.
#[derive(Clone, Debug)]
struct Probe {
    question: Question,
    names: Vec<String>,
}

/// What tells one question from another, so that none is asked twice at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum QuestionKey {
    Hello(ServerAddress),
    Query(String),
}

/// An answer.
struct Answer {
    key: QuestionKey,
    names: Vec<String>,
    took: Duration,
    outcome: Result<(), ProbeError>,
}

impl Default for Health {
    fn default() -> Self {
        Self { databases: Mutex::default(), first_round: watch::Sender::new(FirstRound::UnderWay) }
    }
}

impl State {
    /// Does it not answer?
    #[must_use]
    pub fn is_down(&self) -> bool {
        matches!(self, Self::Down(_))
    }
}

impl Health {
    /// What is known of every database that is configured or in use, by name.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, DatabaseHealth> {
        self.databases.lock().clone()
    }

    /// Waits for the end of the first round, but no longer than `limit`. Cancel safe.
    pub async fn first_round(&self, limit: Duration) -> FirstRound {
        let mut round = self.first_round.subscribe();
        let over = timeout(limit, round.wait_for(|round| *round == FirstRound::Over)).await;
        if over.is_ok() { FirstRound::Over } else { FirstRound::UnderWay }
    }

    /// Nothing is probed: nothing is known, and nothing will be.
    pub fn expect_nothing(&self) {
        self.expect(&[], Instant::now());
    }

    /// From now on these databases are probed, and no others.
    fn expect(&self, probes: &[Probe], now: Instant) {
        let mut databases = self.databases.lock();
        let mut expected = BTreeSet::new();
        for probe in probes {
            let (address, method) = (probe.question.address(), probe.question.method());
            for name in &probe.names {
                expected.insert(name.as_str());
                match databases.get_mut(name) {
                    Some(known) if known.address == address => known.method = method,
                    _ => {
                        let state = State::Unknown;
                        let address = address.clone();
                        let new = DatabaseHealth { address, method, state, since: now, took: None };
                        databases.insert(name.clone(), new);
                    }
                }
            }
        }
        databases.retain(|name, _| expected.contains(name.as_str()));
        self.note_round(&databases);
    }

    fn note_round(&self, databases: &BTreeMap<String, DatabaseHealth>) {
        if databases.values().all(|known| !matches!(known.state, State::Unknown)) {
            self.first_round.send_replace(FirstRound::Over);
        }
    }

    fn learn(&self, answer: Answer, now: Instant) {
        let state = match answer.outcome {
            Err(error) if !is_saturated(&error) => State::Down(Arc::new(error)),
            Ok(()) | Err(_) => State::Up,
        };
        let mut databases = self.databases.lock();
        for name in &answer.names {
            if let Some(database) = databases.get_mut(name) {
                database.took = Some(answer.took);
                database.change(name, state.clone(), now);
            }
        }
        self.note_round(&databases);
    }
}

impl DatabaseHealth {
    /// A change is told to the log once.
    fn change(&mut self, database: &str, state: State, now: Instant) {
        let address = &self.address;
        match (&self.state, &state) {
            (State::Up, State::Up) => return,
            (State::Down(_), State::Down(_)) => {
                self.state = state;
                return;
            }
            (State::Unknown, State::Up) => debug!(database, %address, "Postgres is up"),
            (State::Down(_), State::Up) => info!(database, %address, "Postgres is up again"),
            (_, State::Down(reason)) => warn!(database, %address, %reason, "Postgres is down"),
            (_, State::Unknown) => {}
        }
        self.state = state;
        self.since = now;
    }
}

/// Probes every database each `health_check_interval`, until dropped. A database that does not
/// answer holds up no other.
pub async fn watch(shared: Arc<Shared>, health: Arc<Health>) {
    let connections = Arc::new(Connections::default());
    let turns = Arc::new(Semaphore::new(PROBES_AT_ONCE));
    let mut under_way: JoinSet<Answer> = JoinSet::new();
    let mut asked: HashSet<QuestionKey> = HashSet::new();
    loop {
        let config = shared.pools.config();
        if config.server.health_check_interval.is_some() {
            let probes = probes(&config, &shared);
            health.expect(&probes, Instant::now());
            connections.retain(|name| is_wanted(&probes, name));
            for probe in probes {
                if asked.insert(probe.question.key()) {
                    let limit = config.server.server_connect_timeout.unwrap_or(LONGEST_PROBE);
                    let limit = limit.min(LONGEST_PROBE);
                    under_way.spawn(ask(
                        probe,
                        limit,
                        Arc::clone(&connections),
                        Arc::clone(&turns),
                    ));
                }
            }
        } else {
            health.expect_nothing();
        }
        let pause = sleep(config.server.health_check_interval.unwrap_or(LOOK_AGAIN));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                Some(answer) = under_way.join_next() => {
                    // A probe that panicked would be asked never again; it has nothing to panic on.
                    if let Ok(answer) = answer {
                        asked.remove(&answer.key);
                        health.learn(answer, Instant::now());
                    }
                }
            }
        }
    }
}

async fn ask(
    probe: Probe,
    limit: Duration,
    connections: Arc<Connections>,
    turns: Arc<Semaphore>,
) -> Answer {
    let Probe { question, names } = probe;
    let key = question.key();
    // Never closed; and if it were, one probe too many does no harm.
    let _turn = turns.acquire().await;
    let started = Instant::now();
    let outcome = match &question {
        Question::Hello { address, user, database } => {
            let asked = timeout(limit, takes_logins(address, user, database)).await;
            asked.unwrap_or(Err(ProbeError::Timeout(limit)))
        }
        Question::Query { name, account, sql } => connections.run(name, account, sql, limit).await,
    };
    Answer { key, names, took: started.elapsed(), outcome }
}

/// What is to be asked: of every database that is configured, and of those in use that `*` serves.
/// Databases at one address share one hello.
fn probes(config: &Config, shared: &Shared) -> Vec<Probe> {
    let pools = shared.pools.all();
    let mut users: BTreeMap<String, Option<String>> =
        config.databases.keys().map(|name| (name.clone(), None)).collect();
    for pool in &pools {
        users.insert(pool.key.database.to_string(), Some(pool.key.user.to_string()));
    }
    let mut probes: Vec<Probe> = Vec::new();
    let mut known: HashMap<QuestionKey, usize> = HashMap::new();
    for (name, user) in users {
        let Some(database) = config.database(&name) else { continue };
        let question = question(config, &name, database, user);
        let at = *known.entry(question.key()).or_insert(probes.len());
        match probes.get_mut(at) {
            Some(probe) => probe.names.push(name),
            None => probes.push(Probe { question, names: vec![name] }),
        }
    }
    probes
}

fn question(config: &Config, name: &str, database: &Database, user: Option<String>) -> Question {
    if let Some(account) = account(config, name, database) {
        let sql = config.server.server_check_query.clone();
        return Question::Query { name: name.to_owned(), account: Box::new(account), sql };
    }
    let known =
        user.or_else(|| database.user.clone()).or_else(|| config.users.keys().next().cloned());
    let asked = if name == FALLBACK { ANY_DATABASE } else { name };
    Question::Hello {
        address: address(&database.host, database.port),
        user: known.unwrap_or_else(|| ANY_USER.to_owned()),
        database: database.server_database(asked).to_owned(),
    }
}

/// The account a database is to be used with, where the configuration says it and its password in
/// full. Not with a limit on the database's or the user's connections: ours would be one more.
fn account(config: &Config, name: &str, database: &Database) -> Option<Account> {
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
        password: password.clone(),
    })
}

fn is_wanted(probes: &[Probe], name: &str) -> bool {
    probes
        .iter()
        .any(|probe| matches!(&probe.question, Question::Query { name: n, .. } if n == name))
}

/// A Postgres without room for one more connection is there: class 53, insufficient resources.
fn is_saturated(error: &ProbeError) -> bool {
    match error {
        ProbeError::Query(error) => error.code().is_some_and(|code| code.code().starts_with("53")),
        ProbeError::Connect(_)
        | ProbeError::Timeout(_)
        | ProbeError::Read(_)
        | ProbeError::NotNow(_)
        | ProbeError::NotPostgres(_)
        | ProbeError::Pool => false,
    }
}

impl Question {
    fn key(&self) -> QuestionKey {
        match self {
            Self::Hello { address, .. } => QuestionKey::Hello(address.clone()),
            Self::Query { name, .. } => QuestionKey::Query(name.clone()),
        }
    }

    fn address(&self) -> ServerAddress {
        match self {
            Self::Hello { address, .. } => address.clone(),
            Self::Query { account, .. } => address(&account.host, account.port),
        }
    }

    fn method(&self) -> Method {
        match self {
            Self::Hello { .. } => Method::Hello,
            Self::Query { .. } => Method::Query,
        }
    }
}
