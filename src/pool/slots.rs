//! Who may have a server, and when: the pure part of one pool. No I/O, no lock, no clock.
//!
//! Generic over the server `S` and the reason `E` for which an open failed, so that the rules can
//! be tested with numbers. Every worker has a stack of idle servers and a queue of waiters.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::{Duration, Instant};

use slab::Slab;

pub use super::numbers::{CheckAt, Counts, Limits, Need, Outlook};

/// A freed server goes to a waiter of the same worker although one of another worker came first,
/// if that one has waited no longer than this: moving a socket between workers costs several
/// microseconds and a wake-up, and this bounds what staying saves.
const PREFERENCE: Duration = Duration::from_millis(2);

/// How long Postgres may cut logins short before that counts as being down.
const PATIENCE: Duration = Duration::from_secs(2);

/// First pause after a failed open.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// Longest pause: Postgres' return is noticed within a second.
const BACKOFF_LONGEST: Duration = Duration::from_millis(800);

/// Places in a queue whose clients have left are cleared up once there are this many, and more
/// than those in use: each is cleared once, so leaving stays cheap.
const SWEEP_AT: usize = 64;

/// An idle server.
#[derive(Debug)]
pub struct Idle<S> {
    /// The server.
    pub server: S,
    /// When it was last given back by a client.
    pub since: Instant,
    /// When it was last known to be alive.
    pub checked: Instant,
}

/// A waiter's place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    key: usize,
    sequence: u64,
}

#[derive(Debug)]
struct Waiter<S, E> {
    sequence: u64,
    worker: usize,
    since: Instant,
    state: Waiting<S, E>,
}

#[derive(Debug)]
enum Waiting<S, E> {
    Queued(Option<Waker>),
    Done(Result<S, E>),
}

/// What came of asking for a server.
#[derive(Debug)]
pub enum Asked<S> {
    /// Here it is.
    Taken(Idle<S>),
    /// The client waits, for this server if it passes its check: restore it then.
    Check(Idle<S>, Ticket),
    /// The client waits.
    Queued(Ticket),
}

/// What became of a server given back.
#[derive(Debug)]
pub enum Released {
    /// It stands idle.
    Idle,
    /// A waiter has it: wake it, outside of any lock.
    Granted(Option<Waker>),
}

#[derive(Debug)]
struct Backoff<E> {
    until: Instant,
    pause: Duration,
    reason: E,
    /// When the first of the failures was.
    since: Instant,
    /// Did the failure end the wait of those who waited?
    answered: bool,
}

/// One pool's servers and waiters.
#[derive(Debug)]
pub struct Slots<S, E> {
    limits: Limits,
    idle: Vec<Vec<Idle<S>>>,
    queues: Vec<VecDeque<Ticket>>,
    waiters: Slab<Waiter<S, E>>,
    sequence: u64,
    counts: Counts,
    backoff: Option<Backoff<E>>,
    /// Servers being checked because clients wait for them.
    checking: u32,
}

impl<S, E: Clone> Slots<S, E> {
    /// An empty pool for this many workers.
    #[must_use]
    pub fn new(workers: usize, limits: Limits) -> Self {
        Self {
            limits,
            idle: (0..workers).map(|_| Vec::new()).collect(),
            queues: (0..workers).map(|_| VecDeque::new()).collect(),
            waiters: Slab::new(),
            sequence: 0,
            counts: Counts::default(),
            backoff: None,
            checking: 0,
        }
    }

    /// A client asks for a server: it gets an idle one, or waits. One step, lest a server come back
    /// between the two and stand idle while the client waits.
    ///
    /// # Errors
    /// With the reason of the last failed open, while it makes no sense to try again, and no
    /// server of the pool is alive that could be given back.
    #[inline]
    pub fn ask(&mut self, worker: usize, now: Instant) -> Result<Asked<S>, E> {
        match self.take(worker) {
            Some(idle) if self.limits.check == CheckAt::Leisure => Ok(Asked::Taken(idle)),
            // Never refused: a server is alive.
            Some(idle) => {
                self.checking += 1;
                self.enqueue(worker, now).map(|ticket| Asked::Check(idle, ticket))
            }
            None => self.enqueue(worker, now).map(Asked::Queued),
        }
    }

