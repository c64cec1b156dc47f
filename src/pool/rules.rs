//! A pool's rules for session state: read on the query path, so plain atomics; changed by a reload.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::config::{PinPolicy, PoolMode, ServerReset, SessionRules, StripComments, Unreadable};
use crate::sql::feature::{FEATURES, Feature, Features};

/// The rules in force, how many clients are pinned, and how many were.
#[derive(Debug)]
pub struct Rules {
    pins: [AtomicU64; FEATURES.len()],
    micros: [AtomicU64; FEATURES.len()],
    mode: AtomicU8,
    pin: AtomicU8,
    unreadable: AtomicU8,
    reset: AtomicU8,
    strip: AtomicU8,
    max_pinned: AtomicU32,
    pinned: AtomicU32,
}

const MODES: [PoolMode; 3] = [PoolMode::Transaction, PoolMode::Session, PoolMode::Statement];
const POLICIES: [PinPolicy; 2] = [PinPolicy::Allow, PinPolicy::Reject];
const UNREADABLE: [Unreadable; 3] = [Unreadable::Allow, Unreadable::Pin, Unreadable::Reject];
const STRIPS: [StripComments; 2] = [StripComments::Off, StripComments::Tags];
const RESETS: [ServerReset; 3] = [ServerReset::Auto, ServerReset::Always, ServerReset::Never];

impl Rules {
    /// These rules, and nobody pinned.
    #[must_use]
    pub fn new(rules: SessionRules) -> Self {
        let this = Self {
            mode: AtomicU8::new(0),
            pin: AtomicU8::new(0),
            unreadable: AtomicU8::new(0),
            reset: AtomicU8::new(0),
            strip: AtomicU8::new(0),
            max_pinned: AtomicU32::new(0),
            pinned: AtomicU32::new(0),
            pins: std::array::from_fn(|_| AtomicU64::new(0)),
            micros: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        this.set(rules);
        this
    }

    /// Other rules from now on; who is pinned stays so.
    pub fn set(&self, rules: SessionRules) {
        self.mode.store(place(&MODES, rules.mode), Ordering::Relaxed);
        self.pin.store(place(&POLICIES, rules.pin), Ordering::Relaxed);
        self.unreadable.store(place(&UNREADABLE, rules.unreadable), Ordering::Relaxed);
        self.reset.store(place(&RESETS, rules.reset), Ordering::Relaxed);
        self.strip.store(place(&STRIPS, rules.strip), Ordering::Relaxed);
        self.max_pinned.store(rules.max_pinned, Ordering::Relaxed);
    }

    /// `pool_mode`.
    #[inline]
    #[must_use]
    pub fn mode(&self) -> PoolMode {
        MODES[usize::from(self.mode.load(Ordering::Relaxed))]
    }

    /// `unreadable`. In session mode every client has its server anyway.
    #[inline]
    #[must_use]
    pub fn unreadable(&self) -> Unreadable {
        if self.mode() == PoolMode::Session {
            return Unreadable::Allow;
        }
        UNREADABLE[usize::from(self.unreadable.load(Ordering::Relaxed))]
    }

    /// `server_reset`.
    #[inline]
    #[must_use]
    pub fn reset(&self) -> ServerReset {
        RESETS[usize::from(self.reset.load(Ordering::Relaxed))]
    }

    /// `strip_comments`.
    #[inline]
    #[must_use]
    pub fn strip(&self) -> StripComments {
        STRIPS[usize::from(self.strip.load(Ordering::Relaxed))]
    }

    /// May one more client be pinned?
    #[inline]
    #[must_use]
    pub fn may_pin(&self) -> bool {
        // In session mode every client has its server anyway.
        self.mode() == PoolMode::Session
            || POLICIES[usize::from(self.pin.load(Ordering::Relaxed))] == PinPolicy::Allow
                && self.pinned() < self.max_pinned.load(Ordering::Relaxed)
    }

    /// How many clients are pinned.
    #[must_use]
    pub fn pinned(&self) -> u32 {
        self.pinned.load(Ordering::Relaxed)
    }

    /// How often clients came to be pinned, by what for.
    #[must_use]
    pub fn pins(&self) -> Vec<(Feature, u64)> {
        by_feature(&self.pins)
    }

    /// How long clients were pinned, in microseconds, by what for. Who is pinned now counts when it
    /// ends.
    #[must_use]
    pub fn pinned_micros(&self) -> Vec<(Feature, u64)> {
        by_feature(&self.micros)
    }

    /// A client is about to be pinned: it counts already, so that the limit holds.
    pub(super) fn reserve(&self) {
        self.pinned.fetch_add(1, Ordering::Relaxed);
    }

    /// The client is pinned indeed, for `more` than it was until now.
    pub(super) fn repin(&self, until_now: Features, more: Features, lasted: Duration) {
        Self::add(&self.pins, more, 1);
        Self::add(&self.micros, until_now, micros(lasted));
    }

    /// A client is pinned no more, or was not after all.
    pub(super) fn unpin(&self, pins: Features, lasted: Duration) {
        self.pinned.fetch_sub(1, Ordering::Relaxed);
        Self::add(&self.micros, pins, micros(lasted));
    }

    fn add(counts: &[AtomicU64], pins: Features, amount: u64) {
        for (count, feature) in counts.iter().zip(FEATURES) {
            if pins.contains(feature) {
                count.fetch_add(amount, Ordering::Relaxed);
            }
        }
    }
}

fn micros(lasted: Duration) -> u64 {
    u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX)
}

