//! Writing metrics: Prometheus' text format 0.0.4, or OpenMetrics 1.0 for those who ask for it.

use std::fmt::Write as _;

use super::table::{Kind, Metric, Read};
use super::{PoolScene, Scene};
use crate::admin::views::numbers::by_class;
use crate::admin::views::state::VERSION;
use crate::control::census::Measured;
use crate::stats::meter::ErrorClasses;
use crate::stats::series::{BUCKETS, Buckets, Sum};
use crate::stats::spread::Spread;

/// The suffix of every counter's samples; OpenMetrics leaves it out of the metric's name.
const TOTAL: &str = "_total";

/// The two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposition {
    /// Text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// By the `Accept` header: OpenMetrics if it is named at all, as Prometheus does.
    pub(super) fn accepted(accept: &str) -> Self {
        let named = accept.contains("application/openmetrics-text");
        if named { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The media type.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// All metrics of a moment.
    pub(super) fn write(self, metrics: &[Metric], scene: &Scene) -> String {
        let pools = scene.pools();
        let mut out = Page { text: String::new(), format: self };
        for metric in metrics {
            out.describe(metric);
            out.samples(metric, scene, &pools);
        }
        if self == Self::OpenMetrics {
            out.text.push_str("# EOF\n");
        }
        out.text
    }
}

impl Metric {
    /// The word for its type.
    pub(super) fn kind(&self) -> &'static str {
        match self.read {
            Read::Process(kind, _) | Read::Pool(kind, _) | Read::Database(kind, _) => match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            },
            Read::PoolTimes(_) | Read::PoolKinds | Read::Pauses => "histogram",
            Read::PoolErrors(_)
            | Read::PoolReasons(_)
            | Read::Explains
            | Read::Errors(_)
            | Read::Fingerprints(_) => "counter",
            Read::Version | Read::Workers(_) | Read::Summaries | Read::Findings => "gauge",
        }
    }
}

#[cfg(test)]
impl Metric {
    /// The names of its labels, for the docs.
    pub(super) fn labels(&self) -> &'static str {
        match self.read {
            Read::Process(..) => "",
            Read::Workers(_) => "worker",
            Read::Pool(..) | Read::PoolTimes(_) | Read::Pauses => "database, user",
            Read::Findings => "class, confidence",
            Read::Explains => "outcome",
            Read::PoolErrors(_) => "database, user, sqlstate_class",
            Read::PoolReasons(_) => "database, user, reason",
            Read::PoolKinds => "database, user, kind",
            Read::Fingerprints(_) => "fingerprint, database",
            Read::Summaries => "fingerprint, database, summary",
            Read::Errors(_) => "sqlstate_class",
            Read::Database(..) => "database",
            Read::Version => "version",
        }
    }
}

struct Page {
    text: String,
    format: Exposition,
}

/// What a histogram shows.
struct Times {
    /// How many did not exceed each of [`BUCKETS`].
    cumulative: Vec<u64>,
    count: u64,
    /// Their sum.
    micros: u64,
}

impl Times {
    fn of(spread: &Spread, micros: u64) -> Self {
        Self { cumulative: spread.cumulative(&BUCKETS), count: spread.count(), micros }
    }
}

impl From<&Buckets> for Times {
    fn from(buckets: &Buckets) -> Self {
        let (count, micros) = (buckets.count(), buckets.total_micros());
        Self { cumulative: buckets.cumulative().collect(), count, micros }
    }
}

