//! What one worker has seen of one pool. Plain numbers: a worker is one thread, so counting needs
//! neither locks nor atomics.

use hdrhistogram::Histogram;

use crate::protocol::sqlstate::SqlState;

/// Longest time a histogram tells from longer ones: an hour, in microseconds.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// Two significant digits: at most 0.8 % off, 10 KiB a histogram.
const SIGNIFICANT_DIGITS: u8 = 2;

/// Times in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Times {
    histogram: Option<Box<Histogram<u32>>>,
    total_micros: u64,
}

/// How often each SQLSTATE class was sent to clients.
pub type ErrorClasses = Vec<([u8; 2], u64)>;

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
    /// Time spent waiting for a server, of those who had to wait.
    pub wait: Times,
    /// Time from a query being sent (or the one before it ending) to its last reply.
    pub query: Times,
    /// Time a server was held for a transaction.
    pub transaction: Times,
    /// Time to open a connection to Postgres and log in.
    pub connect: Times,
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

    /// The time that this share of them (0 to 1) does not exceed, in microseconds; 0 without any.
    #[must_use]
    pub fn quantile_micros(&self, share: f64) -> u64 {
        self.histogram.as_ref().map_or(0, |h| h.value_at_quantile(share))
    }

    /// How many did not exceed each of `bounds` (microseconds, ascending).
    #[must_use]
    pub fn cumulative(&self, bounds: &[u64]) -> Vec<u64> {
        let count = |bound: &u64| self.histogram.as_ref().map_or(0, |h| h.count_between(0, *bound));
        bounds.iter().map(count).collect()
    }
}

fn new_histogram() -> Box<Histogram<u32>> {
    let histogram = Histogram::new_with_bounds(1, LONGEST_MICROS, SIGNIFICANT_DIGITS);
    Box::new(histogram.expect("the bounds and digits are constants within hdrhistogram's limits"))
}

impl Meter {
    /// Counts an error sent to a client.
    pub fn count_error(&mut self, code: Option<SqlState>) {
        let class = code.unwrap_or(SqlState::INTERNAL_ERROR).class();
        match self.errors.iter_mut().find(|(known, _)| *known == class) {
            Some((_, count)) => *count += 1,
            None => self.errors.push((class, 1)),
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
        for &(class, count) in &other.errors {
            match self.errors.iter_mut().find(|(known, _)| *known == class) {
                Some((_, sum)) => *sum += count,
                None => self.errors.push((class, count)),
            }
        }
        self.wait.merge(&other.wait);
        self.query.merge(&other.query);
        self.transaction.merge(&other.transaction);
        self.connect.merge(&other.connect);
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
        b.count_error(Some(SqlState::QUERY_CANCELED));
        b.queries = 1;
        a.merge(&b);
        a.merge(&b);
        assert_eq!((a.query.count(), a.queries), (3, 2));
        assert_eq!(a.query.total_micros(), 10_000);
        assert_eq!(a.errors, [(*b"57", 2)]);
        assert_eq!(a.query.cumulative(&[1, 2_500, 10_000]), [0, 1, 3]);
    }

    #[test]
    fn quantiles_are_within_a_percent() {
        let mut times = Times::default();
        assert_eq!(times.quantile_micros(0.5), 0);
        for micros in 1..=1_000u64 {
            times.record(micros * 1_000);
        }
        let p99 = times.quantile_micros(0.99);
        assert!((985..=1_000).contains(&p99), "{p99}");
    }
}