fn by_feature(counts: &[AtomicU64]) -> Vec<(Feature, u64)> {
    let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
    FEATURES.into_iter().zip(counts).collect()
}

fn place<T: PartialEq>(all: &[T], one: T) -> u8 {
    let place = all.iter().position(|each| *each == one);
    place.and_then(|place| u8::try_from(place).ok()).expect("every value is in its list")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_what_is_read() {
        let mut wanted = SessionRules {
            mode: PoolMode::Transaction,
            pin: PinPolicy::Allow,
            max_pinned: 1,
            unreadable: Unreadable::Allow,
            reset: ServerReset::Auto,
            strip: StripComments::Off,
        };
        let rules = Rules::new(wanted);
        for mode in MODES {
            for (reset, unreadable) in RESETS.into_iter().zip(UNREADABLE) {
                wanted = SessionRules { mode, reset, unreadable, ..wanted };
                rules.set(wanted);
                let of_session = mode == PoolMode::Session;
                let wanted = if of_session { Unreadable::Allow } else { unreadable };
                assert_eq!(rules.unreadable(), wanted);
                assert_eq!((rules.mode(), rules.reset()), (mode, reset));
            }
        }
        for strip in STRIPS {
            rules.set(SessionRules { strip, ..wanted });
            assert_eq!(rules.strip(), strip);
        }
        assert!(rules.may_pin());
        let listen = [Feature::Listen].into_iter().collect();
        rules.reserve();
        rules.repin(Features::NONE, listen, Duration::ZERO);
        assert!(!rules.may_pin(), "one is the limit");
        rules.unpin(listen, Duration::from_millis(2));
        assert_eq!(rules.pins()[0], (Feature::Listen, 1));
        assert_eq!(
            rules.pinned_micros()[..2],
            [(Feature::Listen, 2_000), (Feature::AdvisoryLock, 0)]
        );
        let load = [Feature::Load].into_iter().collect();
        rules.reserve();
        rules.repin(Features::NONE, listen, Duration::ZERO);
        rules.repin(listen, load, Duration::from_millis(3));
        rules.unpin(listen.union(load), Duration::from_millis(4));
        let seconds = rules.pinned_micros();
        assert_eq!(seconds[0], (Feature::Listen, 9_000), "all the time");
        assert!(seconds.contains(&(Feature::Load, 4_000)), "since it came: {seconds:?}");
        rules.set(SessionRules { pin: PinPolicy::Reject, ..wanted });
        assert!(!rules.may_pin());
    }
}
