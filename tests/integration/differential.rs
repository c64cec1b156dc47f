//! Postgres as the oracle for scripts nobody would think of: random messages of four clients, replies equal byte for
//! byte. The words that scripts are made of are here for statements, in `differential_session` for session state.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use crate::support::{
    Batch, Frame, Login, PATIENCE, Pair, RawClient, Reply, Scenario, World, query, wait_for,
};

/// Clients of a script.
const CLIENTS: usize = 4;

/// Few names, so that scripts meet their own earlier statements.
const NAMES: [&str; 4] = ["", "a", "b", "c"];

/// Named ones only: PostgreSQL 15 itself crashes when the unnamed portal of a failed simple query is described.
const PORTALS: [&str; 2] = ["p", "q"];

/// What scripts say.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    /// Parsed, bound, executed, described, closed.
    pub(crate) statements: &'static [&'static str],
    /// Simple queries, also several in one message.
    pub(crate) simple: &'static [&'static str],
    /// What a client that must not keep its server says at the end of its turn.
    pub(crate) let_go: &'static [&'static str],
    /// What is looked at when a script has ended.
    pub(crate) see: &'static [&'static str],
}

const WORDS: Words = Words {
    statements: &[
        "SELECT 1",
        "SELECT $1::text",
        "SELECT $1::int + 1",
        "INSERT INTO item VALUES (1)",
        "SELECT generate_series(1, 3)",
        "SELECT $1::int, $2::text",
        "SELECT 1 / ((random() * 0)::int)",
        "BEGIN",
        "ROLLBACK",
    ],
    simple: &[
        "SELECT 1",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SELECT 1; SELECT nothing; SELECT 2",
        "",
        "SAVEPOINT s",
        "ROLLBACK TO s",
        "COPY (SELECT 1) TO STDOUT",
    ],
    let_go: &["ROLLBACK"],
    see: &["SELECT count(*) FROM item"],
};

const PARAMETERS: [&[&str]; 3] = [&[], &["7"], &["text"]];

/// Never parsed with success: where a used name meets a statement that fails, Postgres tells the fault of the
/// statement, which the pooler would not know without asking.
const NEVER_USED: [&str; 2] = ["", "bad"];

type Name = &'static str;

/// A message of the extended protocol.
#[derive(Clone, Debug)]
enum Message {
    Parse(Name, &'static str),
    ParseFailing(Name),
    Run(Name, &'static [&'static str]),
    Bind(Name, Name, &'static [&'static str]),
    Execute(Name),
    DescribeStatement(Name),
    DescribePortal(Name),
    CloseStatement(Name),
    ClosePortal(Name),
    Flush,
}

