//! The slots against a model: random operations of several workers, invented time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::slots::{Asked, CheckAt, Counts, Idle, Limits, Outlook, Released, Slots, Ticket};

const WORKERS: usize = 3;

/// How long one worker's waiters may be preferred to another's that came first.
const PREFERENCE: Duration = Duration::from_millis(2);

const RESERVE_AFTER: Duration = Duration::from_millis(5);

/// A waker that counts.
#[derive(Default)]
struct Bell(AtomicU32);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Debug)]
enum Operation {
    /// Some time passes, in microseconds.
    Pass(u32),
    /// A client of this worker asks for a server.
    Ask(usize),
    /// The waiter at this place looks.
    Poll(usize),
    Abandon(usize),
    /// The server at this place among those taken is given back by this worker.
    Release(usize, usize),
    Lost(usize),
    /// An open ends.
    Open(Outcome),
    TakeIdle(usize, u64),
    Restore(usize),
    Evict,
    Resize(u32, u32),
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Opened(usize),
    Failed(Outlook),
    Abandoned,
}

/// A client in the queue, as the model knows it.
#[derive(Clone)]
struct Client {
    ticket: Ticket,
    worker: usize,
    since: Instant,
    bell: Arc<Bell>,
    polled: bool,
}

/// What must be true, kept apart from what is tested.
struct Model {
    slots: Slots<u64, u32>,
    now: Instant,
    /// Servers with clients.
    taken: Vec<u64>,
    /// Servers taken out for a check.
    checking: Vec<Idle<u64>>,
    idle: BTreeSet<u64>,
    since: BTreeMap<u64, Instant>,
    opening: u32,
    /// In the order they came.
    queue: VecDeque<Client>,
    /// Those that were served or refused and have not looked yet.
    answered: Vec<Client>,
    granted: BTreeMap<u64, usize>,
    next: u64,
    highest: u32,
}

fn limits(size: u32, reserve: u32) -> Limits {
    let reserve_after = Some(RESERVE_AFTER);
    Limits { size, min: 1, reserve, reserve_after, concurrent_opens: 2, check: CheckAt::Leisure }
}

impl Model {
    fn new(size: u32, reserve: u32) -> Self {
        Self {
            slots: Slots::new(WORKERS, limits(size, reserve)),
            now: Instant::now(),
            taken: Vec::new(),
            checking: Vec::new(),
            idle: BTreeSet::new(),
            since: BTreeMap::new(),
            opening: 0,
            queue: VecDeque::new(),
            answered: Vec::new(),
            granted: BTreeMap::new(),
            next: 0,
            highest: size + reserve,
        }
    }

    /// So many servers are idle.
    fn fill(&mut self, servers: usize) {
        for server in 0..servers {
            self.now += Duration::from_millis(1);
            self.slots.begin_open();
            self.opening += 1;
            self.open(Outcome::Opened(server % WORKERS));
        }
    }

    fn run(&mut self, operation: &Operation) {
        match *operation {
            Operation::Pass(micros) => self.now += Duration::from_micros(u64::from(micros)),
            Operation::Ask(worker) => self.ask(worker),
            Operation::Poll(at) => self.poll(at),
            Operation::Abandon(at) => self.abandon(at),
            Operation::Release(at, worker) => {
                if !self.taken.is_empty() {
                    let server = self.taken.swap_remove(at % self.taken.len());
                    self.release(server, worker);
                }
            }
            Operation::Lost(at) => {
                if !self.taken.is_empty() {
                    self.taken.swap_remove(at % self.taken.len());
                    self.slots.lost();
                }
            }
            Operation::Open(outcome) => self.open(outcome),
            Operation::TakeIdle(worker, odd) => {
                let taken =
                    self.slots.take_where(worker, |idle| (idle.server % 2 == odd).then_some(()));
                for (idle, ()) in taken {
                    assert!(self.idle.remove(&idle.server));
                    self.checking.push(idle);
                }
            }
            Operation::Restore(worker) => self.restore(worker),
            Operation::Evict => self.evict(),
            Operation::Resize(size, reserve) => {
                self.slots.set_limits(limits(size, reserve));
                self.highest = self.highest.max(size + reserve);
            }
        }
        self.grow();
        self.check();
    }

