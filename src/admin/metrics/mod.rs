//! `/metrics`: all numbers for Prometheus.

mod exposition;
mod families;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::Sources;
use super::parameters::{Asked, NoParameters};
use super::problem::Problem;
use super::routes::{gather, silent};
use crate::control::census::{Count, Measured, Measures, PoolCount, Silent};
use crate::control::health::DatabaseHealth;
use crate::pool::shared::Connects;
use crate::sql::kind::Kind;
use crate::stats::ledger::LedgerState;
use crate::stats::record::Owner;
use crate::stats::series::{Buckets, Seen};
use crate::stats::spans::SpanCounts;
use crate::stats::spread::Spread;
use crate::stats::units::{Class, Confidence};
use exposition::Exposition;
pub use families::{Family, FamilyKind, Point, Times, Value};
use table::METRICS;

/// What is measured at one moment.
struct Scene {
    sources: Arc<Sources>,
    count: Count,
    measures: Measures,
    health: BTreeMap<String, DatabaseHealth>,
    seen: Seen,
}

/// One pool of it.
struct PoolScene<'a> {
    count: &'a PoolCount,
    measured: Measured,
    connects: Connects,
}

/// The page. Without the numbers of a worker counters would seem to go back, and Prometheus would
/// take that for a restart: better no answer.
pub(super) async fn page(
    State(sources): State<Arc<Sources>>,
    headers: HeaderMap,
    asked: Asked<NoParameters>,
) -> Response {
    let families = match families(&sources).await {
        Ok(families) => families,
        Err(silent) => return Problem::Silent(silent).answer(asked.format),
    };
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let exposition = Exposition::accepted(accept.unwrap_or_default());
    let text = exposition.write(&families);
    ([(header::CONTENT_TYPE, exposition.content_type())], text).into_response()
}

/// Every metric with its values.
///
/// # Errors
/// The workers that did not answer.
pub async fn families(sources: &Arc<Sources>) -> Result<Vec<Family>, Silent> {
    let (count, measures) = gather(sources).await;
    let silent = silent(&count, &measures);
    if !silent.is_empty() {
        return Err(silent);
    }
    let health = sources.health.all();
    let seen = sources.shared.ledger.as_ref().map(|ledger| ledger.seen()).unwrap_or_default();
    let scene = Scene { sources: Arc::clone(sources), count, measures, health, seen };
    Ok(families::families(METRICS, &scene))
}

impl Scene {
    /// What became of spans; none where none are sent.
    fn spans(&self) -> Option<SpanCounts> {
        Some(self.sources.shared.ledger.as_ref()?.spans.as_ref()?.counts())
    }

    /// Requests that the collector did not take; none where there is no collector.
    fn otel_failures(&self) -> Option<u64> {
        let shared = &self.sources.shared;
        let is_sent = shared.pools.config().otel.endpoint.is_some();
        is_sent.then(|| shared.otel_failures.load(Ordering::Relaxed))
    }

    fn ledger(&self) -> Option<LedgerState> {
        Some(self.sources.shared.ledger.as_ref()?.state())
    }

    /// How many findings there are of each class and confidence; nothing where nothing is counted.
    fn findings(&self) -> Vec<(Class, Confidence, usize)> {
        let Some(ledger) = &self.sources.shared.ledger else { return Vec::new() };
        let mut insight = ledger.insight.lock();
        let found: Vec<_> =
            insight.findings(Instant::now()).map(|f| (f.class, f.confidence())).collect();
        let all = Class::ALL.into_iter().flat_map(|c| Confidence::ALL.map(|sure| (c, sure)));
        let count = |key| found.iter().filter(|is| **is == key).count();
        all.map(|key| (key.0, key.1, count(key))).collect()
    }

    /// How long clients were idle in transactions, by pool, with the sum in microseconds.
    fn pauses(&self) -> Vec<(Arc<Owner>, Spread, u64)> {
        let Some(ledger) = &self.sources.shared.ledger else { return Vec::new() };
        let insight = ledger.insight.lock();
        insight
            .pause_spreads()
            .map(|(owner, spread, sum)| (Arc::clone(owner), spread, sum))
            .collect()
    }

    fn counts_statements(&self) -> bool {
        self.sources.shared.ledger.is_some()
    }

    /// Times of the statements of a pool.
    fn kinds(&self, pool: &PoolScene<'_>) -> &[(Kind, Buckets)] {
        let [(_, database), (_, user)] = pool.labels();
        let owner = Owner { database: database.into(), user: user.into() };
        self.seen.kinds.get(&owner).map_or(&[], Vec::as_slice)
    }

    fn pools(&self) -> Vec<PoolScene<'_>> {
        let scene = |count| {
            let PoolCount { pool, .. }: &PoolCount = count;
            let measured = self.measures.pools.get(&pool.key).cloned().unwrap_or_default();
            let connects = pool.connects.lock().clone();
            PoolScene { count, measured, connects }
        };
        self.count.pools.iter().map(scene).collect()
    }
}

impl PoolScene<'_> {
    fn labels(&self) -> [(&'static str, &str); 2] {
        let key = &self.count.pool.key;
        [("database", &key.database), ("user", &key.user)]
    }
}
