//! Where a server connection stands, beyond the queue of [`super::owed`].

/// Where `COPY` stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copy {
    /// Nowhere.
    None,
    /// `COPY FROM STDIN` is reading. `CopyGetData` (copyfromparse.c) ignores Flush and Sync until
    /// the data ends, so the Syncs up to then get no `ReadyForQuery`; those after an error do.
    In,
}

/// Where the extended protocol stands, as far as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    /// Nothing was sent since the last Sync.
    Closed,
    /// A Sync is due: Postgres is within a transaction, even if it owes no reply.
    Open,
    /// There was an error: Postgres discards everything up to the Sync.
    Skipping,
}

/// Is it known which reply answers which request?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Yes.
    InStep,
    /// It could not be known whether Postgres read a Sync inside or after a COPY: replies may be
    /// off by one, so the connection must not be used for anybody else.
    Doubtful,
}

/// Counts of what ends with `ReadyForQuery`.
#[derive(Debug, Default)]
pub(super) struct Segments {
    /// That were sent.
    pub(super) sent: u64,
    /// That ended.
    pub(super) ended: u64,
}
