//! What is kept of statements takes the memory that it says, and no more than it may: measured in a process of
//! its own, because others' memory cannot be told apart.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use pooler::stats::ledger::Ledger;
use pooler::stats::queries::{Outcome, Place, QueryLog, Times, Watched};
use pooler::stats::record::Owner;
use pooler::stats::slow::Thresholds;
use pooler::stats::sums::{MOST_TRACKED, Room};

/// The one of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// New fingerprints that are not taken for a flood, every ten seconds.
const AT_ONCE: usize = 500;

/// Times of calls spread over three decades, as of statements that sometimes wait for a lock.
const MICROS: [u64; 8] = [90, 110, 130, 180, 400, 1_200, 9_000, 70_000];

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

/// A statement as frameworks write them.
fn statement(number: usize) -> String {
    let columns: Vec<_> = (0..24).map(|c| format!("\"shop_order\".\"column_{c}\"")).collect();
    format!(
        "SELECT {} FROM \"shop_order\" WHERE \"shop_order\".\"tenant_{number}\" = 17 LIMIT 21",
        columns.join(", ")
    )
}

#[test]
fn five_thousand_fingerprints_take_forty_megabytes_and_as_much_as_is_said() {
    let room = Room { most: MOST_TRACKED, bytes: 64 << 20 };
    let ledger = Arc::new(Ledger::new(room, Thresholds::default()));
    let owner = Owner { database: "shop".into(), user: "app".into() };
    let log = QueryLog::new(owner, Arc::clone(&ledger), 1);
    let before = resident();
    let queries: Vec<_> =
        (0..MOST_TRACKED).map(|number| log.run(statement(number).as_bytes())).collect();
    let (clock, wall) = (Instant::now(), SystemTime::now());
    // An hour in which each is called several times a minute.
    for minute in 0..60_u64 {
        for chunk in 0..MOST_TRACKED / AT_ONCE {
            let seconds = Duration::from_secs(minute * 60 + chunk as u64 * 20);
            for number in chunk * AT_ONCE..(chunk + 1) * AT_ONCE {
                for at in 0..2 {
                    let micros = MICROS[(number + minute as usize * 3 + at) % MICROS.len()];
                    let mut watched = Watched::new(queries[number].clone(), 1);
                    watched.count_rows(3, 300, 1);
                    let times = Times { sent: 0, began: 0, ended: micros * 1_000 };
                    let outcome = Outcome::Complete { rows: 3 };
                    log.note(watched.end(outcome, times, Place::default(), 0).unwrap());
                }
            }
            log.flush();
            ledger.add_up_at(clock + seconds, wall + Duration::from_secs(minute * 60));
        }
    }
    let (state, grown) = (ledger.state(), resident() - before);
    println!("{state:?}, the process grew by {grown}");
    assert_eq!((state.tracked, state.evictions, state.dropped), (MOST_TRACKED, 0, 0));
    assert!(grown <= 40 << 20, "{grown} bytes, {state:?}");
    let honest = grown * 3 / 4..=grown * 5 / 4;
    assert!(honest.contains(&state.bytes), "{state:?}, the process grew by {grown}");
}
