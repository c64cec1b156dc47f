//! Adds up what the workers noted of statements, a few times a second, so that it neither piles up nor
//! waits for somebody to look.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::stats::ledger::Ledger;

/// Workers hand over at each of their ticks, 50 ms apart.
const ADD_UP_EVERY: Duration = Duration::from_millis(100);

/// Keeps the ledger, until dropped.
pub async fn keep(ledger: Arc<Ledger>) {
    let mut ticks = interval(ADD_UP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        ledger.add_up();
    }
}