    fn ask(&mut self, worker: usize) {
        let ticket = match self.slots.ask(worker, self.now) {
            Ok(Asked::Check(..)) => panic!("checks are at leisure here"),
            Ok(Asked::Taken(idle)) => {
                assert!(self.idle.remove(&idle.server), "{} was not idle", idle.server);
                return self.taken.push(idle.server);
            }
            Ok(Asked::Queued(ticket)) => ticket,
            Err(_) => {
                return assert!(self.slots.failure().is_some() && self.slots.counts().active == 0);
            }
        };
        assert!(self.idle.is_empty(), "an idle server was not found");
        let client =
            Client { ticket, worker, since: self.now, bell: Arc::default(), polled: false };
        self.queue.push_back(client);
    }

    fn poll(&mut self, at: usize) {
        let waiting = self.queue.len() + self.answered.len();
        if waiting == 0 {
            return;
        }
        let at = at % waiting;
        if let Some(client) = self.queue.get_mut(at) {
            let waker = Waker::from(Arc::clone(&client.bell));
            assert!(self.slots.poll(client.ticket, &waker).is_none(), "served out of turn");
            client.polled = true;
            return;
        }
        let client = self.answered.swap_remove(at - self.queue.len());
        match self.slots.poll(client.ticket, Waker::noop()) {
            Some(Ok(server)) => {
                assert!(self.granted.remove(&server).is_some(), "{server} was not granted");
                self.taken.push(server);
            }
            Some(Err(_)) => {}
            None => panic!("an answer was lost"),
        }
    }

    fn abandon(&mut self, at: usize) {
        let waiting = self.queue.len() + self.answered.len();
        if waiting == 0 {
            return;
        }
        let at = at % waiting;
        if at < self.queue.len() {
            let client = self.queue.remove(at).unwrap();
            assert_eq!(self.slots.abandon(client.ticket), None);
            return;
        }
        let client = self.answered.swap_remove(at - self.queue.len());
        if let Some(server) = self.slots.abandon(client.ticket) {
            assert!(self.granted.remove(&server).is_some(), "{server} was not granted");
            self.release(server, client.worker);
        }
    }

    fn release(&mut self, server: u64, worker: usize) {
        let released = self.slots.release(server, worker, self.now);
        if matches!(released, Released::Idle) {
            self.since.insert(server, self.now);
        }
        self.placed(server, worker, released);
    }

    /// Where did a server go?
    fn placed(&mut self, server: u64, worker: usize, released: Released) {
        let Released::Granted(waker) = released else {
            assert!(self.queue.is_empty(), "idle while {} wait", self.queue.len());
            self.idle.insert(server);
            return;
        };
        let first = self.queue.front().expect("a server was granted to nobody");
        let own = self.queue.iter().position(|client| client.worker == worker);
        let patient = self.now.duration_since(first.since) <= PREFERENCE;
        let at = own.filter(|_| patient).unwrap_or(0);
        let client = self.queue.remove(at).unwrap();
        assert_eq!(waker.is_some(), client.polled, "who looked is woken");
        let before = client.bell.0.load(Ordering::Relaxed);
        if let Some(waker) = waker {
            waker.wake();
            assert_eq!(client.bell.0.load(Ordering::Relaxed), before + 1, "another was woken");
        }
        self.granted.insert(server, client.worker);
        self.answered.push(client);
    }

