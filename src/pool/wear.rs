//! What becomes of a pool's servers: how many were closed for which reason, cleaned, cancelled. Counted
//! where it happens, which is rare; read for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a server was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// `server_lifetime`.
    Lifetime,
    /// `server_idle_timeout`.
    Idle,
    /// There were more than the limits allow.
    Surplus,
    /// The configuration changed.
    Outdated,
    /// To make room for a client of another pool.
    Eviction,
    /// Postgres closed it, or it failed a check.
    Lost,
    /// It was out of step, or could not be cleaned.
    Unclean,
    /// A cancel request that was given up might still have hit its next client.
    CancelLost,
}

impl Parting {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Lifetime,
        Self::Idle,
        Self::Surplus,
        Self::Outdated,
        Self::Eviction,
        Self::Lost,
        Self::Unclean,
        Self::CancelLost,
    ];

    /// The word for it in metrics and the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Lifetime => "lifetime",
            Self::Idle => "idle",
            Self::Surplus => "surplus",
            Self::Outdated => "outdated",
            Self::Eviction => "eviction",
            Self::Lost => "lost",
            Self::Unclean => "unclean",
            Self::CancelLost => "cancel_lost",
        }
    }
}

/// Counts since the pool has been there.
#[derive(Debug, Default)]
pub struct Wear {
    closed: [AtomicU64; Parting::ALL.len()],
    cleaned: AtomicU64,
    cancels: AtomicU64,
}

impl Wear {
    /// A server was closed.
    pub fn count_closed(&self, why: Parting) {
        self.closed[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A server was cleaned after a client, and can be used again.
    pub fn count_cleaned(&self) {
        self.cleaned.fetch_add(1, Ordering::Relaxed);
    }

    /// A cancel request was sent, or tried to be.
    pub fn count_cancel(&self) {
        self.cancels.fetch_add(1, Ordering::Relaxed);
    }

    /// How many servers were closed for this reason.
    #[must_use]
    pub fn closed(&self, why: Parting) -> u64 {
        self.closed[why as usize].load(Ordering::Relaxed)
    }

    /// How many times a server was cleaned.
    #[must_use]
    pub fn cleaned(&self) -> u64 {
        self.cleaned.load(Ordering::Relaxed)
    }

    /// How many cancel requests were sent.
    #[must_use]
    pub fn cancels(&self) -> u64 {
        self.cancels.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_count() {
        let wear = Wear::default();
        for (number, why) in Parting::ALL.into_iter().enumerate() {
            for _ in 0..=number {
                wear.count_closed(why);
            }
        }
        for (number, why) in Parting::ALL.into_iter().enumerate() {
            assert_eq!(wear.closed(why), number as u64 + 1, "{}", why.word());
        }
    }
}