    /// Takes an idle server: the worker's own that was used last, else another worker's.
    fn take(&mut self, worker: usize) -> Option<Idle<S>> {
        let taken = self.idle[worker]
            .pop()
            .or_else(|| self.idle.iter_mut().max_by_key(|stack| stack.len()).and_then(Vec::pop))?;
        self.counts.idle -= 1;
        self.counts.active += 1;
        Some(taken)
    }

    /// Queues a client. A pool whose opens fail answers at once: `Err` is the reason.
    fn enqueue(&mut self, worker: usize, now: Instant) -> Result<Ticket, E> {
        if let Some(backoff) = &self.backoff
            && backoff.answered
            && now < backoff.until
            && self.counts.active == 0
        {
            return Err(backoff.reason.clone());
        }
        self.sequence += 1;
        let waiter =
            Waiter { sequence: self.sequence, worker, since: now, state: Waiting::Queued(None) };
        let ticket = Ticket { key: self.waiters.insert(waiter), sequence: self.sequence };
        self.queues[worker].push_back(ticket);
        self.counts.waiting += 1;
        Ok(ticket)
    }

    /// Looks whether a waiter's wait is over; if not, `waker` is woken when it is.
    pub fn poll(&mut self, ticket: Ticket, waker: &Waker) -> Option<Result<S, E>> {
        let waiter = self.waiters.get_mut(ticket.key)?;
        debug_assert_eq!(waiter.sequence, ticket.sequence, "a ticket is used once");
        match &mut waiter.state {
            Waiting::Done(_) => match self.waiters.remove(ticket.key).state {
                Waiting::Done(result) => Some(result),
                Waiting::Queued(_) => None,
            },
            Waiting::Queued(Some(known)) => {
                known.clone_from(waker);
                None
            }
            Waiting::Queued(slot) => {
                *slot = Some(waker.clone());
                None
            }
        }
    }

    /// A waiter goes away. A server that it was granted and has not taken comes back to the caller,
    /// who gives it to the pool again.
    pub fn abandon(&mut self, ticket: Ticket) -> Option<S> {
        let waiter = self.waiters.try_remove(ticket.key)?;
        debug_assert_eq!(waiter.sequence, ticket.sequence, "a ticket is used once");
        match waiter.state {
            Waiting::Done(result) => result.ok(),
            Waiting::Queued(_) => {
                self.counts.waiting -= 1;
                self.drop_gone(waiter.worker);
                self.sweep(waiter.worker);
                None
            }
        }
    }

    /// A client is done with a server: it goes to a waiter, or stands idle.
    pub fn release(&mut self, server: S, worker: usize, now: Instant) -> Released {
        match self.next_waiter(worker, now) {
            Some(key) => Released::Granted(self.grant(key, Ok(server))),
            None => {
                self.counts.active -= 1;
                self.counts.idle += 1;
                self.idle[worker].push(Idle { server, since: now, checked: now });
                Released::Idle
            }
        }
    }

    /// A server taken for a check comes back: as if it had never been away.
    pub fn restore(&mut self, idle: Idle<S>, worker: usize, now: Instant) -> Released {
        match self.next_waiter(worker, now) {
            Some(key) => Released::Granted(self.grant(key, Ok(idle.server))),
            None => {
                self.counts.active -= 1;
                self.counts.idle += 1;
                // It was not used: its place is among those that have been idle as long.
                let stack = &mut self.idle[worker];
                let at = stack.partition_point(|other| other.since <= idle.since);
                stack.insert(at, Idle { checked: now, ..idle });
                Released::Idle
            }
        }
    }

    /// Is a server that is given back to be checked first, because a client waits? It counts as
    /// taken, and is to be restored afterwards.
    pub fn wants_check(&mut self) -> bool {
        let wanted = self.limits.check == CheckAt::Use && self.counts.waiting > 0;
        self.checking += u32::from(wanted);
        wanted
    }

    /// A check that a client waited for has ended, well or badly.
    pub fn checked(&mut self) {
        self.checking -= 1;
    }

    /// A server that was taken is gone.
    pub fn lost(&mut self) {
        self.counts.active -= 1;
    }