    fn open(&mut self, outcome: Outcome) {
        if self.opening == 0 {
            return;
        }
        self.opening -= 1;
        match outcome {
            Outcome::Opened(worker) => {
                self.next += 1;
                self.slots.opened();
                assert!(self.slots.failure().is_none());
                self.release(self.next, worker);
            }
            Outcome::Abandoned => self.slots.open_abandoned(),
            Outcome::Failed(outlook) => {
                let refused = outlook == Outlook::Lasting && self.slots.counts().active == 0;
                let woken = self.slots.open_failed(&1, outlook, self.now).len();
                if refused {
                    let polled = self.queue.iter().filter(|client| client.polled).count();
                    assert_eq!(woken, polled, "who looked is woken");
                    self.answered.extend(self.queue.drain(..));
                } else {
                    assert_eq!(woken, 0);
                }
                assert!(self.slots.wants_open(self.now).is_none(), "a pause follows a failed open");
                let soon = self.now + Duration::from_millis(999);
                let enough = self.opening >= 2 || self.opening as usize >= self.queue.len();
                assert!(
                    enough || self.is_full() || self.slots.wants_open(soon).is_some(),
                    "no try within 1 s"
                );
            }
        }
    }

    fn restore(&mut self, worker: usize) {
        if let Some(idle) = self.checking.pop() {
            let server = idle.server;
            let released = self.slots.restore(idle, worker, self.now);
            self.placed(server, worker, released);
        }
    }

    fn evict(&mut self) {
        let longest = self.slots.longest_idle();
        let Some(server) = self.slots.take_longest_idle() else {
            return assert!(self.idle.is_empty());
        };
        assert!(self.idle.remove(&server));
        assert_eq!(Some(self.since[&server]), longest);
        self.slots.lost();
    }

    fn is_full(&self) -> bool {
        self.slots.counts().total() >= self.slots.limits().size
    }

    fn grow(&mut self) {
        let paused = self.slots.failure().is_some();
        loop {
            let Limits { size, min, reserve, concurrent_opens, .. } = self.slots.limits();
            let waited = self.queue.front().map(|client| self.now - client.since);
            let starved = waited.is_some_and(|waited| waited >= RESERVE_AFTER);
            let allowed = if starved { size + reserve } else { size };
            let total = self.slots.counts().total();
            let useful = total < min || (self.opening as usize) < self.queue.len();
            let wanted = total < allowed && self.opening < concurrent_opens && useful;
            let wants = self.slots.wants_open(self.now).is_some();
            assert!(wants == wanted || paused && !wants, "{:?}", self.slots.counts());
            if !wants {
                return;
            }
            self.slots.begin_open();
            self.opening += 1;
        }
    }

    fn check(&self) {
        let number = |n: usize| u32::try_from(n).unwrap();
        let expected = Counts {
            idle: number(self.idle.len()),
            active: number(self.taken.len() + self.checking.len() + self.granted.len()),
            opening: self.opening,
            waiting: number(self.queue.len()),
        };
        assert_eq!(self.slots.counts(), expected);
        assert!(expected.total() <= self.highest, "{expected:?}");
        assert!(self.idle.is_empty() || self.queue.is_empty(), "idle servers and waiters");
        let idle: BTreeSet<u64> = self.slots.idle().map(|idle| idle.server).collect();
        assert_eq!(idle, self.idle);
        let longest = self.idle.iter().map(|server| self.since[server]).min();
        assert_eq!(self.slots.longest_idle(), longest);
        assert_eq!(self.slots.oldest_wait(), self.queue.front().map(|client| client.since));
    }

