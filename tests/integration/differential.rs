//! Postgres as the oracle for scripts nobody would think of: random messages, equal replies.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::support::{Batch, Pair, Scenario, query};

/// Few names, so that scripts meet their own earlier statements.
const NAMES: [&str; 4] = ["", "a", "b", "c"];

const STATEMENTS: [&str; 8] = [
    "SELECT 1",
    "SELECT $1::text",
    "SELECT $1::int + 1",
    "SELECT nothing",
    "INSERT INTO item VALUES (1)",
    "SELECT generate_series(1, 3)",
    "SELECT $1::int, $2::text",
    "SELECT 1 / ((random() * 0)::int)",
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

fn pick<'a>(random: &mut StdRng, from: &[&'a str]) -> &'a str {
    from[random.random_range(0..from.len())]
}

/// One message of the extended protocol.
fn message(random: &mut StdRng, batch: Batch) -> Batch {
    let name = pick(random, &NAMES);
    // Named ones only: PostgreSQL 15 itself crashes when the unnamed portal of a failed simple query is described.
    let portal = pick(random, &NAMES[1..]);
    let parameters: &[&str] = match random.random_range(0..3) {
        0 => &[],
        1 => &["7"],
        _ => &["text"],
    };
    match random.random_range(0..12) {
        0..3 => batch.parse(name, pick(random, &STATEMENTS)),
        3..6 => batch.run(name, parameters),
        6 => batch.bind(portal, name, parameters),
        7 => batch.execute_some(portal, 2),
        8 => batch.describe('S', name),
        9 => batch.describe('P', portal),
        10 => batch.close('S', name),
        _ => batch.flush(),
    }
}

/// Several segments sent at once, each ended by a Sync or made of a simple query.
fn script(random: &mut StdRng) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..random.random_range(1..5) {
        if random.random_range(0..3) == 0 {
            batch = batch.query(pick(random, &SIMPLE));
            continue;
        }
        for _ in 0..random.random_range(0..7) {
            batch = message(random, batch);
        }
        batch = batch.sync();
    }
    batch
}

/// Runs one seed's scripts on both and ends the transaction they left.
fn compare(pair: &mut Pair, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    for step in 0..8 {
        let script = script(&mut random);
        let (expected, found) = (pair.direct.run(&script), pair.pooled.run(&script));
        assert_eq!(found.shape(), expected.shape(), "seed {seed}, step {step}");
        let messages = |reply: &crate::support::Reply| {
            let errors = reply.frames.iter().filter(|frame| frame.tag == b'E');
            errors.map(|frame| frame.error().message).collect::<Vec<_>>()
        };
        assert_eq!(messages(&found), messages(&expected), "seed {seed}, step {step}");
    }
    pair.same(&query("ROLLBACK"));
}

fn compare_many(pool_size: i64, statements: i64, seeds: std::ops::Range<u64>) {
    const CLIENTS: u64 = 3;
    let scenario = Scenario::new().pool_size(pool_size);
    let world = scenario.set("pool.max_prepared_statements", statements).start();
    world.prepare("CREATE TABLE item (n int)");
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (world, seeds) = (&world, seeds.clone());
            scope.spawn(move || {
                let mut pair = world.pair();
                for seed in seeds {
                    compare(&mut pair, seed * CLIENTS + client);
                    if seed % 10 == 0 {
                        pair = world.pair();
                    }
                }
            });
        }
    });
}

#[test]
fn one_server() {
    compare_many(1, 200, 0..100);
}

#[test]
fn few_servers() {
    compare_many(2, 200, 1000..1100);
}

#[test]
fn servers_that_may_know_one_statement() {
    compare_many(1, 1, 2000..2100);
}

#[test]
fn servers_that_may_know_two_statements() {
    compare_many(3, 2, 3000..3100);
}
