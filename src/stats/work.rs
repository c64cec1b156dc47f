//! Which statements belong to one unit of work: those of one trace or request, if their tags say so, else a run of
//! one client's. Time is an argument. What repeats within a unit is left to [`super::units`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxBuildHasher;

use super::queries::{Event, Outcome};
use super::record::Owner;
use super::said::{RouteId, Said};
use super::units::{Repeated, Step, Unit, UnitKind};
use crate::sql::query::About;
use crate::sql::role::Role;
use crate::sql::tags::Repeats;

/// Clients that are looked at; a client that does nothing is not among them for long. At most 768 bytes each for
/// what repeats.
const MOST_CLIENTS: usize = 20_000;

/// Traces and requests that are looked at.
const MOST_TRACES: usize = 4_096;

/// A client that is silent for so long outside of a transaction has ended what it did.
const RUN_GAP: Duration = Duration::from_millis(500);

/// A trace in which nothing happens for so long has ended.
const TRACE_GAP: Duration = Duration::from_secs(5);

/// A session that lived no longer may have been one request.
const SHORT_SESSION: Duration = Duration::from_secs(30);

/// A transaction that was left open for so long is forgotten here.
const OPEN_LIMIT: Duration = Duration::from_secs(3_600);

/// How often units are looked for that have ended.
const SWEEP: Duration = Duration::from_millis(250);

/// What is known of clients and traces.
#[derive(Debug)]
pub(super) struct Work {
    clients: HashMap<u64, Client, FxBuildHasher>,
    traces: HashMap<(u64, u32), Trace, FxBuildHasher>,
    swept: Instant,
    /// Units that ended, in which something repeats.
    ended: Vec<Ended>,
    /// What clients did in transactions without asking anything.
    pauses: Vec<Pause>,
}

/// A unit that ended, in which something repeats.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) owner: Arc<Owner>,
    pub(super) route: RouteId,
    /// The application that the client says it is.
    pub(super) application: RouteId,
    pub(super) repeated: Vec<Repeated>,
    /// What its last statement with tags says.
    pub(super) said: Option<Arc<Said>>,
}

/// A pause of a client within a transaction.
#[derive(Debug)]
pub(super) struct Pause {
    pub(super) owner: Arc<Owner>,
    pub(super) route: RouteId,
    /// The statement before.
    pub(super) about: Arc<About>,
    pub(super) micros: u64,
}

#[derive(Debug)]
struct Client {
    run: Option<Box<Run>>,
    /// Its last statement.
    last: Arc<About>,
    route: RouteId,
    /// The trace of that.
    trace: Option<u64>,
    transaction: u32,
    state: State,
    touched: Instant,
}

/// Is a transaction open, as far as statements say?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closed,
}

#[derive(Debug)]
struct Run {
    unit: Unit,
    owner: Arc<Owner>,
    said: Option<Arc<Said>>,
    began: Instant,
    from: From,
}

/// Where a run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// With the session.
    Start,
    /// Later.
    Middle,
}

#[derive(Debug)]
struct Trace {
    run: Run,
    touched: Instant,
}

impl Run {
    fn new(owner: &Arc<Owner>, step: &Step<'_>, now: Instant, from: From) -> Self {
        Self { unit: Unit::new(step), owner: Arc::clone(owner), said: None, began: now, from }
    }

    fn note(&mut self, step: &Step<'_>, said: Option<&Arc<Said>>) {
        if let Some(said) = said {
            self.unit.route = said.route.or(self.unit.route);
            self.said = Some(Arc::clone(said));
        }
        self.unit.note(step);
    }

    fn end(self, kind: UnitKind) -> Option<Ended> {
        let repeated: Vec<_> = self.unit.repeated(kind).collect();
        let application = self.unit.application;
        (!repeated.is_empty()).then(|| Ended {
            owner: self.owner,
            route: self.unit.route.unwrap_or(application),
            application,
            repeated,
            said: self.said,
        })
    }

    /// What a run is known by that ended before its session did.
    fn kind(&self) -> UnitKind {
        if self.unit.route.is_some() { UnitKind::Route } else { UnitKind::Burst }
    }

    /// Does a statement begin another one?
    fn ends_before(&self, step: &Step<'_>, said: Option<&Said>, last: &Client) -> bool {
        let same_transaction = step.place.transaction == last.transaction;
        let long = step.place.gap.is_some_and(|gap| u128::from(gap) > RUN_GAP.as_nanos());
        let route = said.and_then(|said| said.route);
        let untagged = route.is_none() && self.unit.route.is_none();
        let after_transaction = last.last.role == Role::End || step.about.role == Role::Begin;
        long && !same_transaction
            || route.is_some() && self.unit.route.is_some() && route != self.unit.route
            || untagged && after_transaction
            || self.unit.is_reopened_by(step)
    }
}

