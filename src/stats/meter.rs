//! What one worker has seen of one pool. Plain numbers: a worker is one thread, so counting needs
//! neither locks nor atomics.

use hdrhistogram::Histogram;

use super::spread::Spread;
use super::totals::Totals;
use crate::protocol::sqlstate::SqlState;

/// Longest time a histogram tells from longer ones: an hour, in microseconds.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// Two significant digits: at most 0.8 % off, 26 KiB a histogram. Its counters have 64 bits, because
/// 32 would be full after days of a busy pool.
const SIGNIFICANT_DIGITS: u8 = 2;

/// How far a time read back may be off, as a share of it: half a step of the histogram.
pub const RELATIVE_ERROR: f64 = 1.0 / 128.0;

/// Times in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Times {
    histogram: Option<Box<Histogram<u64>>>,
    total_micros: u64,
}

/// How often each SQLSTATE class was sent to clients.
pub type ErrorClasses = Vec<([u8; 2], u64)>;

/// How often each of the pooler's own reports was sent to clients, by its word.
pub type Reasons = Vec<(&'static str, u64)>;

/// What one worker has seen of one pool since the start.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// Transactions that ended (`ReadyForQuery` outside of a transaction block).
    pub transactions: u64,
    /// Queries: simple ones, executions, function calls.
    pub queries: u64,
    /// Rows sent to clients.
    pub rows: u64,
    /// Bytes from clients.
    pub received: u64,
    /// Bytes to clients.
    pub sent: u64,
    /// Times a client was given a server.
    pub assignments: u64,
    /// Clients that logged in.
    pub logins: u64,
    /// Errors sent to clients, by the class of their SQLSTATE.
    pub errors: ErrorClasses,
    /// Errors that are the pooler's own, by the reason.
    pub reports: Reasons,
    /// Time spent waiting for a server, of those who had to wait.
    pub wait: Times,
    /// Time from a query being sent (or the one before it ending) to its last reply.
    pub query: Times,
    /// Time a server was held for a transaction.
    pub transaction: Times,
}

impl Times {
    /// Records a time in nanoseconds.
    #[inline]
    pub fn record(&mut self, nanos: u64) {
        let micros = nanos / 1_000;
        self.total_micros += micros;
        self.histogram.get_or_insert_with(new_histogram).saturating_record(micros.max(1));
    }

    /// Adds what another has recorded.
    pub fn merge(&mut self, other: &Self) {
        self.total_micros += other.total_micros;
        if let Some(theirs) = &other.histogram {
            match &mut self.histogram {
                // Both have the same bounds.
                Some(ours) => ours.add(&**theirs).unwrap_or(()),
                None => self.histogram = Some(theirs.clone()),
            }
        }
    }

    /// How many were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, |h| h.len())
    }

    /// Their sum, in microseconds.
    #[must_use]
    pub fn total_micros(&self) -> u64 {
        self.total_micros
    }

    /// What was recorded, as far as anything was.
    #[must_use]
    pub fn spread(&self) -> Spread {
        let Some(histogram) = &self.histogram else { return Spread::default() };
        let recorded = histogram.iter_recorded();
        Spread::new(recorded.map(|v| (v.value_iterated_to(), v.count_at_value())))
    }
}

fn new_histogram() -> Box<Histogram<u64>> {
    let histogram = Histogram::new_with_bounds(1, LONGEST_MICROS, SIGNIFICANT_DIGITS);
    Box::new(histogram.expect("the bounds and digits are constants within hdrhistogram's limits"))
}

impl Meter {
    /// Counts an error sent to a client.
    pub fn count_error(&mut self, code: Option<SqlState>) {
        count_error(&mut self.errors, code);
    }

    /// Counts an error of the pooler's own.
    pub fn count_report(&mut self, code: SqlState, reason: &'static str) {
        self.count_error(Some(code));
        merge_counts(&mut self.reports, &[(reason, 1)]);
    }

    /// The numbers without the histograms: small enough to be asked for every second.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            transactions: self.transactions,
            queries: self.queries,
            rows: self.rows,
            received: self.received,
            sent: self.sent,
            assignments: self.assignments,
            logins: self.logins,
            errors: self.errors.iter().map(|(_, count)| count).sum(),
            waits: self.wait.count(),
            wait_micros: self.wait.total_micros(),
            query_micros: self.query.total_micros(),
            transaction_micros: self.transaction.total_micros(),
        }
    }

    /// Adds what another has seen.
    pub fn merge(&mut self, other: &Self) {
        self.transactions += other.transactions;
        self.queries += other.queries;
        self.rows += other.rows;
        self.received += other.received;
        self.sent += other.sent;
        self.assignments += other.assignments;
        self.logins += other.logins;
        merge_errors(&mut self.errors, &other.errors);
        merge_counts(&mut self.reports, &other.reports);
        self.wait.merge(&other.wait);
        self.query.merge(&other.query);
        self.transaction.merge(&other.transaction);
    }
}

/// Counts an error by the class of its SQLSTATE.
pub fn count_error(errors: &mut ErrorClasses, code: Option<SqlState>) {
    let class = code.unwrap_or(SqlState::INTERNAL_ERROR).class();
    merge_errors(errors, &[(class, 1)]);
}

/// Adds counts to others.
pub fn merge_errors(errors: &mut ErrorClasses, others: &[([u8; 2], u64)]) {
    merge_counts(errors, others);
}

fn merge_counts<T: Copy + PartialEq>(counts: &mut Vec<(T, u64)>, others: &[(T, u64)]) {
    for &(what, count) in others {
        match counts.iter_mut().find(|(known, _)| *known == what) {
            Some((_, sum)) => *sum += count,
            None => counts.push((what, count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_adds_up() {
        let mut a = Meter::default();
        let mut b = Meter::default();
        a.query.record(2_000_000);
        b.query.record(4_000_000);
        b.count_report(SqlState::QUERY_CANCELED, "shutdown");
        b.queries = 1;
        a.merge(&b);
        a.merge(&b);
        assert_eq!((a.query.count(), a.queries), (3, 2));
        assert_eq!(a.query.total_micros(), 10_000);
        assert_eq!((&*a.errors, &*a.reports), (&[(*b"57", 2)][..], &[("shutdown", 2)][..]));
        assert_eq!(a.query.spread().cumulative(&[1, 2_500, 10_000]), [0, 1, 3]);
        assert_eq!((a.totals().errors, a.totals().query_micros), (2, 10_000));
    }

    #[test]
    fn quantiles_are_within_the_promised_error() {
        let mut times = Times::default();
        assert_eq!(times.spread().quantile_micros(0.5), 0);
        for micros in 1..=100_000u64 {
            times.record(micros * 1_000);
        }
        for share in [0.5, 0.95, 0.99] {
            let (got, exact) = (times.spread().quantile_micros(share) as f64, share * 1e5);
            assert!((got - exact).abs() / exact <= RELATIVE_ERROR, "{got} for {exact}");
        }
    }
}
