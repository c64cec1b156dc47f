//! Every metric with its values at one moment, whatever the format they go out in.

use super::table::{Kind, Metric, Read};
use super::{PoolScene, Scene};
use crate::admin::views::numbers::by_class;
use crate::admin::views::state::VERSION;
use crate::control::census::Measured;
use crate::stats::meter::ErrorClasses;
use crate::stats::series::{BUCKETS, Buckets, Sum};
use crate::stats::spread::Spread;

/// How a metric's values come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
    /// Times in buckets.
    Histogram,
}

/// A metric with its values.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its name, with the unit.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// How its values come about.
    pub kind: FamilyKind,
    /// The values, in the order they are shown.
    pub points: Vec<Point>,
}

/// One value.
#[derive(Clone, Debug)]
pub struct Point {
    /// What it is of.
    pub labels: Vec<(&'static str, String)>,
    /// It.
    pub value: Value,
}

/// What was measured.
#[derive(Clone, Debug)]
pub enum Value {
    /// A number; a limit that is none is infinite.
    Number(f64),
    /// Times.
    Times(Times),
}

/// What a histogram shows.
#[derive(Clone, Debug)]
pub struct Times {
    /// How many did not exceed each of [`BUCKETS`].
    pub cumulative: Vec<u64>,
    /// How many there are.
    pub count: u64,
    /// Their sum, microseconds.
    pub micros: u64,
}

impl FamilyKind {
    /// Prometheus' word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Times {
    /// Times that were recorded, and their sum in microseconds.
    #[must_use]
    pub fn of(spread: &Spread, micros: u64) -> Self {
        Self { cumulative: spread.cumulative(&BUCKETS), count: spread.count(), micros }
    }
}

impl From<&Buckets> for Times {
    fn from(buckets: &Buckets) -> Self {
        let (count, micros) = (buckets.count(), buckets.total_micros());
        Self { cumulative: buckets.cumulative().collect(), count, micros }
    }
}

impl Metric {
    /// How its values come about.
    pub(super) fn family(&self) -> FamilyKind {
        match self.read {
            Read::Process(kind, _) | Read::Pool(kind, _) | Read::Database(kind, _) => match kind {
                Kind::Counter => FamilyKind::Counter,
                Kind::Gauge => FamilyKind::Gauge,
            },
            Read::PoolTimes(_) | Read::PoolKinds | Read::Pauses => FamilyKind::Histogram,
            Read::PoolErrors(_)
            | Read::PoolReasons(_)
            | Read::Explains
            | Read::Errors(_)
            | Read::Fingerprints(_) => FamilyKind::Counter,
            Read::Version | Read::Workers(_) | Read::Summaries | Read::Findings => {
                FamilyKind::Gauge
            }
        }
    }
}

/// These metrics at a moment.
pub(super) fn families(metrics: &[Metric], scene: &Scene) -> Vec<Family> {
    let pools = scene.pools();
    let of = |metric: &Metric| {
        let mut points = Points(Vec::new());
        points.read(metric, scene, &pools);
        let Metric { name, help, .. } = *metric;
        Family { name, help, kind: metric.family(), points: points.0 }
    };
    metrics.iter().map(of).collect()
}

/// Names and values of labels.
type Labels<'a> = &'a [(&'static str, &'a str)];

struct Points(Vec<Point>);

impl Points {
    fn read(&mut self, metric: &Metric, scene: &Scene, pools: &[PoolScene<'_>]) {
        match &metric.read {
            Read::Version => self.number(&[("version", VERSION)], 1.0),
            Read::Process(_, read) => {
                if let Some(value) = read(scene) {
                    self.number(&[], value);
                }
            }
            Read::Workers(read) => {
                for (worker, value) in read(scene).into_iter().enumerate() {
                    self.number(&[("worker", &worker.to_string())], value);
                }
            }
            Read::Errors(read) => {
                for (class, count) in by_class(read(scene)) {
                    self.number(&[("sqlstate_class", &class)], count as f64);
                }
            }
            Read::Database(_, read) => {
                for (database, health) in &scene.health {
                    if let Some(value) = read(health) {
                        self.number(&[("database", database)], value);
                    }
                }
            }
            Read::Pool(_, read) => {
                for pool in pools {
                    self.number(&pool.labels(), read(pool));
                }
            }
            Read::PoolErrors(read) => {
                for pool in pools {
                    self.errors(pool, read(&pool.measured));
                }
            }
            Read::PoolReasons(read) => {
                for pool in pools {
                    for (reason, value) in read(pool) {
                        let [database, user] = pool.labels();
                        self.number(&[database, user, ("reason", reason)], value);
                    }
                }
            }
            Read::Findings => self.findings(scene),
            Read::Explains => self.explains(scene),
            Read::Pauses => self.pauses(scene),
            Read::PoolTimes(read) => {
                for pool in pools {
                    let (spread, sum) = read(pool);
                    self.times(&pool.labels(), Times::of(&spread, sum));
                }
            }
            Read::PoolKinds => self.kinds(scene, pools),
            Read::Fingerprints(read) => self.fingerprints(scene, *read),
            Read::Summaries => self.summaries(scene),
        }
    }

    fn findings(&mut self, scene: &Scene) {
        for (class, confidence, count) in scene.findings() {
            let labels = [("class", class.name()), ("confidence", confidence.name())];
            self.number(&labels, count as f64);
        }
    }

    fn explains(&mut self, scene: &Scene) {
        for (outcome, count) in scene.sources.explainer.fates() {
            self.number(&[("outcome", outcome)], count as f64);
        }
    }

    fn pauses(&mut self, scene: &Scene) {
        for (owner, spread, sum) in scene.pauses() {
            let labels = [("database", &*owner.database), ("user", &*owner.user)];
            self.times(&labels, Times::of(&spread, sum));
        }
    }

    fn errors(&mut self, pool: &PoolScene<'_>, errors: &ErrorClasses) {
        for (class, count) in by_class(errors) {
            let [database, user] = pool.labels();
            self.number(&[database, user, ("sqlstate_class", class.as_str())], count as f64);
        }
    }

    fn fingerprints(&mut self, scene: &Scene, read: fn(&Sum) -> f64) {
        for shown in &scene.seen.shown {
            let labels = [("fingerprint", &*shown.fingerprint), ("database", &shown.database)];
            self.number(&labels, read(&shown.sum));
        }
    }

    fn summaries(&mut self, scene: &Scene) {
        for shown in scene.seen.shown.iter().filter(|shown| !shown.summary.is_empty()) {
            let fingerprint = ("fingerprint", &*shown.fingerprint);
            let labels = [fingerprint, ("database", &shown.database), ("summary", &shown.summary)];
            self.number(&labels, 1.0);
        }
    }

    /// Of statements by kind where these are counted, else of queries of any kind.
    fn kinds(&mut self, scene: &Scene, pools: &[PoolScene<'_>]) {
        for pool in pools {
            let [database, user] = pool.labels();
            if !scene.counts_statements() {
                let Measured { spreads, totals, .. } = &pool.measured;
                let times = Times::of(&spreads.query, totals.query_micros);
                self.times(&[database, user, ("kind", "any")], times);
            }
            for (kind, buckets) in scene.kinds(pool) {
                self.times(&[database, user, ("kind", kind.name())], Times::from(buckets));
            }
        }
    }

    fn number(&mut self, labels: Labels<'_>, value: f64) {
        self.push(labels, Value::Number(value));
    }

    fn times(&mut self, labels: Labels<'_>, times: Times) {
        self.push(labels, Value::Times(times));
    }

    fn push(&mut self, labels: Labels<'_>, value: Value) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.0.push(Point { labels, value });
    }
}
