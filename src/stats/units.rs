//! What repeats within one unit of work, such as a web request: pure, without clock and without names. Which
//! statements belong to a unit is decided by `work`, what repeated findings come to by `findings`.

use std::sync::Arc;

use crate::sql::query::About;
use crate::sql::role::Role;
use crate::stats::queries::Place;
use crate::stats::said::RouteId;

/// Statements that are told apart in a unit; of more, the one that came least often gives way.
pub(super) const MOST_SLOTS: usize = 16;

/// A statement that came fewer times is no finding.
const LEAST_TIMES: u32 = 5;

/// One that took less altogether, with the time the client took between, is one only if it came
/// [`MANY_TIMES`]. Microseconds.
const LEAST_MICROS: u32 = 50_000;

/// So many are a finding however fast they are.
const MANY_TIMES: u32 = 20;

/// A client that takes longer between two statements may have ended a request in between: framework, network and
/// the next request. Microseconds.
const THINKING: u32 = 2_000;

/// What a unit of work is known by, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnitKind {
    /// The tags name one trace or one request.
    Trace,
    /// One transaction.
    Transaction,
    /// A short session from its beginning to its end.
    Session,
    /// A run of statements of one connection with one route.
    Route,
    /// A run of statements of one connection, no more.
    Burst,
}

impl UnitKind {
    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Transaction => "txn",
            Self::Session => "session",
            Self::Route => "route",
            Self::Burst => "burst",
        }
    }
}

/// What is wrong with repeating a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// One statement for each row of another.
    NPlusOne,
    /// The same question again and again.
    Duplicate,
    /// Rows written one by one.
    LoopWrite,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::NPlusOne, Self::Duplicate, Self::LoopWrite];

    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NPlusOne => "n_plus_one",
            Self::Duplicate => "duplicate",
            Self::LoopWrite => "loop_write",
        }
    }
}

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// The unit may be several requests.
    Low,
    /// The unit is one request.
    Medium,
    /// A statement before it returned as many rows.
    High,
}

impl Confidence {
    /// Every confidence.
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// A statement of a unit, as far as it matters here.
#[derive(Clone, Debug)]
pub(super) struct Step<'a> {
    pub(super) about: &'a Arc<About>,
    /// Is it one that may not repeat?
    pub(super) role: Role,
    /// How long it ran, microseconds.
    pub(super) micros: u32,
    /// Rows that it returned or changed.
    pub(super) rows: u32,
    /// A hash of its values.
    pub(super) values: u64,
    pub(super) place: Place,
}

impl Step<'_> {
    /// How long the client took before it, microseconds.
    fn gap(&self) -> Option<u32> {
        let micros = |nanos: u64| u32::try_from(nanos / 1_000).unwrap_or(u32::MAX);
        self.place.gap.map(micros)
    }
}

/// Whether values are those of the statement before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    Equal,
    Different,
}

/// One statement of a unit: 48 bytes.
#[derive(Clone, Debug)]
struct Slot {
    about: Arc<About>,
    values: u64,
    /// Time that it ran, microseconds.
    micros: u32,
    /// Time that the client took before it, from the second on, microseconds.
    gap: u32,
    rows: u32,
    transaction: u32,
    batch: u32,
    /// The longest the client took since it came last, microseconds.
    pause: u32,
    /// How often the client waited for it.
    times: u16,
    /// How often it came without the client taking longer than [`THINKING`] since the time before.
    close: u16,
    differ: Values,
    within: Within,
}

/// Whether a statement was in one transaction each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    OneTransaction,
    Several,
}

/// A statement that repeats within a unit.
#[derive(Clone, Debug)]
pub(super) struct Repeated {
    pub(super) about: Arc<About>,
    pub(super) class: Class,
    pub(super) kind: UnitKind,
    pub(super) confidence: Confidence,
    /// How often it came.
    pub(super) times: u32,
    /// Time that it ran, microseconds.
    pub(super) micros: u32,
    /// Time that the client took in between, microseconds.
    pub(super) gap: u32,
    /// The statement whose rows it follows, and how many those were.
    pub(super) source: Option<(Arc<About>, u32)>,
}

/// A unit of work.
#[derive(Debug)]
pub(super) struct Unit {
    slots: Vec<Slot>,
    /// The first statement's fingerprint: another request begins with it again.
    opener: u64,
    opened_in: u32,
    /// The route that its tags say.
    pub(super) route: Option<RouteId>,
    /// The application that its client says it is.
    pub(super) application: RouteId,
}

impl Unit {
    /// One that begins with this statement.
    pub(super) fn new(step: &Step<'_>) -> Self {
        Self {
            slots: Vec::new(),
            opener: step.about.fingerprint.0,
            opened_in: step.place.transaction,
            route: None,
            application: step.place.route,
        }
    }

