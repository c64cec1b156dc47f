//! The places of HTTP connections, so many in all. When all are taken, who has shown no token gives way: first those that
//! have asked without one, then those that have been silent for longest. Strangers at many addresses push out each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Connections at once, of all listeners: probes, a few scrapers, people.
pub(super) const MOST_CONNECTIONS: usize = 100;

/// Who has a place.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    seats: Mutex<Slab<Arc<Seat>>>,
}

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Seat {
    since: Instant,
    /// Has it asked for something? Not by that it earns a place.
    has_asked: AtomicBool,
    /// Has it shown a token, or needs none?
    is_known: AtomicBool,
    /// It was told to leave.
    leaves: AtomicBool,
    leave: Notify,
}

/// A connection's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    seat: Arc<Seat>,
    key: usize,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Default for Places {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(MOST_CONNECTIONS)), seats: Mutex::default() }
    }
}

impl Places {
    /// A place for one more, which is somebody else's until that one has left. Waits while all who are there have shown
    /// a token. Cancel safe.
    pub(super) async fn take(self: &Arc<Self>) -> Place {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                self.send_one_away();
                // Nobody closes the semaphore.
                Arc::clone(&self.free).acquire_owned().await.ok()
            }
        };
        let seat = Arc::new(Seat {
            since: Instant::now(),
            has_asked: AtomicBool::new(false),
            is_known: AtomicBool::new(false),
            leaves: AtomicBool::new(false),
            leave: Notify::new(),
        });
        let key = self.seats.lock().insert(Arc::clone(&seat));
        Place { places: Arc::clone(self), seat, key, _permit: permit }
    }

    fn send_one_away(&self) {
        let seats = self.seats.lock();
        let strangers = seats.iter().map(|(_, seat)| seat).filter(|seat| {
            !seat.is_known.load(Ordering::Relaxed) && !seat.leaves.load(Ordering::Relaxed)
        });
        if let Some(seat) =
            strangers.min_by_key(|seat| (!seat.has_asked.load(Ordering::Relaxed), seat.since))
        {
            seat.leaves.store(true, Ordering::Relaxed);
            seat.leave.notify_one();
        }
    }
}

impl Place {
    /// Who sits here.
    pub(super) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.seats.lock().remove(self.key);
    }
}

impl Seat {
    /// It asks for something.
    pub(super) fn hear(&self) {
        self.has_asked.store(true, Ordering::Relaxed);
    }

    /// It has shown that it may ask.
    pub(super) fn know(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }

    /// Waits until the place is needed for another. Cancel safe.
    pub(super) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaving(places: &[Place]) -> Vec<usize> {
        let leaves = |(number, place): (usize, &Place)| {
            place.seat.leaves.load(Ordering::Relaxed).then_some(number)
        };
        places.iter().enumerate().filter_map(leaves).collect()
    }

    #[tokio::test]
    async fn strangers_give_way_who_have_asked_then_the_oldest() {
        let places = Arc::new(Places::default());
        let mut taken = Vec::new();
        for _ in 0..MOST_CONNECTIONS {
            taken.push(places.take().await);
        }
        assert!(leaving(&taken).is_empty());
        taken[0].seat().know();
        let newest = MOST_CONNECTIONS - 1;
        taken[newest].seat().hear();
        places.send_one_away();
        assert_eq!(leaving(&taken), [newest]);
        taken[newest].seat().know();
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take().await }
        });
        tokio::task::yield_now().await;
        assert_eq!(leaving(&taken), [1, newest]);
        taken[1].seat().told_to_leave().await;
        assert!(!waiting.is_finished());
        drop(taken.remove(1));
        let newest = waiting.await.unwrap();
        assert!(!newest.seat().leaves.load(Ordering::Relaxed));
        assert_eq!(places.seats.lock().len(), MOST_CONNECTIONS);
    }

    #[tokio::test]
    async fn nobody_who_is_known_gives_way() {
        let places = Arc::new(Places::default());
        let mut taken = Vec::new();
        for _ in 0..MOST_CONNECTIONS {
            let place = places.take().await;
            place.seat().know();
            taken.push(place);
        }
        places.send_one_away();
        assert!(leaving(&taken).is_empty());
    }
}
