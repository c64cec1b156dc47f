//! Asks the collector again where that may help, longer and longer apart, and says in the log when it begins to fail
//! and when it is well again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use super::client::{Collector, Refusal};

/// How often something is sent before it is given up.
const MOST_TRIES: u32 = 5;

/// The pause before the second try; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// One of those who send.
pub(super) struct Sender {
    collector: Arc<Collector>,
    /// Requests that were not taken.
    failures: Arc<AtomicU64>,
    stop: watch::Receiver<bool>,
    health: Health,
}

/// Was the collector well when it was asked last?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Well,
    Failing,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Taken,
    GivenUp,
}

impl Sender {
    pub(super) fn new(
        collector: Arc<Collector>,
        failures: Arc<AtomicU64>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self { collector, failures, stop, health: Health::Well }
    }

    /// Waits so long, or until all is to end; says whether it is. Cancel safe.
    pub(super) async fn pause(&mut self, time: Duration) -> bool {
        tokio::select! {
            () = sleep(time) => {}
            // Whoever could tell is gone: that is the end, too.
            _ = self.stop.wait_for(|stop| *stop) => return true,
        }
        false
    }

    /// Sends once. Not cancel safe: the collector may have it.
    pub(super) async fn once(&mut self, path: &str, message: Vec<u8>) -> Result<(), Refusal> {
        let outcome = self.collector.send(path, message).await;
        if outcome.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        match (&outcome, self.health) {
            (Err(refusal), Health::Well) => {
                warn!(path, "OpenTelemetry's collector {refusal}");
                self.health = Health::Failing;
            }
            (Ok(()), Health::Failing) => {
                info!(path, "OpenTelemetry's collector answers again");
                self.health = Health::Well;
            }
            (Ok(()), Health::Well) | (Err(_), Health::Failing) => {}
        }
        outcome
    }

    /// Sends, again and again if that may help; once it is to end, one more time. Not cancel safe.
    pub(super) async fn surely(&mut self, path: &str, message: &[u8]) -> Fate {
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=MOST_TRIES {
            let refusal = match self.once(path, message.to_vec()).await {
                Ok(()) => return Fate::Taken,
                Err(refusal) => refusal,
            };
            if *self.stop.borrow() || !refusal.may_pass() || attempt == MOST_TRIES {
                break;
            }
            // Cut short at the end, for a last try.
            self.pause(refusal.rest().unwrap_or(pause)).await;
            pause *= 2;
        }
        Fate::GivenUp
    }
}