    /// Does this statement begin the next one: the first statement comes again, after others, and not within
    /// the same transaction?
    pub(super) fn is_reopened_by(&self, step: &Step<'_>) -> bool {
        step.about.fingerprint.0 == self.opener
            && self.slots.len() > 1
            && step.place.transaction != self.opened_in
    }

    /// One more statement.
    pub(super) fn note(&mut self, step: &Step<'_>) {
        let gap = step.gap();
        for slot in &mut self.slots {
            slot.pause = slot.pause.max(gap.unwrap_or(0));
        }
        let hash = step.about.fingerprint;
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.about.fingerprint == hash) {
            slot.again(step, gap);
        } else if self.slots.len() < MOST_SLOTS {
            self.slots.push(Slot::new(step));
        } else if let Some(least) = self.slots.iter_mut().min_by_key(|slot| slot.times) {
            *least = Slot::new(step);
        }
    }

    /// The statements that repeat too often. `kind`: what the unit is known by; a statement that was in one transaction
    /// each time is known by that.
    pub(super) fn repeated(&self, kind: UnitKind) -> impl Iterator<Item = Repeated> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(move |(at, slot)| {
            let class = slot.class()?;
            let kind = match slot.within {
                Within::OneTransaction => kind.min(UnitKind::Transaction),
                Within::Several => kind,
            };
            if !slot.is_much(kind) {
                return None;
            }
            let source = self.slots[..at].iter().find(|before| before.is_source_of(slot));
            let confidence = match source {
                Some(_) => Confidence::High,
                None => slot.confidence(kind)?,
            };
            Some(Repeated {
                about: Arc::clone(&slot.about),
                class,
                kind,
                confidence,
                times: slot.times.into(),
                micros: slot.micros,
                gap: slot.gap,
                source: source.map(|source| (Arc::clone(&source.about), source.rows)),
            })
        })
    }
}

impl Slot {
    fn new(step: &Step<'_>) -> Self {
        Self {
            about: Arc::clone(step.about),
            values: step.values,
            micros: step.micros,
            gap: 0,
            rows: step.rows,
            transaction: step.place.transaction,
            batch: step.place.batch,
            pause: 0,
            times: u16::from(step.role != Role::Aside),
            close: 0,
            differ: Values::Equal,
            within: Within::OneTransaction,
        }
    }

    /// The same statement. Several in one batch, or sent without waiting, cost one round trip.
    fn again(&mut self, step: &Step<'_>, gap: Option<u32>) {
        self.micros = self.micros.saturating_add(step.micros);
        self.rows = self.rows.saturating_add(step.rows);
        if step.values != self.values {
            self.differ = Values::Different;
        }
        if step.place.transaction != self.transaction {
            self.within = Within::Several;
        }
        let Some(gap) = gap.filter(|_| step.place.batch != self.batch) else { return };
        self.batch = step.place.batch;
        self.times = self.times.saturating_add(u16::from(step.role != Role::Aside));
        self.gap = self.gap.saturating_add(gap);
        self.close = self.close.saturating_add(u16::from(self.pause <= THINKING));
        self.pause = 0;
    }

    fn class(&self) -> Option<Class> {
        match (self.about.role, self.differ) {
            (Role::Read, Values::Different) => Some(Class::NPlusOne),
            (Role::Read, Values::Equal) => Some(Class::Duplicate),
            (Role::Write, _) => Some(Class::LoopWrite),
            (Role::Begin | Role::End | Role::Aside, _) => None,
        }
    }

    fn is_much(&self, kind: UnitKind) -> bool {
        let times = u32::from(self.times);
        let takes_long = self.micros.saturating_add(self.gap) >= LEAST_MICROS;
        match kind {
            UnitKind::Burst => times >= MANY_TIMES && takes_long,
            UnitKind::Trace | UnitKind::Transaction | UnitKind::Session | UnitKind::Route => {
                times >= MANY_TIMES || times >= LEAST_TIMES && takes_long
            }
        }
    }

    /// Did this one return a row for each time that the other came? Give or take a tenth.
    fn is_source_of(&self, other: &Self) -> bool {
        let times = u32::from(other.times);
        self.about.role == Role::Read
            && self.times < other.times
            && self.rows >= LEAST_TIMES
            && self.rows.abs_diff(times) <= (times / 10).max(1)
    }

    /// How sure it is that these were one request, where no statement's rows say so.
    fn confidence(&self, kind: UnitKind) -> Option<Confidence> {
        let close = u32::from(self.close) >= LEAST_TIMES && self.close >= self.times / 2;
        match kind {
            UnitKind::Trace | UnitKind::Transaction => Some(Confidence::Medium),
            UnitKind::Session | UnitKind::Route => close.then_some(Confidence::Medium),
            UnitKind::Burst => close.then_some(Confidence::Low),
        }
    }
}