/// Names and values of labels.
type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    fn describe(&mut self, metric: &Metric) {
        let Metric { name, help, .. } = metric;
        let name = match self.format {
            Exposition::OpenMetrics => name.strip_suffix(TOTAL).unwrap_or(name),
            Exposition::Prometheus => name,
        };
        // A string takes everything that is written to it.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {}", metric.kind());
    }

    fn samples(&mut self, metric: &Metric, scene: &Scene, pools: &[PoolScene<'_>]) {
        let name = metric.name;
        match &metric.read {
            Read::Version => self.sample(name, &[("version", VERSION)], 1.0),
            Read::Process(_, read) => {
                if let Some(value) = read(scene) {
                    self.sample(name, &[], value);
                }
            }
            Read::Workers(read) => {
                for (worker, value) in read(scene).into_iter().enumerate() {
                    self.sample(name, &[("worker", &worker.to_string())], value);
                }
            }
            Read::Errors(read) => {
                for (class, count) in by_class(read(scene)) {
                    self.sample(name, &[("sqlstate_class", &class)], count as f64);
                }
            }
            Read::Database(_, read) => {
                for (database, health) in &scene.health {
                    if let Some(value) = read(health) {
                        self.sample(name, &[("database", database)], value);
                    }
                }
            }
            Read::Pool(_, read) => {
                for pool in pools {
                    self.sample(name, &pool.labels(), read(pool));
                }
            }
            Read::PoolErrors(read) => {
                for pool in pools {
                    self.errors(name, pool, read(&pool.measured));
                }
            }
            Read::PoolReasons(read) => {
                for pool in pools {
                    for (reason, value) in read(pool) {
                        let [database, user] = pool.labels();
                        self.sample(name, &[database, user, ("reason", reason)], value);
                    }
                }
            }
            Read::Findings => self.findings(name, scene),
            Read::Explains => self.explains(name, scene),
            Read::Pauses => self.pauses(name, scene),
            Read::PoolTimes(read) => {
                for pool in pools {
                    let (spread, sum) = read(pool);
                    self.histogram(name, &pool.labels(), &Times::of(&spread, sum));
                }
            }
            Read::PoolKinds => self.kinds(name, scene, pools),
            Read::Fingerprints(read) => self.fingerprints(name, scene, *read),
            Read::Summaries => self.summaries(name, scene),
        }
    }

    fn explains(&mut self, name: &str, scene: &Scene) {
        for (outcome, count) in scene.sources.explainer.fates() {
            self.sample(name, &[("outcome", outcome)], count as f64);
        }
    }

    fn findings(&mut self, name: &str, scene: &Scene) {
        for (class, confidence, count) in scene.findings() {
            let labels = [("class", class.name()), ("confidence", confidence.name())];
            self.sample(name, &labels, count as f64);
        }
    }

    fn pauses(&mut self, name: &str, scene: &Scene) {
        for (owner, spread, sum) in scene.pauses() {
            let labels = [("database", &*owner.database), ("user", &*owner.user)];
            self.histogram(name, &labels, &Times::of(&spread, sum));
        }
    }

    fn errors(&mut self, name: &str, pool: &PoolScene<'_>, errors: &ErrorClasses) {
        for (class, count) in by_class(errors) {
            let [database, user] = pool.labels();
            let labels = [database, user, ("sqlstate_class", class.as_str())];
            self.sample(name, &labels, count as f64);
        }
    }

    fn fingerprints(&mut self, name: &str, scene: &Scene, read: fn(&Sum) -> f64) {
        for shown in &scene.seen.shown {
            let labels = [("fingerprint", &*shown.fingerprint), ("database", &shown.database)];
            self.sample(name, &labels, read(&shown.sum));
        }
    }

    fn summaries(&mut self, name: &str, scene: &Scene) {
        for shown in scene.seen.shown.iter().filter(|shown| !shown.summary.is_empty()) {
            let fingerprint = ("fingerprint", &*shown.fingerprint);
            let labels = [fingerprint, ("database", &shown.database), ("summary", &shown.summary)];
            self.sample(name, &labels, 1.0);
        }
    }

    /// Of statements by kind where these are counted, else of queries of any kind.
    fn kinds(&mut self, name: &str, scene: &Scene, pools: &[PoolScene<'_>]) {
        for pool in pools {
            let [database, user] = pool.labels();
            if !scene.counts_statements() {
                let Measured { spreads, totals, .. } = &pool.measured;
                let times = Times::of(&spreads.query, totals.query_micros);
                self.histogram(name, &[database, user, ("kind", "any")], &times);
            }
            for (kind, buckets) in scene.kinds(pool) {
                let labels = [database, user, ("kind", kind.name())];
                self.histogram(name, &labels, &Times::from(buckets));
            }
        }
    }

    fn histogram(&mut self, name: &str, labels: Labels<'_>, times: &Times) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in BUCKETS.iter().zip(&times.cumulative) {
            // No zeros behind what is needed, which is what Prometheus would write as well.
            let bound = (*bound as f64 / 1e6).to_string();
            self.sample(&bucket, &[labels, &[("le", &*bound)]].concat(), *count as f64);
        }
        let count = times.count as f64;
        self.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), count);
        self.sample(&format!("{name}_sum"), labels, times.micros as f64 / 1e6);
        self.sample(&format!("{name}_count"), labels, count);
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        self.text.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.text, "{label}=\"{}\"", escaped(value));
        }
        self.text.push_str(if labels.is_empty() { " " } else { "} " });
        let _ = match value {
            v if v == f64::INFINITY => writeln!(self.text, "+Inf"),
            v => writeln!(self.text, "{v}"),
        };
    }
}

/// A label's value: backslash, quote and line break are written with a backslash.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        Page { text: String::new(), format: Exposition::Prometheus }
    }

    #[test]
    fn histograms_are_cumulative_and_in_seconds() {
        let mut page = page();
        let spread = Spread::new([(0, 5), (100, 1), (2_000_000, 1), (60_000_000, 1)]);
        page.histogram("t", &[("database", "d"), ("user", "u")], &Times::of(&spread, 62_000_100));
        let lines: Vec<_> = page.text.lines().collect();
        assert_eq!(lines.len(), BUCKETS.len() + 3);
        assert_eq!(lines[0], "t_bucket{database=\"d\",user=\"u\",le=\"0.0001\"} 6");
        let lines = &lines[lines.len() - 4..];
        assert!(
            lines[0].ends_with("le=\"30\"} 7") && lines[1].ends_with("le=\"+Inf\"} 8"),
            "{lines:?}"
        );
        assert_eq!(lines[2], "t_sum{database=\"d\",user=\"u\"} 62.0001");
        assert_eq!(lines[3], "t_count{database=\"d\",user=\"u\"} 8");
    }

    #[test]
    fn names_of_databases_cannot_break_a_line() {
        let mut page = page();
        page.sample("m", &[("database", "a\"b\\c\nd")], 2.5);
        page.sample("m", &[], f64::INFINITY);
        assert_eq!(page.text, "m{database=\"a\\\"b\\\\c\\nd\"} 2.5\nm +Inf\n");
    }
}