    /// Everybody is served within a second once opens succeed and servers come back.
    fn end(&mut self) {
        self.now += Duration::from_millis(999);
        for round in 0.. {
            self.grow();
            while self.opening > 0 {
                self.open(Outcome::Opened(0));
            }
            while !self.checking.is_empty() {
                self.restore(1);
            }
            while !self.answered.is_empty() {
                self.poll(self.queue.len());
            }
            if self.queue.is_empty() {
                break;
            }
            while let Some(server) = self.taken.pop() {
                self.release(server, 2);
            }
            self.check();
            assert!(round < 1_000, "somebody waits for ever");
        }
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let worker = || 0..WORKERS;
    let outcome = prop_oneof![
        4 => worker().prop_map(Outcome::Opened),
        1 => Just(Outcome::Failed(Outlook::Lasting)),
        1 => Just(Outcome::Failed(Outlook::Passing)),
        1 => Just(Outcome::Abandoned),
    ];
    prop_oneof![
        4 => prop_oneof![3 => 0..3_000_u32, 1 => 0..2_000_000_u32].prop_map(Operation::Pass),
        6 => worker().prop_map(Operation::Ask),
        6 => (0..32_usize).prop_map(Operation::Poll),
        2 => (0..32_usize).prop_map(Operation::Abandon),
        8 => (0..32_usize, worker()).prop_map(|(at, worker)| Operation::Release(at, worker)),
        1 => (0..32_usize).prop_map(Operation::Lost),
        5 => outcome.prop_map(Operation::Open),
        2 => (worker(), 0..2_u64).prop_map(|(worker, odd)| Operation::TakeIdle(worker, odd)),
        2 => worker().prop_map(Operation::Restore),
        1 => Just(Operation::Evict),
        1 => (1..8_u32, 0..3_u32).prop_map(|(size, reserve)| Operation::Resize(size, reserve)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_books_are_right_and_everybody_has_a_turn(
        size in 1..8_usize,
        reserve in 0..3_u32,
        filled in 0..8_usize,
        operations in vec(operation(), 0..120),
    ) {
        let mut model = Model::new(u32::try_from(size).unwrap(), reserve);
        model.fill(filled.min(size));
        for operation in &operations {
            model.run(operation);
        }
        model.end();
    }
}

#[test]
fn however_long_postgres_was_away_the_next_try_is_within_a_second() {
    let mut slots: Slots<u64, u32> = Slots::new(1, limits(1, 0));
    let mut now = Instant::now();
    for failures in 0..20 {
        assert!(slots.wants_open(now).is_some(), "no try after {failures} failures");
        slots.begin_open();
        slots.open_failed(&1, Outlook::Passing, now);
        assert!(slots.wants_open(now).is_none(), "a pause follows a failed open");
        now += Duration::from_millis(999);
    }
}

#[test]
fn a_pool_that_cannot_open_answers_at_once_until_the_next_try() {
    let mut slots: Slots<u64, u32> = Slots::new(1, limits(1, 0));
    let now = Instant::now();
    let Ok(Asked::Queued(ticket)) = slots.ask(0, now) else { panic!("there is nothing to take") };
    slots.begin_open();
    slots.open_failed(&7, Outlook::Lasting, now);
    assert_eq!(slots.poll(ticket, Waker::noop()), Some(Err(7)));
    assert!(matches!(slots.ask(0, now), Err(7)));
    assert!(matches!(slots.ask(0, now + Duration::from_secs(1)), Ok(Asked::Queued(_))));
}

#[test]
fn where_each_use_is_checked_the_client_waits_for_the_check_and_nothing_is_opened_for_it() {
    let now = Instant::now();
    let mut slots: Slots<u64, u32> = Slots::new(1, Limits { check: CheckAt::Use, ..limits(2, 0) });
    slots.begin_open();
    slots.opened();
    assert!(!slots.wants_check(), "nobody waits");
    assert!(matches!(slots.release(7, 0, now), Released::Idle));
    let Ok(Asked::Check(idle, ticket)) = slots.ask(0, now) else { panic!("it is checked first") };
    assert_eq!(slots.wants_open(now), None);
    slots.checked();
    assert!(matches!(slots.restore(idle, 0, now), Released::Granted(_)));
    assert_eq!(slots.poll(ticket, Waker::noop()), Some(Ok(7)));
    // Given back while another waits, it is checked as well.
    let Ok(Asked::Queued(_)) = slots.ask(0, now) else { panic!("there is no other") };
    assert!(slots.wants_check());
    assert_eq!(slots.wants_open(now), None);
    // It fails: another is to be opened.
    slots.checked();
    slots.lost();
    assert!(slots.wants_open(now).is_some());
}
