//! What the pooler counts is what `pg_stat_statements` counts: the same statements, calls and rows, and times that
//! differ by what the way to Postgres costs.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::support::{
    Scenario, Seen, World, has_pg_stat_statements, postgres_program, seen_by_postgres, wait_for,
};
use super::{Command, load, python, run};

/// How far times may be apart beyond what the way to Postgres costs, as a share or in milliseconds, whatever is
/// more. The shortest of many calls is compared: whatever else computes on the machine spoils means and medians.
const SHARE: f64 = 0.15;
const MILLIS: f64 = 0.1;

/// The shortest way to Postgres and back takes less.
const LONGEST_WAY: f64 = 1.0;

/// A mean on a machine that is full is wrong by less; less than what the shop's bank takes or a queue for servers,
/// which are no time of any statement.
const SPOILT: f64 = 20.0;

/// A mean of fewer calls says little. The end of a transaction, too, is no part of what Postgres times, and makes
/// CREATE TABLE look quicker than it is.
const ENOUGH_CALLS: u64 = 100;

/// Counting lags behind by a fraction of a second.
const LAG: Duration = Duration::from_secs(5);

/// Others compute on this machine as well, which may make one run slow, but not each of so many.
const TRIES: usize = 4;

fn world() -> World {
    assert!(has_pg_stat_statements(), "pg_stat_statements is missing: run `make test-deps`");
    // What is asked for functions is made of statements that clients run, too.
    let quiet = Scenario::new().set("log.log_connections", false).set("server.function_check", 0);
    quiet.set("log.log_disconnections", false).pool_size(super::SERVERS).start()
}

/// What Postgres counts for the user of the pool, but no client sends: the pooler's own questions and what gives
/// servers the settings of their clients, and how Postgres checks foreign keys.
fn is_no_clients(text: &str) -> bool {
    let starts = [
        "RESET \"",
        "SELECT pg_catalog.set_config(",
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    ];
    let ends = ["pg_catalog.pg_my_temp_schema()", "OPERATOR(pg_catalog.=) $1 FOR KEY SHARE OF x"];
    starts.iter().any(|start| text.starts_with(start)) || ends.iter().any(|end| text.ends_with(end))
}

/// Both sides' numbers of each statement.
struct Comparison {
    pairs: Vec<(Value, Seen)>,
}

impl Comparison {
    /// Waits until both sides have the same statements, calls and rows. Left out of it is the kind `without`.
    fn of(world: &World, without: &str) -> Comparison {
        wait_for(LAG, "the pooler to have counted what Postgres has", || {
            let (pairs, faults) = pairs(world, without);
            if faults.is_empty() { Ok(Comparison { pairs }) } else { Err(faults) }
        })
    }

    /// What is to be said of times that are too far apart. The way to Postgres costs every statement the
    /// same, and is known from the one where the sides are closest.
    fn apart(&self) -> String {
        let mut faults = String::new();
        let often = self.pairs.iter().filter(|(_, seen)| seen.calls >= ENOUGH_CALLS);
        let times = often.map(|(ours, seen)| {
            let [least, mean] = ["min", "mean"].map(|key| ours["exec_ms"][key].as_f64().unwrap());
            (least - seen.least, seen.least, mean, seen.millis / seen.calls as f64, &ours["text"])
        });
        let way = times.clone().map(|(more, ..)| more).fold(f64::MAX, f64::min);
        if !(0.0..LONGEST_WAY).contains(&way) {
            let _ = writeln!(faults, "{way} ms to Postgres and back");
        }
        for (more, least, mean, theirs, text) in times {
            let mean_is_wrong = !(theirs..theirs * (1.0 + SHARE) + SPOILT).contains(&mean);
            if more - way > MILLIS.max(SHARE * least) || mean_is_wrong {
                let _ = writeln!(
                    faults,
                    "{more} ms more than {least} ms, the way {way} ms; mean {mean} ms, not {theirs} ms: {text}"
                );
            }
        }
        faults
    }
}

/// What both sides counted, and what only one did, or otherwise.
fn pairs(world: &World, without: &str) -> (Vec<(Value, Seen)>, String) {
    let (mut pairs, mut faults) = (Vec::new(), String::new());
    let mut postgres = seen_by_postgres(world);
    postgres.retain(|_, (_, text)| !is_no_clients(text));
    let page = world.pooler.admin().json("/queries?kind=all&limit=500");
    for ours in page["queries"].as_array().unwrap() {
        assert_eq!(ours["errors"], serde_json::json!({}), "Postgres does not count those: {ours}");
        match postgres.remove(ours["fingerprint"].as_str().unwrap()) {
            _ if ours["kind"] == without => {}
            Some((seen, _)) if ours["calls"] == seen.calls && ours["rows"] == seen.rows => {
                pairs.push((ours.clone(), seen));
            }
            seen => {
                let (calls, rows) = (&ours["calls"], &ours["rows"]);
                let _ =
                    writeln!(faults, "{calls} calls, {rows} rows, not {seen:?}: {}", ours["text"]);
            }
        }
    }
    for (seen, text) in postgres.into_values() {
        let _ = writeln!(faults, "not counted: {seen:?} {text}");
    }
    (pairs, faults)
}

/// pgbench's TPC-B in one mode: counts each time, and times in one of the tries.
fn pgbench(mode: &str, without: &str) {
    let mut faults = String::new();
    for _ in 0..TRIES {
        let world = world();
        load(&world);
        let mut command = Command::new(postgres_program("pgbench"));
        let one = ["--no-vacuum", "--client=1", "--transactions=1000", "--protocol", mode];
        run(&world, command.args(one));
        let comparison = Comparison::of(&world, without);
        let updates = comparison.pairs.iter().filter(|(ours, _)| ours["kind"] == "update");
        assert!(updates.filter(|(_, seen)| (seen.calls, seen.rows) == (1_000, 1_000)).count() == 3);
        faults = comparison.apart();

        if faults.is_empty() {
            return;
        }
    }
    panic!("{mode}: {faults}");
}

#[test]
fn what_pgbench_does_is_counted_as_postgres_counts_it() {
    pgbench("simple", "none");
    pgbench("extended", "none");
    // Up to 17 pg_stat_statements counts a prepared BEGIN or END at its first execution only.
    pgbench("prepared", "txn");
}

#[test]
fn what_django_does_is_counted_as_postgres_counts_it() {
    let mut faults = String::new();
    for _ in 0..TRIES {
        let world = world();
        // Else Django's own set_config stands in one sum with those that give servers its time zone.
        world.superuser().query(&format!("ALTER DATABASE {} SET timezone = 'UTC'", world.database));
        let mut shop = python("django_shop/run.py");
        // A transaction for each request: at the end of a statement outside of one Postgres commits, beyond what it
        // times. One visitor: others would only make each other slow.
        let arguments = ["--rounds=10", "--parcels=50000", "--visitors=1"];
        run(&world, shop.args(arguments).env("ATOMIC_REQUESTS", "1"));
        let comparison = Comparison::of(&world, "none");
        assert!(comparison.pairs.len() > 40);
        faults = comparison.apart();

        if faults.is_empty() {
            return;
        }
    }
    panic!("{faults}");
}
