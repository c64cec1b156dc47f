//! What is counted of a pool, without histograms: numbers that add up and that can be subtracted.

/// Counts since the start, or between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Transactions that ended.
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
    /// Errors sent to clients.
    pub errors: u64,
    /// Times a client had to wait for a server and got one.
    pub waits: u64,
    /// Time spent waiting for servers, microseconds.
    pub wait_micros: u64,
    /// Time of queries, microseconds.
    pub query_micros: u64,
    /// Time servers were held for transactions, microseconds.
    pub transaction_micros: u64,
}

impl Totals {
    /// Adds what another has counted.
    pub fn add(&mut self, other: &Self) {
        *self = self.with(other, u64::saturating_add);
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    fn with(&self, other: &Self, op: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            transactions: op(self.transactions, other.transactions),
            queries: op(self.queries, other.queries),
            rows: op(self.rows, other.rows),
            received: op(self.received, other.received),
            sent: op(self.sent, other.sent),
            assignments: op(self.assignments, other.assignments),
            logins: op(self.logins, other.logins),
            errors: op(self.errors, other.errors),
            waits: op(self.waits, other.waits),
            wait_micros: op(self.wait_micros, other.wait_micros),
            query_micros: op(self.query_micros, other.query_micros),
            transaction_micros: op(self.transaction_micros, other.transaction_micros),
        }
    }
}
