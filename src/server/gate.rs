//! Cancel requests on their way to a server: it is not given to anybody else before they ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::sync::Notify;

use crate::net::address::ServerAddress;
use crate::net::tls::connector::Connector;

/// The key that cancels what a server runs.
#[derive(Clone)]
pub struct CancelKey {
    /// Where the server is.
    pub address: ServerAddress,
    /// How the server's own connection is encrypted, if it is.
    pub tls: Option<Connector>,
    /// The backend's process id.
    pub pid: u32,
    /// Its secret.
    pub secret: Box<[u8]>,
}

/// Counts the cancel requests on their way to a server, which is not reused before they ended.
#[derive(Debug, Default)]
pub struct CancelGate {
    in_flight: AtomicU32,
    /// A request was given up after it had set out: it may arrive at any time.
    lost: AtomicBool,
    ended: Notify,
}

/// One cancel request on its way; dropped before [`Self::finish`], it may still arrive.
#[derive(Debug)]
pub struct CancelInFlight {
    gate: Arc<CancelGate>,
    end: CancelEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CancelEnd {
    Open,
    Known,
}

impl CancelGate {
    /// A cancel request sets out.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> CancelInFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        CancelInFlight { gate: Arc::clone(self), end: CancelEnd::Open }
    }

    /// Is a cancel request on its way?
    #[inline]
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0
    }

    /// May a request that was given up still arrive?
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Waits until no cancel request is on its way. Cancel safe.
    pub async fn wait(&self) {
        loop {
            let ended = self.ended.notified();
            if !self.is_busy() {
                return;
            }
            ended.await;
        }
    }
}

impl CancelInFlight {
    /// Postgres has acted on it, or it never set out.
    pub fn finish(mut self) {
        self.end = CancelEnd::Known;
    }
}

impl Drop for CancelInFlight {
    fn drop(&mut self) {
        if self.end == CancelEnd::Open {
            self.gate.lost.store(true, Ordering::Release);
        }
        self.gate.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.gate.ended.notify_waiters();
    }
}

impl std::fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelKey").field("address", &self.address).field("pid", &self.pid).finish()
    }
}
