//! Postgres as the oracle for scripts nobody would think of: random messages of two clients, equal replies.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::support::{Batch, Pair, Reply, Scenario, World, query};

/// Few names, so that scripts meet their own earlier statements.
const NAMES: [&str; 4] = ["", "a", "b", "c"];

/// Named ones only: PostgreSQL 15 itself crashes when the unnamed portal of a failed simple query is described.
const PORTALS: [&str; 2] = ["p", "q"];

const STATEMENTS: [&str; 9] = [
    "SELECT 1",
    "SELECT $1::text",
    "SELECT $1::int + 1",
    "INSERT INTO item VALUES (1)",
    "SELECT generate_series(1, 3)",
    "SELECT $1::int, $2::text",
    "SELECT 1 / ((random() * 0)::int)",
    "BEGIN",
    "ROLLBACK",
];

const SIMPLE: [&str; 9] = [
    "SELECT 1",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SELECT 1; SELECT nothing; SELECT 2",
    "",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "COPY (SELECT 1) TO STDOUT",
];

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
    Simple(&'static str),
    Extended(Vec<Message>),
}

/// Segments that one of the two clients sends at once.
type Turn = (bool, Vec<Segment>);

fn message() -> impl Strategy<Value = Message> {
    let (name, portal) = (select(&NAMES), select(&PORTALS));
    let parameters = || select(&PARAMETERS);
    prop_oneof![
        3 => (name.clone(), select(&STATEMENTS)).prop_map(|(name, sql)| Message::Parse(name, sql)),
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

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let segment = prop_oneof![
        1 => select(&SIMPLE).prop_map(Segment::Simple),
        2 => vec(message(), 0..6).prop_map(Segment::Extended),
    ];
    vec((any::<bool>(), vec(segment, 1..4)), 1..10)
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
        Segment::Simple(sql) => batch.query(sql),
        Segment::Extended(messages) => messages.iter().fold(batch, add).sync(),
    })
}

/// The replies, and the texts of their errors.
fn said(reply: &Reply) -> (String, Vec<String>) {
    let errors = reply.frames.iter().filter(|frame| frame.tag == b'E');
    (reply.shape(), errors.map(|frame| frame.error().message).collect())
}

/// Two clients take their turns. A transaction is ended before the other's turn: there may be one server only.
fn compare(world: &World, turns: &[Turn]) -> Result<(), TestCaseError> {
    let mut pairs = [world.pair(), world.pair()];
    for (number, (second, segments)) in turns.iter().enumerate() {
        let pair: &mut Pair = &mut pairs[usize::from(*second)];
        let batch = batch(segments).query("ROLLBACK");
        let (expected, found) = (said(&pair.direct.run(&batch)), said(&pair.pooled.run(&batch)));
        prop_assert_eq!(
            found,
            expected,
            "the pooler (left) and Postgres (right) in turn {}",
            number
        );
    }
    for pair in pairs {
        pair.pooled.terminate();
        pair.direct.terminate();
    }
    Ok(())
}

/// The same scripts on each run; PROPTEST_CASES asks for more of them.
fn compare_many(pool_size: i64, statements: i64) {
    // Two clients log in for every script.
    let scenario = Scenario::new().pool_size(pool_size).set("auth.auth_type", "trust");
    let world = scenario.set("pool.max_prepared_statements", statements).start();
    world.prepare("CREATE TABLE item (n int)");
    let config = Config { failure_persistence: None, ..Config::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, random);
    if let Err(failure) = runner.run(&turns(), |turns| compare(&world, &turns)) {
        panic!("{failure}");
    }
    assert_eq!(world.client().run(&query("SELECT 1")).shape(), "T D(1) C(SELECT 1) Z(I)");
}

#[test]
fn one_server() {
    compare_many(1, 200);
}

#[test]
fn few_servers() {
    compare_many(2, 200);
}

#[test]
fn servers_that_may_know_one_statement() {
    compare_many(1, 1);
}

#[test]
fn servers_that_may_know_two_statements() {
    compare_many(3, 2);
}
