//! Is each database's Postgres there? Asked in the background, so that whoever wants to know has
//! the answer at once. What to make of it is left to others: no client is refused because of it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::postgres::{HEALTH, run};
use super::probe::{ProbeError, takes_logins};
use super::question::{Probe, Question, QuestionKey, probes};
use crate::account::Connections;
use crate::client::context::Shared;
use crate::net::address::ServerAddress;

/// A probe that takes longer has failed, whatever `server_connect_timeout` allows: an operator
/// wants to know.
const LONGEST_PROBE: Duration = Duration::from_secs(5);

/// Probes under way at once; more would be a burst for a Postgres that serves many databases.
const PROBES_AT_ONCE: usize = 16;

/// With probing off, how soon it is noticed that a reload has switched it on.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

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
    let connections = Arc::new(Connections::new(HEALTH));
    let turns = Arc::new(Semaphore::new(PROBES_AT_ONCE));
    let mut under_way: JoinSet<Answer> = JoinSet::new();
    let mut asked: HashSet<QuestionKey> = HashSet::new();
    loop {
        let config = shared.pools.config();
        if config.server.health_check_interval.is_some() {
            let in_use: Vec<_> = shared.pools.all().iter().map(|p| p.key.clone()).collect();
            let probes = probes(&config, &shared.pools.tls(), &in_use);
            health.expect(&probes, Instant::now());
            connections.retain(|name| probes.iter().any(|probe| probe.question.is_query_of(name)));
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
        Question::Query { name, account, sql } => {
            run(&connections, name, account, sql, limit).await
        }
    };
    Answer { key, names, took: started.elapsed(), outcome }
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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::config::{Config, FALLBACK};
    use crate::net::tls::material::TlsMaterial;

    fn all(config: &Config) -> Vec<Probe> {
        probes(config, &TlsMaterial::load(&config.tls).unwrap(), &[])
    }

    fn answer(names: &[&str], outcome: Result<(), ProbeError>) -> Answer {
        Answer {
            key: QuestionKey::Query("any".to_owned()),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            took: Duration::from_millis(1),
            outcome,
        }
    }

    fn refused() -> Result<(), ProbeError> {
        Err(ProbeError::Connect(io::ErrorKind::ConnectionRefused.into()))
    }

    #[test]
    fn a_database_stays_as_it_is_until_it_changes() {
        let health = Health::default();
        let start = Instant::now();
        health.expect(&all(&Config::default()), start);
        let at = |second| start + Duration::from_secs(second);
        let look = || health.all()[FALLBACK].clone();
        assert!(matches!(look().state, State::Unknown));
        assert_eq!(*health.first_round.borrow(), FirstRound::UnderWay);
        health.learn(answer(&[FALLBACK], Ok(())), at(1));
        assert_eq!(*health.first_round.borrow(), FirstRound::Over);
        health.learn(answer(&[FALLBACK], Ok(())), at(2));
        assert!(!look().state.is_down() && look().since == at(1));
        health.learn(answer(&[FALLBACK], refused()), at(3));
        health.learn(answer(&[FALLBACK], Err(ProbeError::Timeout(Duration::ZERO))), at(4));
        let State::Down(reason) = look().state else { panic!("{:?}", look()) };
        assert!(matches!(*reason, ProbeError::Timeout(_)), "the latest reason, not {reason}");
        assert_eq!(look().since, at(3));
    }

    #[test]
    fn what_is_not_configured_any_more_is_forgotten() {
        let health = Health::default();
        let setting = ("POOLER__DATABASES__SHOP__HOST".to_owned(), "db".to_owned());
        let configured = Config::load(None, &BTreeMap::from([setting])).unwrap();
        health.expect(&all(&configured), Instant::now());
        health.expect(&all(&Config::default()), Instant::now());
        health.learn(answer(&["shop"], refused()), Instant::now());
        assert_eq!(health.all().into_keys().collect::<Vec<_>>(), [FALLBACK]);
    }
}