impl Work {
    /// Nothing yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            clients: HashMap::default(),
            traces: HashMap::default(),
            swept: now,
            ended: Vec::new(),
            pauses: Vec::new(),
        }
    }

    /// One more statement. `owner`: its pool, and that pool's number.
    pub(super) fn note(&mut self, owner: (&Arc<Owner>, u32), event: &Event, now: Instant) {
        let Some(about) = event.about() else { return };
        let rows = match event.outcome {
            Outcome::Complete { rows } => rows,
            Outcome::Failed(_) => 0,
            // The rest of it comes.
            Outcome::Suspended { .. } => return,
        };
        let said = event.run.said.as_ref();
        let excused = said.is_some_and(|said| said.repeats == Repeats::Known);
        let mut step = Step {
            about,
            role: if excused { Role::Aside } else { about.role },
            micros: u32::try_from(event.nanos / 1_000).unwrap_or(u32::MAX),
            rows: u32::try_from(rows).unwrap_or(u32::MAX),
            values: event.run.values,
            place: event.place,
        };
        self.note_pause(owner.0, &step);
        let trace = said.and_then(|said| said.unit);
        if let Some(trace) = trace {
            self.note_trace((trace, owner.1), &mut step, (owner.0, said), now);
        } else {
            self.note_run(owner.0, &step, said, now);
        }
        self.remember(&step, trace, now);
    }

    fn note_pause(&mut self, owner: &Arc<Owner>, step: &Step<'_>) {
        let Some(client) = self.clients.get(&step.place.client) else { return };
        let Some(gap) = step.place.gap.filter(|_| client.transaction == step.place.transaction)
        else {
            return;
        };
        self.pauses.push(Pause {
            owner: Arc::clone(owner),
            route: client.route,
            about: Arc::clone(&client.last),
            micros: gap / 1_000,
        });
    }

    fn note_trace(
        &mut self,
        key: (u64, u32),
        step: &mut Step<'_>,
        (owner, said): (&Arc<Owner>, Option<&Arc<Said>>),
        now: Instant,
    ) {
        let client = self.clients.get(&step.place.client);
        if client.is_none_or(|client| client.trace != Some(key.0)) {
            // What came before on this connection was something else.
            step.place.gap = step.place.gap.map(|_| 0);
        }
        // A trace may have several connections, whose batches have the same numbers.
        step.place.batch ^= (step.place.client as u32).rotate_left(16);
        if let Some(trace) = self.traces.get_mut(&key) {
            trace.touched = now;
            return trace.run.note(step, said);
        }
        if self.traces.len() < MOST_TRACES {
            let mut run = Run::new(owner, step, now, From::Middle);
            run.note(step, said);
            self.traces.insert(key, Trace { run, touched: now });
        }
    }

    fn note_run(
        &mut self,
        owner: &Arc<Owner>,
        step: &Step<'_>,
        said: Option<&Arc<Said>>,
        now: Instant,
    ) {
        let client = self.clients.get_mut(&step.place.client);
        let known = client.is_some();
        if let Some(client) = client
            && let Some(mut run) = client.run.take()
        {
            if !run.ends_before(step, said.map(|said| &**said), client) {
                run.note(step, said);
                client.run = Some(run);
                return;
            }
            let kind = run.kind();
            self.ended.extend(run.end(kind));
        }
        if !known && self.clients.len() >= MOST_CLIENTS {
            return;
        }
        let first = step.place.transaction == 0 && step.place.batch == 0;
        let mut run = Run::new(owner, step, now, if first { From::Start } else { From::Middle });
        run.note(step, said);
        let client = self.client(step, now);
        client.run = Some(Box::new(run));
    }

    fn client(&mut self, step: &Step<'_>, now: Instant) -> &mut Client {
        self.clients.entry(step.place.client).or_insert_with(|| Client {
            run: None,
            last: Arc::clone(step.about),
            route: step.place.route,
            trace: None,
            transaction: step.place.transaction.wrapping_sub(1),
            state: State::Closed,
            touched: now,
        })
    }

    fn remember(&mut self, step: &Step<'_>, trace: Option<u64>, now: Instant) {
        if self.clients.len() >= MOST_CLIENTS && !self.clients.contains_key(&step.place.client) {
            return;
        }
        let client = self.client(step, now);
        let goes_on = client.transaction == step.place.transaction;
        client.state = match step.about.role {
            Role::Begin => State::Open,
            Role::End => State::Closed,
            Role::Read | Role::Write | Role::Aside if goes_on => State::Open,
            Role::Read | Role::Write | Role::Aside => State::Closed,
        };
        client.last = Arc::clone(step.about);
        // What begins and ends a transaction has no tags.
        if !goes_on || step.place.route != step.place.application {
            client.route = step.place.route;
        }
        client.trace = trace;
        client.transaction = step.place.transaction;
        client.touched = now;
    }

    /// A client has left.
    pub(super) fn gone(&mut self, client: u64, now: Instant) {
        let run = self.clients.remove(&client).and_then(|client| client.run);
        if let Some(run) = run {
            let short = now.saturating_duration_since(run.began) < SHORT_SESSION;
            let whole = run.from == From::Start && short;
            let kind = if whole { UnitKind::Session } else { run.kind() };
            self.ended.extend(run.end(kind));
        }
    }

    /// Ends units in which nothing happens any more.
    pub(super) fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        let ended = &mut self.ended;
        self.clients.retain(|_, client| {
            let silent = now.saturating_duration_since(client.touched);
            if client.state == State::Open {
                return silent < OPEN_LIMIT;
            }
            if silent < 2 * RUN_GAP {
                return true;
            }
            if let Some(run) = client.run.take() {
                let kind = run.kind();
                ended.extend(run.end(kind));
            }
            false
        });
        let over = |_: &(u64, u32), trace: &mut Trace| {
            now.saturating_duration_since(trace.touched) >= TRACE_GAP
        };
        for (_, trace) in self.traces.extract_if(over) {
            ended.extend(trace.run.end(UnitKind::Trace));
        }
    }

    /// Units that ended and pauses that were seen since this was called last.
    pub(super) fn take(&mut self) -> (Vec<Ended>, Vec<Pause>) {
        (std::mem::take(&mut self.ended), std::mem::take(&mut self.pauses))
    }
}
