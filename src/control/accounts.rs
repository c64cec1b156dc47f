//! Adds up what the workers noted of statements, a few times a second, so that it neither piles up nor
//! waits for somebody to look.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use super::explain::Explainer;
use crate::stats::ledger::Ledger;
use crate::stats::queries::Outcome;
use crate::stats::slow::Slow;

/// Workers hand over at each of their ticks, 50 ms apart.
const ADD_UP_EVERY: Duration = Duration::from_millis(100);

/// Keeps the ledger, until dropped. Of what is slow, the explainer hears.
pub async fn keep(ledger: Arc<Ledger>, explainer: Arc<Explainer>) {
    let mut ticks = interval(ADD_UP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        ledger.add_up();
        for slow in ledger.take_unlogged() {
            log(&slow);
            explainer.note_slow(&slow, &ledger);
        }
    }
}

fn log(slow: &Slow) {
    let Slow { about, owner, micros, wait_micros, outcome, .. } = slow;
    let (took_ms, waited_ms) = (*micros as f64 / 1e3, *wait_micros as f64 / 1e3);
    let (fingerprint, database, user) = (about.fingerprint, &owner.database, &owner.user);
    let statement = &about.text;
    match outcome {
        Outcome::Complete { rows } | Outcome::Suspended { rows } => {
            info!(%database, %user, took_ms, waited_ms, rows, %fingerprint, %statement, "slow statement");
        }
        Outcome::Failed(error) => {
            info!(%database, %user, took_ms, waited_ms, %error, %fingerprint, %statement, "slow statement");
        }
    }
}
