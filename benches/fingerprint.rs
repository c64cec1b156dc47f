//! How long a fingerprint takes: at most 1 µs for 55 bytes and 5 µs for 500 (`cargo bench --bench fingerprint`).

#![allow(missing_docs)]

mod texts;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pooler::sql::fingerprint::Fingerprinter;
use pooler::sql::lexer::{Backslashes, Lexer};
use texts::{DJANGO, PGBENCH};

fn fingerprints(criterion: &mut Criterion) {
    let list: Vec<_> = (10_000..11_000).map(|id: u32| id.to_string()).collect();
    let list = format!("SELECT * FROM t WHERE id IN ({})", list.join(", "));
    for (name, sql) in [("pgbench", PGBENCH), ("django", DJANGO), ("list_of_1000", &list)] {
        let sql = sql.as_bytes();
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(sql.len() as u64));
        group.bench_function("lex", |bencher| {
            bencher.iter(|| Lexer::new(black_box(sql), Backslashes::Literal).count());
        });
        let mut fingerprinter = Fingerprinter::default();
        group.bench_function("fingerprint", |bencher| {
            bencher.iter(|| {
                let mut hash = 0;
                fingerprinter.read(black_box(sql), Backslashes::Literal, |statement| {
                    hash ^= statement.fingerprint.0;
                });
                hash
            });
        });
        group.finish();
    }
}

criterion_group!(benches, fingerprints);
criterion_main!(benches);
