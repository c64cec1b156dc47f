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
pub struct Place(Option<Arc<Quota>>);

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
            .map(|_| Place(Some(Arc::clone(self))))
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

impl Place {
    /// Gives the place back if more are used than a lowered limit allows. Of all who ask at once only as many give theirs
    /// as are too much. Gives whether it did.
    #[inline]
    pub fn give_surplus(&mut self) -> bool {
        let given = self.0.as_ref().is_some_and(|quota| {
            let limit = quota.limit.load(Ordering::Relaxed);
            let less = |used| (used > limit).then(|| used - 1);
            quota.used.try_update(Ordering::AcqRel, Ordering::Relaxed, less).is_ok()
        });
        if given {
            self.0 = None;
        }
        given
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(quota) = &self.0 {
            quota.used.fetch_sub(1, Ordering::AcqRel);
        }
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
    }

    #[test]
    fn of_what_a_lowered_limit_makes_too_much_each_place_is_given_once() {
        let quota = Quota::new(3);
        let mut places: Vec<_> = (0..3).map(|_| quota.take().unwrap()).collect();
        assert!(!places.iter_mut().any(Place::give_surplus), "none is too much");
        quota.set_limit(2);
        let given: Vec<_> = places.iter_mut().map(Place::give_surplus).collect();
        assert_eq!(given, [true, false, false]);
        assert_eq!(quota.used(), 2);
        drop(places);
        assert_eq!(quota.used(), 0);
    }
}
