//! `/queries/{fingerprint}/histogram` and `POST /fingerprint`, `POST /queries/reset`: what belongs to single
//! statements.

use std::time::SystemTime;

use schemars::JsonSchema;
use serde::Serialize;

use super::numbers::millis;
use super::selection::{One, has_percentiles};
use crate::admin::answer::View;
use crate::admin::human;
use crate::admin::parameters::{Parameters, word};
use crate::admin::problem::Problem;
use crate::admin::table::{Table, name, number as column};
use crate::sql::fingerprint::{Extent, Fingerprint, Fingerprinter};
use crate::sql::lexer::Backslashes;
use crate::stats::ledger::{Forgotten, Ledger};
use crate::stats::record::RELATIVE_ERROR;
use crate::stats::spread::Spread;

/// The longest bar, in characters.
const BAR: usize = 60;

/// How fine the buckets are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// As they are counted.
    #[default]
    Native,
    /// Each twice the one before.
    Doubling,
    /// Those of the histograms in /metrics, empty ones too.
    Prometheus,
}

const RESOLUTIONS: [(&str, Resolution); 3] = [
    ("native", Resolution::Native),
    ("log2", Resolution::Doubling),
    ("prom", Resolution::Prometheus),
];

/// Bounds of Prometheus' buckets, microseconds.
const BOUNDS: [u64; 17] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    one: One,
    resolution: Resolution,
}

impl Parameters for Wanted {
    const NAMES: &'static [&'static str] = &["resolution", "db", "user", "window", "since"];

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        match name {
            "resolution" => self.resolution = word("resolution", value, &RESOLUTIONS)?,
            _ => self.one.set(name, value)?,
        }
        Ok(())
    }
}

/// How the times of a fingerprint are spread.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct HistogramView {
    fingerprint: String,
    /// Which part of the past it is about.
    window: String,
    /// How far a bound may be off, as a share.
    rel_error: f64,
    count: u64,
    buckets: Vec<Bucket>,
}

/// Calls that took no longer than this, and longer than the bucket before; `null` is any time.
#[derive(Clone, Copy, Debug, JsonSchema, Serialize)]
struct Bucket {
    up_to_ms: Option<f64>,
    count: u64,
}

impl HistogramView {
    /// Of one fingerprint; `None` when it did nothing.
    ///
    /// # Errors
    /// When no histogram of the window is kept.
    pub(crate) fn of(
        ledger: &Ledger,
        fingerprint: Fingerprint,
        wanted: &Wanted,
    ) -> Result<Option<Self>, Problem> {
        ledger.add_up();
        let (now, one) = (SystemTime::now(), &wanted.one);
        let window = one.past.window(ledger.since(), now)?;
        if !has_percentiles(window) {
            let expected = "5m or all, as times are spread of no other".to_owned();
            return Err(Problem::Value { name: "window", given: one.past.word(), expected });
        }
        let mut sum = Spread::default();
        ledger.each(|record| {
            let is_it = record.about.as_ref().is_some_and(|about| about.fingerprint == fingerprint);
            if is_it && one.owner.holds(record) {
                sum.add(&record.spread(window, now));
            }
        });
        Ok((sum.count() > 0).then(|| Self {
            fingerprint: fingerprint.to_string(),
            window: one.past.word(),
            rel_error: RELATIVE_ERROR,
            count: sum.count(),
            buckets: match wanted.resolution {
                Resolution::Native => native(&sum),
                Resolution::Doubling => doubling(&native(&sum)),
                Resolution::Prometheus => prometheus(&sum),
            },
        }))
    }
}

fn native(sum: &Spread) -> Vec<Bucket> {
    let bucket = |(micros, count)| Bucket { up_to_ms: Some(millis(micros)), count };
    sum.iter().map(bucket).collect()
}

fn prometheus(sum: &Spread) -> Vec<Bucket> {
    let mut before = 0;
    let bounds = BOUNDS.iter().map(|micros| Some(millis(*micros))).chain([None]);
    let counts = sum.cumulative(&BOUNDS).into_iter().chain([sum.count()]);
    let bucket = |(up_to_ms, count)| Bucket {
        up_to_ms,
        count: count - std::mem::replace(&mut before, count),
    };
    bounds.zip(counts).map(bucket).collect()
}

/// Buckets that double, from the first that holds anything to the last.
fn doubling(buckets: &[Bucket]) -> Vec<Bucket> {
    let mut doubling: Vec<(f64, u64)> = Vec::new();
    for bucket in buckets {
        let Some(wanted) = bucket.up_to_ms else { continue };
        let mut up_to_ms = doubling.last().map_or(0.001, |last| last.0);
        while up_to_ms < wanted {
            up_to_ms *= 2.0;
            if !doubling.is_empty() {
                doubling.push((up_to_ms, 0));
            }
        }
        match doubling.last_mut() {
            Some(last) => last.1 += bucket.count,
            None => doubling.push((up_to_ms, bucket.count)),
        }
    }
    let bucket = |(up_to_ms, count)| Bucket { up_to_ms: Some(up_to_ms), count };
    doubling.into_iter().map(bucket).collect()
}

impl View for HistogramView {
    fn text(&self) -> String {
        let mut table = Table::new([column("up to"), column("calls"), name("", BAR)]);
        let coarse = self.buckets.iter().any(|bucket| bucket.up_to_ms.is_none());
        let buckets = if coarse { self.buckets.clone() } else { doubling(&self.buckets) };
        let most = buckets.iter().map(|bucket| bucket.count).max().unwrap_or(1).max(1);
        for bucket in buckets {
            // At most the longest bar.
            let length = (bucket.count as f64 / most as f64 * BAR as f64).ceil() as usize;
            let cells = [
                bucket.up_to_ms.map_or_else(|| "+".to_owned(), human::millis),
                bucket.count.to_string(),
                "#".repeat(length),
            ];
            table.row(cells);
        }
        table.text()
    }
}

/// What statements are without their values.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct FingerprintsView {
    statements: Vec<FingerprintRow>,
}

#[derive(Debug, JsonSchema, Serialize)]
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
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct ForgottenView {
    /// Statements.
    forgotten: usize,
    routes: usize,
    /// What repeats.
    findings: usize,
    /// Where transactions waited for their client.
    pauses: usize,
}

impl From<Forgotten> for ForgottenView {
    fn from(forgotten: Forgotten) -> Self {
        let Forgotten { statements, routes, findings, pauses } = forgotten;
        Self { forgotten: statements, routes, findings, pauses }
    }
}

impl View for ForgottenView {
    fn text(&self) -> String {
        let Self { forgotten, routes, findings, pauses } = self;
        format!(
            "{forgotten} statements, {routes} routes, {findings} findings, {pauses} pauses forgotten\n"
        )
    }
}
