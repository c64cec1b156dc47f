//! Whether fingerprints are as quick as they must be: ends with status 1 if not (`cargo bench --bench gate`). The quickest
//! of many short rounds counts, which says the same on a machine that others use as well.

#![allow(missing_docs)]

mod texts;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use pooler::sql::fingerprint::Fingerprinter;
use pooler::sql::lexer::Backslashes;

/// Short enough that most rounds are not interrupted.
const CALLS: u32 = 100;
const ROUNDS: u32 = 5_000;

/// What is allowed for each text.
const LIMITS: [(&str, &str, Duration); 2] = [
    ("55 bytes", texts::PGBENCH, Duration::from_micros(1)),
    ("500 bytes", texts::DJANGO, Duration::from_micros(5)),
];

fn quickest(sql: &str) -> Duration {
    let mut fingerprinter = Fingerprinter::default();
    let mut round = || {
        let begun = Instant::now();
        for _ in 0..CALLS {
            fingerprinter.read(black_box(sql.as_bytes()), Backslashes::Literal, |statement| {
                black_box(statement.fingerprint);
            });
        }
        begun.elapsed()
    };
    (0..ROUNDS).map(|_| round()).min().unwrap_or_default() / CALLS
}

fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (name, sql, limit) in LIMITS {
        let took = quickest(sql);
        println!("fingerprint of {name}: {} ns, {} ns at most", took.as_nanos(), limit.as_nanos());
        if took > limit {
            code = ExitCode::FAILURE;
        }
    }
    code
}
