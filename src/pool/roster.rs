//! The list of a pool's servers, whoever has them at the moment: written when one is opened or
//! closed, read when somebody looks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::net::address::ServerAddress;

/// A pool's servers, by id.
#[derive(Debug, Default)]
pub struct Roster(Mutex<BTreeMap<u64, ServerFacts>>);

/// What does not change about a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// Unique in this process.
    pub id: u64,
    /// The backend's process id.
    pub pid: u32,
    /// Where it is.
    pub address: ServerAddress,
    /// When it was opened.
    pub opened_at: Instant,
}

/// A line in the list, struck out on drop.
#[derive(Debug)]
pub struct Listed {
    roster: Arc<Roster>,
    id: u64,
}

impl Roster {
    /// Lists a server.
    #[must_use]
    pub fn add(self: &Arc<Self>, facts: ServerFacts) -> Listed {
        let id = facts.id;
        self.0.lock().insert(id, facts);
        Listed { roster: Arc::clone(self), id }
    }

    /// All servers, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<ServerFacts> {
        self.0.lock().values().cloned().collect()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.roster.0.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_listed_as_long_as_it_is_there() {
        let roster = Arc::new(Roster::default());
        let facts = |id| ServerFacts {
            id,
            pid: 7,
            address: ServerAddress::new("/tmp", 5432),
            opened_at: Instant::now(),
        };
        let (second, first) = (roster.add(facts(2)), roster.add(facts(1)));
        assert_eq!(roster.all().iter().map(|s| s.id).collect::<Vec<_>>(), [1, 2]);
        drop(first);
        assert_eq!(roster.all().iter().map(|s| s.id).collect::<Vec<_>>(), [2]);
        drop(second);
        assert!(roster.all().is_empty());
    }
}
