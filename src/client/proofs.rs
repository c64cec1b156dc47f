//! Turns for the logins that only prove a password (`passthrough`): so many at once for each Postgres, so that one that
//! hangs keeps nobody from another.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::net::address::ServerAddress;

/// Logins to one Postgres under way at once only to prove passwords.
pub const PROOFS_AT_ONCE: usize = 16;

/// Turns by address. Those of an address nobody waits for are forgotten, and addresses come from the configuration.
#[derive(Debug, Default)]
pub struct Proofs(Mutex<HashMap<ServerAddress, Weak<Semaphore>>>);

/// One login's turn, until dropped.
#[derive(Debug)]
pub struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Proofs {
    /// Waits for a turn at this Postgres. Cancel safe.
    pub async fn turn(&self, address: &ServerAddress) -> Turn {
        let turns = self.turns(address);
        // Nobody closes the semaphore.
        Turn { _permit: turns.acquire_owned().await.ok() }
    }

    fn turns(&self, address: &ServerAddress) -> Arc<Semaphore> {
        let mut by_address = self.0.lock();
        if let Some(turns) = by_address.get(address).and_then(Weak::upgrade) {
            return turns;
        }
        by_address.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Semaphore::new(PROOFS_AT_ONCE));
        by_address.insert(address.clone(), Arc::downgrade(&turns));
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> ServerAddress {
        ServerAddress::new("db.example", port)
    }

    #[test]
    fn each_postgres_has_its_turns_and_what_nobody_uses_is_forgotten() {
        let proofs = Proofs::default();
        let (hangs, other) = (proofs.turns(&at(1)), proofs.turns(&at(2)));
        let taken: Vec<_> =
            (0..PROOFS_AT_ONCE).map(|_| Arc::clone(&hangs).try_acquire_owned().unwrap()).collect();
        assert_eq!(proofs.turns(&at(1)).available_permits(), 0);
        assert_eq!(other.available_permits(), PROOFS_AT_ONCE);
        drop((taken, hangs, other));
        let _third = proofs.turns(&at(3));
        assert_eq!(proofs.0.lock().len(), 1);
    }
}