    /// Should another server be opened now, and for what? The caller says with
    /// [`Self::begin_open`] that it tries.
    #[must_use]
    pub fn wants_open(&self, now: Instant) -> Option<Need> {
        if self.backoff.as_ref().is_some_and(|b| now < b.until)
            || self.counts.opening >= self.limits.concurrent_opens
        {
            return None;
        }
        let total = self.counts.total();
        let starved = self.limits.reserve_after.is_some_and(|after| {
            self.oldest_wait().is_some_and(|since| now.duration_since(since) >= after)
        });
        let allowed =
            self.limits.size.saturating_add(if starved { self.limits.reserve } else { 0 });
        if total >= allowed {
            None
        } else if self.counts.opening + self.checking < self.counts.waiting {
            Some(Need::Client)
        } else {
            (total < self.limits.min).then_some(Need::Minimum)
        }
    }

    /// An open begins.
    pub fn begin_open(&mut self) {
        self.counts.opening += 1;
    }

    /// An open has succeeded: the server counts as taken; give it with [`Self::release`].
    pub fn opened(&mut self) {
        self.counts.opening -= 1;
        self.counts.active += 1;
        self.backoff = None;
    }

    /// An open was given up without a reason that concerns the waiters.
    pub fn open_abandoned(&mut self) {
        self.counts.opening -= 1;
    }

    /// An open has failed: those who wait hear of it, unless waiting on makes sense. The wakers are
    /// to be woken outside of any lock.
    pub fn open_failed(&mut self, reason: &E, outlook: Outlook, now: Instant) -> Vec<Waker> {
        self.counts.opening -= 1;
        let pause = self
            .backoff
            .as_ref()
            .map_or(BACKOFF_FIRST, |b| if b.until > now { b.pause } else { b.pause * 2 })
            .min(BACKOFF_LONGEST);
        let since = self.backoff.as_ref().map_or(now, |b| b.since);
        let hopeless = match outlook {
            Outlook::Passing => false,
            Outlook::Doubtful => now.saturating_duration_since(since) >= PATIENCE,
            Outlook::Lasting => true,
        };
        let answered = hopeless && self.counts.active == 0;
        self.backoff =
            Some(Backoff { until: now + pause, pause, reason: reason.clone(), since, answered });
        if answered { self.fail_all(reason) } else { Vec::new() }
    }

    /// Ends every wait with `reason`.
    pub fn fail_all(&mut self, reason: &E) -> Vec<Waker> {
        let keys: Vec<usize> = self
            .waiters
            .iter()
            .filter(|(_, w)| matches!(w.state, Waiting::Queued(_)))
            .map(|(key, _)| key)
            .collect();
        let wakers = keys.iter().filter_map(|&key| self.grant(key, Err(reason.clone()))).collect();
        self.queues.iter_mut().for_each(VecDeque::clear);
        wakers
    }

    /// Takes out the idle servers of one worker that `choose` finds something for, oldest use
    /// first; they count as taken.
    pub fn take_where<D>(
        &mut self,
        worker: usize,
        mut choose: impl FnMut(&Idle<S>) -> Option<D>,
    ) -> Vec<(Idle<S>, D)> {
        let stack = &mut self.idle[worker];
        let (mut kept, mut taken) = (Vec::with_capacity(stack.len()), Vec::new());
        for idle in stack.drain(..) {
            match choose(&idle) {
                Some(found) => taken.push((idle, found)),
                None => kept.push(idle),
            }
        }
        *stack = kept;
        // A stack is never longer than the pool is large.
        let count = taken.len() as u32;
        self.counts.idle -= count;
        self.counts.active += count;
        taken
    }

    /// Takes the server that has been idle longest, to make room; it counts as taken.
    pub fn take_longest_idle(&mut self) -> Option<S> {
        let stack = self.idle.iter_mut().filter(|s| !s.is_empty()).min_by_key(|s| s[0].since)?;
        let idle = stack.remove(0);
        self.counts.idle -= 1;
        self.counts.active += 1;
        Some(idle.server)
    }

    /// Since when the server idle longest has been so.
    #[must_use]
    pub fn longest_idle(&self) -> Option<Instant> {
        self.idle.iter().filter_map(|s| s.first()).map(|i| i.since).min()
    }

    /// Since when the client at the head of the queue has been waiting.
    #[must_use]
    pub fn oldest_wait(&self) -> Option<Instant> {
        self.queues.iter().filter_map(|q| q.front()).map(|t| self.waiters[t.key].since).min()
    }

