//! Writing metrics: Prometheus' text format 0.0.4, or OpenMetrics 1.0 for those who ask for it.

use std::fmt::Write as _;

use super::families::{Family, Times, Value};
#[cfg(test)]
use super::table::{Metric, Read};
use crate::stats::series::BUCKETS;

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
    pub(super) fn write(self, families: &[Family]) -> String {
        let mut out = Page { text: String::new(), format: self };
        for family in families {
            out.describe(family);
            out.samples(family);
        }
        if self == Self::OpenMetrics {
            out.text.push_str("# EOF\n");
        }
        out.text
    }
}

#[cfg(test)]
impl Metric {
    /// The word for its type.
    pub(super) fn kind(&self) -> &'static str {
        self.family().word()
    }

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

/// Names and values of labels.
type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    fn describe(&mut self, family: &Family) {
        let Family { name, help, kind, .. } = family;
        let name = match self.format {
            Exposition::OpenMetrics => name.strip_suffix(TOTAL).unwrap_or(name),
            Exposition::Prometheus => name,
        };
        // A string takes everything that is written to it.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {}", kind.word());
    }

    fn samples(&mut self, family: &Family) {
        for point in &family.points {
            let labels: Vec<_> = point.labels.iter().map(|(name, v)| (*name, v.as_str())).collect();
            match &point.value {
                Value::Number(value) => self.sample(family.name, &labels, *value),
                Value::Times(times) => self.histogram(family.name, &labels, times),
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
    use crate::stats::spread::Spread;

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
