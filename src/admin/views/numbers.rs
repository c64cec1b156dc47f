//! Numbers that several pages show: rates, percentiles and totals of a pool.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::wrapped;
use crate::admin::human;
use crate::control::history::Recent;
use crate::stats::meter::ErrorClasses;
use crate::stats::spread::Spread;
use crate::stats::totals::Totals;

/// How often things happened within the window.
#[derive(Clone, Copy, Debug, Default, JsonSchema, Serialize)]
pub(crate) struct Rates {
    pub(crate) window_s: f64,
    pub(crate) queries_per_s: f64,
    pub(crate) transactions_per_s: f64,
    pub(crate) errors_per_s: f64,
    pub(crate) rows_per_s: f64,
    pub(crate) received_bytes_per_s: f64,
    pub(crate) sent_bytes_per_s: f64,
}

/// How long things took within the window.
#[derive(Clone, Copy, Debug, Default, JsonSchema, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// What was counted since the start.
#[derive(Clone, Debug, Default, JsonSchema, Serialize)]
pub(crate) struct Sums {
    pub(crate) queries: u64,
    pub(crate) transactions: u64,
    pub(crate) rows: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) server_assignments: u64,
    pub(crate) logins: u64,
    pub(crate) waits: u64,
    pub(crate) wait_ms: f64,
    pub(crate) query_ms: f64,
    pub(crate) transaction_ms: f64,
    pub(crate) server_connects: u64,
    pub(crate) server_connect_failures: u64,
    /// By the class of the SQLSTATE.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl From<Recent> for Rates {
    fn from(recent: Recent) -> Self {
        let Recent { over, totals } = recent;
        let per_second = |count: u64| {
            if over.is_zero() { 0.0 } else { rounded(count as f64 / over.as_secs_f64()) }
        };
        Self {
            window_s: rounded(over.as_secs_f64()),
            queries_per_s: per_second(totals.queries),
            transactions_per_s: per_second(totals.transactions),
            errors_per_s: per_second(totals.errors),
            rows_per_s: per_second(totals.rows),
            received_bytes_per_s: per_second(totals.received),
            sent_bytes_per_s: per_second(totals.sent),
        }
    }
}

impl From<&Spread> for Percentiles {
    fn from(spread: &Spread) -> Self {
        Self {
            count: spread.count(),
            p50: millis(spread.quantile_micros(0.5)),
            p95: millis(spread.quantile_micros(0.95)),
            p99: millis(spread.quantile_micros(0.99)),
            max: millis(spread.longest_micros()),
        }
    }
}

impl Sums {
    /// Of the counts; what is not among them is 0.
    pub(crate) fn new(totals: &Totals, errors: &ErrorClasses) -> Self {
        Self {
            queries: totals.queries,
            transactions: totals.transactions,
            rows: totals.rows,
            received_bytes: totals.received,
            sent_bytes: totals.sent,
            server_assignments: totals.assignments,
            logins: totals.logins,
            waits: totals.waits,
            wait_ms: millis(totals.wait_micros),
            query_ms: millis(totals.query_micros),
            transaction_ms: millis(totals.transaction_micros),
            errors: by_class(errors),
            ..Self::default()
        }
    }

    /// In words.
    pub(crate) fn text(&self) -> String {
        let mut words = vec![
            format!("since the start: {} queries", self.queries),
            format!("{} transactions", self.transactions),
            format!("{} rows", self.rows),
            format!("{} from clients", human::bytes(self.received_bytes)),
            format!("{} to clients", human::bytes(self.sent_bytes)),
            format!("{} logins", self.logins),
            format!("{} connects", self.server_connects),
            format!("{} failed connects", self.server_connect_failures),
        ];
        let errors = self.errors.iter();
        words.extend(errors.map(|(class, count)| format!("{count} errors of class {class}")));
        wrapped(&words, ", ")
    }
}

/// A time in milliseconds for people, or that it is not known.
pub(crate) fn known(time: Option<f64>) -> String {
    time.map_or_else(|| "-".to_owned(), human::millis)
}

/// Milliseconds of microseconds.
pub(crate) fn millis(micros: u64) -> f64 {
    micros as f64 / 1e3
}

/// Milliseconds of a duration, exact to a microsecond.
pub(crate) fn duration_millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

/// Three decimals: more say nothing.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// Counts by SQLSTATE class, sorted.
pub(crate) fn by_class(errors: &ErrorClasses) -> BTreeMap<String, u64> {
    errors
        .iter()
        .map(|(class, count)| (String::from_utf8_lossy(class).into_owned(), *count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_by_the_time_that_was_seen() {
        let totals = Totals { queries: 30, ..Totals::default() };
        let rates = Rates::from(Recent { over: Duration::from_secs(20), totals });
        assert_eq!((rates.queries_per_s, rates.errors_per_s), (1.5, 0.0));
        let none = Rates::from(Recent { over: Duration::ZERO, totals });
        assert_eq!(none.queries_per_s, 0.0);
    }
}
