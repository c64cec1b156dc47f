//! `/queries/{fingerprint}/histogram` and `POST /fingerprint`, `POST /queries/reset`: what belongs to single
//! statements.

use std::time::SystemTime;

use serde::Serialize;

use super::numbers::millis;
use super::queries::OwnerSelection;
use crate::admin::answer::View;
use crate::admin::human;
use crate::admin::table::{Table, name, number as column};
use crate::sql::fingerprint::{Extent, Fingerprint, Fingerprinter};
use crate::sql::lexer::Backslashes;
use crate::stats::ledger::Ledger;
use crate::stats::record::RELATIVE_ERROR;
use crate::stats::spread::Spread;
use crate::stats::window::Window;

/// The longest bar, in characters.
const BAR: usize = 60;

/// How the times of a fingerprint are spread.
#[derive(Debug, Serialize)]
pub(crate) struct HistogramView {
    fingerprint: String,
    /// How far a bound may be off, as a share.
    rel_error: f64,
    count: u64,
    buckets: Vec<Bucket>,
}

/// Calls that took no longer than this, and longer than the bucket before.
#[derive(Clone, Copy, Debug, Serialize)]
struct Bucket {
    up_to_ms: f64,
    count: u64,
}

impl HistogramView {
    /// Of one fingerprint; `None` when there is no such.
    pub(crate) fn of(ledger: &Ledger, wanted: Fingerprint, owner: &OwnerSelection) -> Option<Self> {
        ledger.add_up();
        let mut sum = Spread::default();
        ledger.each(|record| {
            let is_it = record.about.as_ref().is_some_and(|about| about.fingerprint == wanted);
            if is_it && owner.holds(record) {
                sum.add(&record.spread(Window::All, SystemTime::now()));
            }
        });
        (sum.count() > 0).then(|| Self {
            fingerprint: wanted.to_string(),
            rel_error: RELATIVE_ERROR,
            count: sum.count(),
            buckets: sum
                .iter()
                .map(|(micros, count)| Bucket { up_to_ms: millis(micros), count })
                .collect(),
        })
    }

    /// Buckets that double, from the first that holds anything to the last.
    fn doubling(&self) -> Vec<Bucket> {
        let mut doubling: Vec<Bucket> = Vec::new();
        for bucket in &self.buckets {
            let mut up_to_ms = doubling.last().map_or(0.001, |last| last.up_to_ms);
            while up_to_ms < bucket.up_to_ms {
                up_to_ms *= 2.0;
                if !doubling.is_empty() {
                    doubling.push(Bucket { up_to_ms, count: 0 });
                }
            }
            match doubling.last_mut() {
                Some(last) => last.count += bucket.count,
                None => doubling.push(Bucket { up_to_ms, count: bucket.count }),
            }
        }
        doubling
    }
}

impl View for HistogramView {
    fn text(&self) -> String {
        let mut table = Table::new([column("up to"), column("calls"), name("", BAR)]);
        let buckets = self.doubling();
        let most = buckets.iter().map(|bucket| bucket.count).max().unwrap_or(1).max(1);
        for bucket in buckets {
            // At most the longest bar.
            let length = (bucket.count as f64 / most as f64 * BAR as f64).ceil() as usize;
            let cells =
                [human::millis(bucket.up_to_ms), bucket.count.to_string(), "#".repeat(length)];
            table.row(cells);
        }
        table.text()
    }
}

/// What statements are without their values.
#[derive(Debug, Serialize)]
pub(crate) struct FingerprintsView {
    statements: Vec<FingerprintRow>,
}

#[derive(Debug, Serialize)]
struct FingerprintRow {
    fingerprint: String,
    kind: &'static str,
    summary: String,
    text: String,
    incomplete: bool,
}

impl FingerprintsView {
    /// Of a text.
    pub(crate) fn new(sql: &str) -> Self {
        let mut statements = Vec::new();
        Fingerprinter::default().read(sql.as_bytes(), Backslashes::Literal, |statement| {
            let text = statement.text();
            statements.push(FingerprintRow {
                fingerprint: statement.fingerprint.to_string(),
                kind: statement.kind().name(),
                summary: statement.summary(),
                text: text.text,
                incomplete: (statement.extent, text.extent) != (Extent::Whole, Extent::Whole),
            });
        });
        Self { statements }
    }
}

impl View for FingerprintsView {
    fn text(&self) -> String {
        self.statements.iter().map(|row| format!("{}  {}\n", row.fingerprint, row.text)).collect()
    }
}

/// What was forgotten.
#[derive(Debug, Serialize)]
pub(crate) struct ForgottenView {
    pub(crate) forgotten: usize,
}

impl View for ForgottenView {
    fn text(&self) -> String {
        format!("{} forgotten\n", self.forgotten)
    }
}
