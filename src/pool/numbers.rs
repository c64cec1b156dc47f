//! How many servers a pool may have and has, and the other words that its rules are told in. What
//! follows from them is left to `slots`.

use std::time::Duration;

/// How many servers a pool may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `pool_size`.
    pub size: u32,
    /// `min_pool_size`.
    pub min: u32,
    /// `reserve_pool_size`: further servers once a client has waited for `reserve_after`.
    pub reserve: u32,
    /// `reserve_pool_timeout`; `None`: the reserve is never used.
    pub reserve_after: Option<Duration>,
    /// Opens under way at once.
    pub concurrent_opens: u32,
    /// When a server is asked whether it is there.
    pub check: CheckAt,
}

/// When a server is asked whether it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckAt {
    /// While it is idle, or never.
    Leisure,
    /// Each time before a client has it (`server_check_delay = 0`).
    Use,
}

/// What a server is to be opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A client that waits.
    Client,
    /// `min_pool_size`.
    Minimum,
}

/// What a server does at the moment, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ready to be taken.
    pub idle: u32,
    /// With a client, being cleaned or checked.
    pub active: u32,
    /// Being opened.
    pub opening: u32,
    /// Clients in the queue.
    pub waiting: u32,
}

impl Counts {
    /// All servers, whatever they do.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.idle + self.active + self.opening
    }
}

/// What a failed open says about the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// It passes by itself: Postgres is starting, or full.
    Passing,
    /// It passes by itself within a few seconds, as a restart does, or not at all.
    Doubtful,
    /// Somebody has to do something.
    Lasting,
}