    /// How many servers there are beyond `min_pool_size`.
    #[must_use]
    pub fn spare(&self) -> u32 {
        (self.counts.idle + self.counts.active).saturating_sub(self.limits.min)
    }

    /// How many servers there are beyond the limits, the reserve included.
    #[must_use]
    pub fn surplus(&self) -> u32 {
        let most = self.limits.size.saturating_add(self.limits.reserve);
        self.counts.total().saturating_sub(most)
    }

    /// The numbers now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The limits now.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// New limits. A pool that is too large now shrinks as servers are given back.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The reason of the last failed open, until one succeeds.
    #[must_use]
    pub fn failure(&self) -> Option<&E> {
        self.backoff.as_ref().map(|b| &b.reason)
    }

    /// The reason of the last failed open, if it failed after `since` and none has succeeded.
    #[must_use]
    pub fn failure_since(&self, since: Instant) -> Option<&E> {
        let recent = |backoff: &&Backoff<E>| backoff.until > since + backoff.pause;
        self.backoff.as_ref().filter(recent).map(|b| &b.reason)
    }

    /// Another try makes sense at once: how to open has changed.
    pub fn forget_failure(&mut self) {
        self.backoff = None;
    }

    /// The idle servers, for looking at.
    pub fn idle(&self) -> impl Iterator<Item = &Idle<S>> {
        self.idle.iter().flatten()
    }

    fn next_waiter(&mut self, worker: usize, now: Instant) -> Option<usize> {
        let head = |queue: &VecDeque<Ticket>| queue.front().map(|t| (t.sequence, t.key));
        let (_, oldest) = self.queues.iter().filter_map(head).min()?;
        let own = head(&self.queues[worker]).map(|(_, key)| key);
        let patient = now.duration_since(self.waiters[oldest].since) <= PREFERENCE;
        Some(own.filter(|_| patient).unwrap_or(oldest))
    }

    /// The waiter at the head of its queue (or every waiter, in [`Self::fail_all`]) is served.
    fn grant(&mut self, key: usize, result: Result<S, E>) -> Option<Waker> {
        let waiter = &mut self.waiters[key];
        let worker = waiter.worker;
        let before = std::mem::replace(&mut waiter.state, Waiting::Done(result));
        self.counts.waiting -= 1;
        self.drop_gone(worker);
        match before {
            Waiting::Queued(waker) => waker,
            Waiting::Done(_) => None,
        }
    }

    /// Keeps the head of a queue a client that still waits.
    fn drop_gone(&mut self, worker: usize) {
        let Self { queues, waiters, .. } = self;
        let queue = &mut queues[worker];
        while queue.front().is_some_and(|ticket| !waits(waiters, *ticket)) {
            queue.pop_front();
        }
    }

    /// Those who leave while the head of the queue waits on do not gather behind it.
    fn sweep(&mut self, worker: usize) {
        let Self { queues, waiters, .. } = self;
        let queue = &mut queues[worker];
        if queue.len() > SWEEP_AT + 2 * waiters.len() {
            queue.retain(|ticket| waits(waiters, *ticket));
        }
    }
}

fn waits<S, E>(waiters: &Slab<Waiter<S, E>>, ticket: Ticket) -> bool {
    waiters.get(ticket.key).is_some_and(|waiter| {
        waiter.sequence == ticket.sequence && matches!(waiter.state, Waiting::Queued(_))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_leave_do_not_gather_behind_one_who_waits() {
        let limits = Limits {
            size: 1,
            min: 0,
            reserve: 0,
            reserve_after: None,
            concurrent_opens: 1,
            check: CheckAt::Leisure,
        };
        let mut slots: Slots<(), ()> = Slots::new(1, limits);
        let now = Instant::now();
        for _ in 0..1 + 10 * SWEEP_AT {
            let Ok(Asked::Queued(ticket)) = slots.ask(0, now) else { panic!("nothing to take") };
            if ticket.sequence > 1 {
                slots.abandon(ticket);
            }
        }
        assert_eq!(slots.counts().waiting, 1);
        assert!(slots.queues[0].len() <= SWEEP_AT + 2, "{}", slots.queues[0].len());
    }
}
