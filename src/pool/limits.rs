//! Limits that several pools or all clients share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A limit, and how much of it is used.
#[derive(Debug)]
pub struct Quota {
    limit: AtomicU32,
    used: AtomicU32,
    /// Somebody waits for room: who gives something back looks whether it should go to him.
    starved: AtomicBool,
}

/// One place within a quota, given back on drop.
#[derive(Debug)]
pub struct Place(Arc<Quota>);

impl Quota {
    /// Nothing used; `u32::MAX` is no limit.
    #[must_use]
    pub fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicU32::new(limit),
            used: AtomicU32::new(0),
            starved: AtomicBool::new(false),
        })
    }

    /// Takes a place, if there is one.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        let limit = self.limit.load(Ordering::Relaxed);
        self.used
            .try_update(Ordering::AcqRel, Ordering::Relaxed, |used| {
                (used < limit).then_some(used + 1)
            })
            .ok()
            .map(|_| Place(Arc::clone(self)))
    }

    /// The limit.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// A new limit; what is used stays used.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// How many places are taken.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.used.load(Ordering::Relaxed)
    }

    /// Is more used than a lowered limit allows?
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.used() > self.limit()
    }

    /// Does anybody wait for room?
    #[inline]
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.starved.load(Ordering::Relaxed)
    }

    /// Notes that somebody waits for room.
    pub fn set_starved(&self) {
        self.starved.store(true, Ordering::Relaxed);
    }

    /// Notes that nobody waits for room any more.
    pub fn set_fed(&self) {
        self.starved.store(false, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_end_and_come_back() {
        let quota = Quota::new(2);
        let a = quota.take().unwrap();
        let _b = quota.take().unwrap();
        assert!(quota.take().is_none());
        drop(a);
        assert!(quota.take().is_some());
        quota.set_limit(0);
        assert!(quota.take().is_none());
        assert!(quota.is_exceeded());
    }
}