/// What ends with one ReadyForQuery.
#[derive(Clone, Debug)]
enum Segment {
    Simple(Vec<&'static str>),
    Extended(Vec<Message>),
}

/// What one of the clients does.
#[derive(Clone, Debug)]
enum Act {
    /// Sends segments at once.
    Send(Vec<Segment>),
    /// Goes, with a goodbye or without; another takes its place.
    Leave(Goodbye),
}

#[derive(Clone, Copy, Debug)]
enum Goodbye {
    Said,
    Unsaid,
}

type Turn = (usize, Act);

fn message(words: Words) -> impl Strategy<Value = Message> {
    let (name, portal) = (select(&NAMES), select(&PORTALS));
    let parameters = || select(&PARAMETERS);
    prop_oneof![
        3 => (name.clone(), select(words.statements)).prop_map(|(name, sql)| Message::Parse(name, sql)),
        1 => select(&NEVER_USED).prop_map(Message::ParseFailing),
        3 => (name.clone(), parameters()).prop_map(|(name, with)| Message::Run(name, with)),
        1 => (portal.clone(), name.clone(), parameters())
            .prop_map(|(portal, name, with)| Message::Bind(portal, name, with)),
        1 => portal.clone().prop_map(Message::Execute),
        1 => name.clone().prop_map(Message::DescribeStatement),
        1 => portal.clone().prop_map(Message::DescribePortal),
        1 => name.prop_map(Message::CloseStatement),
        1 => portal.prop_map(Message::ClosePortal),
        1 => Just(Message::Flush),
    ]
}

/// Without what shows a setting: what a client logged in with comes back right behind the message that resets it.
fn in_one_message(mut sql: Vec<&'static str>) -> Segment {
    sql.retain(|sql| !sql.starts_with("SHOW"));
    Segment::Simple(sql)
}

fn turns(words: Words) -> impl Strategy<Value = Vec<Turn>> {
    let segment = prop_oneof![
        2 => select(words.simple).prop_map(|sql| Segment::Simple(vec![sql])),
        1 => vec(select(words.simple), 2..4).prop_map(in_one_message),
        4 => vec(message(words), 0..6).prop_map(Segment::Extended),
    ];
    let act = prop_oneof![
        12 => vec(segment, 1..4).prop_map(Act::Send),
        1 => select(&[Goodbye::Said, Goodbye::Unsaid][..]).prop_map(Act::Leave),
    ];
    vec((0..CLIENTS, act), 1..12)
}

fn add(batch: Batch, message: &Message) -> Batch {
    match message {
        Message::Parse(name, sql) => batch.parse(name, sql),
        Message::ParseFailing(name) => batch.parse(name, "SELECT nothing"),
        Message::Run(name, parameters) => batch.run(name, parameters),
        Message::Bind(portal, name, parameters) => batch.bind(portal, name, parameters),
        Message::Execute(portal) => batch.execute_some(portal, 2),
        Message::DescribeStatement(name) => batch.describe('S', name),
        Message::DescribePortal(portal) => batch.describe('P', portal),
        Message::CloseStatement(name) => batch.close('S', name),
        Message::ClosePortal(portal) => batch.close('P', portal),
        Message::Flush => batch.flush(),
    }
}

fn batch(segments: &[Segment]) -> Batch {
    segments.iter().fold(Batch::new(), |batch, segment| match segment {
        Segment::Simple(sql) => batch.query(&sql.join("; ")),
        Segment::Extended(messages) => messages.iter().fold(batch, add).sync(),
    })
}

/// The bytes of a frame, but for what tells two sessions of the same server apart: which file of Postgres' source an
/// error comes from, where the pooler gives it, and the ids of tables.
fn comparable(frame: &Frame) -> Vec<u8> {
    match frame.tag {
        b'E' | b'N' => frame
            .body
            .split(|byte| *byte == 0)
            .filter(|field| !matches!(field.first(), Some(b'F' | b'L' | b'R')))
            .collect::<Vec<_>>()
            .join(&0),
        b'T' => frame.without_tables(),
        _ => frame.body.clone(),
    }
}

/// The replies in order, to be read and to be compared. What Postgres says at any time is compared when it does not
/// matter when.
pub(crate) fn said(reply: &Reply) -> (String, Vec<Vec<u8>>) {
    let frames = || reply.frames.iter().filter(|frame| !b"SA".contains(&frame.tag));
    let shape: Vec<_> = frames().map(Frame::shape).collect();
    let closed = if reply.closed { " closed" } else { "" };
    (shape.join(" ") + closed, frames().map(comparable).collect())
}

/// Too few or too many parameters, or a Describe of what gives no rows, in a failed transaction: the server may not know
/// that statement yet, and refuses it before its parameters are counted. What is expected then is what was found.
fn forgive(expected: &mut Reply, found: &Reply) {
    let of_failed = |frame: &&Frame| frame.tag == b'E' && frame.error().sqlstate == "25P02";
    let first =
        expected.frames.iter().zip(&found.frames).position(|(one, other)| one.tag != other.tag);
    if let Some(at) = first
        && expected.frames[at].tag == b't'
        && of_failed(&&found.frames[at])
        && let Some(ready) = expected.frames[at..].iter().position(|frame| frame.tag == b'Z')
    {
        // Up to its Sync Postgres has discarded all else.
        let _ = expected.frames.splice(at..at + ready, [found.frames[at].clone()]);
    }
    if expected.frames.len() != found.frames.len() {
        return;
    }
    for (expected, found) in expected.frames.iter_mut().zip(&found.frames) {
        let miscounted =
            expected.tag == b'E' && expected.error().message.starts_with("bind message supplies");
        if miscounted && of_failed(&found) {
            expected.clone_from(found);
        }
    }
}

fn parameters(client: &RawClient) -> BTreeMap<&str, &str> {
    client.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// The pooler before one database, and its twin, that is asked directly.
struct Twins {
    world: World,
    twin: String,
    servers: usize,
    words: Words,
}

impl Twins {
    fn start(servers: usize, statements: i64, words: Words) -> Twins {
        // Clients log in for every script. One that waits in vain is a fault to be found soon.
        let scenario = Scenario::new()
            .pool_size(i64::try_from(servers).unwrap())
            .set("auth.auth_type", "trust")
            .set("timeouts.query_wait_timeout", "5s");
        let world = scenario.set("pool.max_prepared_statements", statements).start();
        let twin = world.cluster().create_database();
        let twins = Twins { world, twin, servers, words };
        for mut owner in [twins.world.direct(), RawClient::login(&twins.direct_login())] {
            owner.query("CREATE TABLE item (n int); CREATE SCHEMA tenant; CREATE TABLE tenant.item (t text, n int)");
            owner.query(
                "GRANT ALL ON SCHEMA tenant TO tenant; GRANT ALL ON item, tenant.item TO tenant",
            );
        }
        twins
    }

    fn direct_login(&self) -> Login {
        self.world.cluster().login(&self.twin, "app", "app_secret")
    }

    /// One in two clients brings settings of its own.
    fn pair(&self, number: usize) -> Pair {
        let login = |login: Login| match number % 2 {
            0 => RawClient::login(&login),
            _ => RawClient::login(
                &login.parameter("work_mem", "7MB").parameter("TimeZone", "Asia/Tokyo"),
            ),
        };
        Pair { direct: login(self.direct_login()), pooled: login(self.world.login()) }
    }

    /// Both forget the client: what it held is free.
    fn leave(&self, pair: Pair, goodbye: Goodbye) {
        for client in [pair.direct, pair.pooled] {
            match goodbye {
                Goodbye::Said => client.terminate(),
                Goodbye::Unsaid => client.kill(),
            }
        }
        let locks = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database \
                     WHERE locktype = 'advisory' AND datname =";
        let mut superuser = self.world.superuser();
        wait_for(PATIENCE, "locks to be released", || {
            let mut count = |name| superuser.value(&format!("{locks} '{name}'"));
            let (pooled, direct) = (count(&self.world.database), count(&self.twin));
            if pooled == direct {
                Ok(())
            } else {
                Err(format!("{pooled} locks, {direct} directly"))
            }
        });
    }

    /// Clients take their turns. As many as there are servers, less one, may keep theirs in between.
    fn compare(&self, turns: &[Turn]) -> Result<(), TestCaseError> {
        let mut pairs: Vec<_> = (0..CLIENTS).map(|number| self.pair(number)).collect();
        let mut heard = vec![(Vec::new(), Vec::new()); CLIENTS];
        let let_go =
            |batch| self.words.let_go.iter().fold(batch, |batch: Batch, sql| batch.query(sql));
        for (at, (number, act)) in turns.iter().enumerate() {
            let batch = match act {
                Act::Send(segments) if number + 1 < self.servers => batch(segments),
                Act::Send(segments) => let_go(batch(segments)),
                Act::Leave(goodbye) => {
                    self.leave(
                        std::mem::replace(&mut pairs[*number], self.pair(*number)),
                        *goodbye,
                    );
                    heard[*number] = (Vec::new(), Vec::new());
                    continue;
                }
            };
            same(&mut pairs[*number], &batch, &mut heard[*number], &format!("in turn {at}"))?;
        }
        let see = self.words.see.iter().fold(Batch::new(), |batch, sql| batch.query(sql));
        for (number, mut pair) in pairs.into_iter().enumerate() {
            let batch = let_go(Batch::new().query("ROLLBACK").then(see.clone()));
            same(&mut pair, &batch, &mut heard[number], &format!("of client {number} at the end"))?;
            prop_assert_eq!(&heard[number].0, &heard[number].1, "what was notified to {}", number);
            self.leave(pair, Goodbye::Said);
        }
        Ok(())
    }
}

impl Drop for Twins {
    fn drop(&mut self) {
        self.world.cluster().drop_database(&self.twin);
    }
}

/// Notifications, with their channels, without the process that sent them.
type Heard = (Vec<Vec<u8>>, Vec<Vec<u8>>);

/// Runs the batch on both, whose replies must be equal.
fn same(
    pair: &mut Pair,
    batch: &Batch,
    heard: &mut Heard,
    when: &str,
) -> Result<(), TestCaseError> {
    let (mut direct, pooled) = (pair.direct.run(batch), pair.pooled.run(batch));
    forgive(&mut direct, &pooled);
    let (expected, found) = (said(&direct), said(&pooled));
    prop_assert_eq!(found.0, expected.0, "the pooler (left) and Postgres (right) {}", when);
    prop_assert_eq!(
        found.1,
        expected.1,
        "bytes of the pooler (left) and Postgres (right) {}",
        when
    );
    if parameters(&pair.pooled) != parameters(&pair.direct) {
        // What was reset comes back behind the transaction.
        let (_, _) = (pair.direct.run(&query("")), pair.pooled.run(&query("")));
    }
    prop_assert_eq!(parameters(&pair.pooled), parameters(&pair.direct), "parameters {}", when);
    let notified = |reply: &Reply| {
        let frames = reply.frames.iter().filter(|frame| frame.tag == b'A');
        frames.map(|frame| frame.body[4..].to_vec()).collect::<Vec<_>>()
    };
    heard.0.extend(notified(&pooled));
    heard.1.extend(notified(&direct));
    Ok(())
}

/// The same scripts on each run. PROPTEST_CASES asks for more of them, PROPTEST_RNG_SEED for others.
pub(crate) fn compare_many(servers: usize, statements: i64, words: Words, cases: u32) {
    let twins = Twins::start(servers, statements, words);
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if matches!(config.rng_seed, RngSeed::Random) {
        config.rng_seed = RngSeed::Fixed(1);
    }
    let mut runner = TestRunner::new(config);
    if let Err(failure) = runner.run(&turns(words), |turns| twins.compare(&turns)) {
        panic!("{failure}");
    }
    assert_eq!(twins.world.client().run(&query("SELECT 1")).shape(), "T D(1) C(SELECT 1) Z(I)");
}

const CASES: u32 = 96;

#[test]
fn one_server() {
    compare_many(1, 200, WORDS, CASES);
}

#[test]
fn few_servers() {
    compare_many(2, 200, WORDS, CASES);
}

#[test]
fn servers_that_may_know_one_statement() {
    compare_many(1, 1, WORDS, CASES);
}

#[test]
fn servers_that_may_know_two_statements() {
    compare_many(3, 2, WORDS, CASES);
}
