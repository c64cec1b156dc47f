//! How far the program is on its way to its end: whoever answers probes asks here.

use std::sync::atomic::{AtomicBool, Ordering};

/// Serving, or on its way to the end. There is no way back.
#[derive(Debug, Default)]
pub struct Lifecycle {
    draining: AtomicBool,
}

/// Where the program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Clients are served.
    Serving,
    /// No new clients; those there are end at their next boundary.
    Draining,
}

impl Lifecycle {
    /// Where the program is now.
    #[must_use]
    pub fn stage(&self) -> Stage {
        if self.draining.load(Ordering::Relaxed) { Stage::Draining } else { Stage::Serving }
    }

    /// The end begins.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}
