//! Statements as Postgres counted them, by the fingerprints that the pooler has for them.

use std::collections::BTreeMap;

use pooler::sql::fingerprint::Fingerprinter;
use pooler::sql::lexer::Backslashes;

use super::batch::query;
use super::scenario::World;

/// What `pg_stat_statements` counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) calls: u64,
    pub(crate) rows: u64,
    /// Of planning and running them.
    pub(crate) millis: f64,
    /// The least of that for one of them.
    pub(crate) least: f64,
}

/// The fingerprint of one statement.
pub(crate) fn fingerprint(sql: &str) -> String {
    let mut found = String::new();
    Fingerprinter::default().read(sql.as_bytes(), Backslashes::Literal, |statement| {
        found = statement.fingerprint.to_string();
    });
    found
}

/// What the user `app` did in the database of this test, by fingerprint, each with one of its texts.
pub(crate) fn seen_by_postgres(world: &World) -> BTreeMap<String, (Seen, String)> {
    let mut superuser = world.superuser();
    superuser.query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
    let sql = "SELECT query, calls, rows, total_exec_time + total_plan_time, min_exec_time + min_plan_time \
               FROM pg_stat_statements WHERE toplevel AND userid = 'app'::regrole \
               AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let mut seen: BTreeMap<String, (Seen, String)> = BTreeMap::new();
    for row in superuser.run(&query(sql)).rows() {
        let entry = seen.entry(fingerprint(&row[0]));
        let (sum, _) = entry.or_insert_with(|| (Seen::default(), row[0].clone()));
        let least = row[4].parse().unwrap();
        sum.least = if sum.calls == 0 { least } else { sum.least.min(least) };
        sum.calls += row[1].parse::<u64>().unwrap();
        sum.rows += row[2].parse::<u64>().unwrap();
        sum.millis += row[3].parse::<f64>().unwrap();
    }
    seen
}
