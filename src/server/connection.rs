//! A connection to Postgres: the socket, and all that is known of the session behind it.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::effects::Effect;
pub use super::gate::{CancelGate, CancelInFlight, CancelKey};
use super::inventory::Inventory;
use super::kept::Kept;
use super::owed::{Answer, Owed, Request};
use super::parameters::{Applied, Settings, transition};
use super::sequences::Sequences;
use super::sql_prepared::SqlStatements;
use super::statement::ServerStatements;
pub use super::undo::Undo;
use crate::net::stream::Stream;
use crate::protocol::backend::TransactionStatus;
use crate::protocol::frame::client_tag;
use crate::protocol::frontend;
use crate::sql::effects::Effects;
use crate::sql::feature::{Feature, Features};

/// In front of other statements of one Query: they do not wait for a snapshot that is safe (SERIALIZABLE READ ONLY
/// DEFERRABLE), which a client, its user or its database may have as the default.
pub const AT_ONCE: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;";

/// What is known of a session's state, beside its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dirt {
    /// It has none but what [`ServerConnection::pins`] says.
    Known,
    /// It may have any: `DISCARD ALL` is due before anybody else may have it.
    Unknown,
}

/// Did a client of a server change the functions of its database, be it in a transaction that is not over?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routines {
    /// Not as far as is known.
    Same,
    /// It may have.
    Changed,
}

/// What was sent to give a session other settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nothing: it has them.
    Nothing,
    /// Something that no result depends on.
    Harmless,
    /// Settings, to a session that has none of its own, or is told to forget all it has first. Should it refuse them, they
    /// are at fault.
    OfFresh,
    /// Settings, to one that has others. Should it refuse, those may be at fault.
    OfUsed,
}

/// Where a message that is larger than the read buffer goes on to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// Between two messages.
    #[default]
    Boundary,
    /// This many bytes of a message are still to be passed on.
    Forward(usize),
    /// This many bytes of a message are still to be dropped.
    Drop(usize),
}

/// A connection to Postgres that is logged in.
#[derive(Debug)]
pub struct ServerConnection {
    /// Unique in this process.
    pub id: u64,
    /// The socket.
    pub stream: Stream,
    /// The worker whose runtime the socket is registered with.
    pub worker: usize,
    /// What Postgres owes us.
    pub owed: Owed<Undo>,
    /// Bytes of an incomplete message from Postgres.
    pub carry: Vec<u8>,
    /// The message from Postgres that is being passed on in parts.
    pub body: Body,
    /// Was a statement bound that may make Postgres forget prepared statements?
    pub bound_forgets: bool,
    /// The type of the client's message that is being passed on in parts.
    pub half_sent: u8,
    /// The client's last batch, if it may be sent again.
    pub kept: Kept,
    /// Bytes for Postgres that the socket has not taken yet.
    pub unsent: Vec<u8>,
    /// Prepared statements it knows.
    pub statements: ServerStatements,
    /// Its settings.
    pub applied: Applied,
    /// What clients prepared there with SQL's `PREPARE`: with known settings, mostly what those say.
    pub prepared: SqlStatements,
    /// Whose sequence values it remembers.
    pub sequences: Sequences,
    /// Settings it reported while the present client has it.
    pub reported: Vec<(Box<str>, Box<str>)>,
    /// Did a client change functions since Postgres was asked for them?
    pub routines: Routines,
    /// What is known of what the present client may have left behind.
    pub dirt: Dirt,
    /// What the present client may have changed in the session since Postgres was asked last.
    pub touched: Option<Box<Effects>>,
    /// The question about it that is on its way or answered.
    pub asked: Option<Box<Inventory>>,
    /// Which schemas names are looked up in since the present client said so in a transaction that is not over,
    /// or since there are temporary tables.
    pub schemas: Option<Arc<str>>,
    /// The same as `SHOW search_path` says it, once Postgres has agreed to what was said.
    pub path: Option<Arc<str>>,
    /// State of the present client that only this connection has.
    pub pins: Features,
    /// How to cancel what it runs.
    pub key: CancelKey,
    /// Cancel requests on their way to it.
    pub cancels: Arc<CancelGate>,
    /// When it was opened.
    pub opened_at: Instant,
    /// When the present client got it, in the relay's clock (nanoseconds).
    pub taken_at: u64,
}

impl ServerConnection {
    /// Sends what is waiting; ready when nothing is left.
    ///
    /// # Errors
    /// As the socket's.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll_flush(&mut self.stream, &mut self.unsent, cx)
    }

    /// Sends `bytes`, or keeps what the socket does not take.
    ///
    /// # Errors
    /// As the socket's.
    #[inline]
    pub fn send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        send(&mut self.stream, &mut self.unsent, cx, bytes)
    }

    /// Registers the socket with the runtime of `worker`, which must be the current one.
    ///
    /// # Errors
    /// When the system refuses; the connection is gone then.
    pub fn move_to(self: Box<Self>, worker: usize) -> io::Result<Box<Self>> {
        let this = *self;
        let stream = this.stream.detach()?.attach()?;
        Ok(Box::new(Self { stream, worker, ..this }))
    }

    /// Notes what a completed command says about the session.
    pub fn note_effect(&mut self, effect: Effect) {
        match effect {
            Effect::None | Effect::Schema => {}
            Effect::Routine | Effect::Done => self.routines = Routines::Changed,
            Effect::Loaded => self.pins.insert(Feature::Load),
            Effect::Deallocated => {}
            Effect::DeallocatedAll => self.forget_statements(),
            Effect::Discarded => {
                self.forget_statements();
                self.pins = self.pins.without([Feature::Unreadable].into_iter().collect());
            }
        }
    }

    /// Notes what a request that is about to be sent may do to the session.
    #[cold]
    pub fn touch(&mut self, effects: &Effects) {
        self.touched.get_or_insert_default().merge(effects);
        let own = self.own_schemas();
        if effects.begins.contains(Feature::TemporaryTable) {
            (self.schemas, self.path) = (Some(own.into()), None);
        } else if let Some(said) = &effects.schemas
            && !self.pins.contains(Feature::TemporaryTable)
            && self.schemas.as_deref() != Some(&*own)
        {
            self.schemas = Some(format!("\0{said}").into());
            self.path = effects.path.as_deref().map(Into::into);
        }
    }

    /// What stands for the schemas of a session with temporary tables.
    fn own_schemas(&self) -> String {
        format!("\0{}", self.id)
    }

    /// Which schemas names are looked up in since the present client said so (see [`Self::schemas`]).
    #[cold]
    pub fn said_schemas(&self) -> Option<&Arc<str>> {
        match &self.path {
            Some(path) if !self.is_at_clients() => Some(path),
            Some(_) | None => self.schemas.as_ref(),
        }
    }

    /// Are names looked up among temporary tables first?
    #[cold]
    pub fn has_own_schemas(&self) -> bool {
        let own = self.own_schemas();
        self.schemas.as_ref().is_some_and(|schemas| **schemas == *own)
    }

    /// Its transaction is over, and what it left is known: what says which schemas names are looked up in are the
    /// client's settings again.
    #[inline]
    pub fn forget_schemas(&mut self) {
        if self.schemas.is_some() && !self.pins.contains(Feature::TemporaryTable) {
            self.schemas = None;
        }
    }

    /// A savepoint's end may take back what was said of the schemas: they cannot be told any more.
    #[cold]
    pub fn doubt_schemas(&mut self, text: &[u8]) {
        let own = self.own_schemas();
        let told = self.schemas.as_ref().is_some_and(|schemas| **schemas != *own);
        if told && Effects::may_roll_back(text) {
            (self.schemas, self.path) = (Some("\0".into()), None);
        }
    }

    /// Gives the session these settings.
    #[inline]
    pub fn apply(&mut self, settings: &Arc<Settings>, now: u64) -> Sent {
        match &self.applied {
            Applied::Known(known) if Arc::ptr_eq(known, settings) => Sent::Nothing,
            Applied::Known(_) | Applied::Unknown => {
                self.change_settings(settings, Answer::Swallow, now)
            }
        }
    }

    /// Gives the session these settings back, which a text of its client reset; false: it has them.
    #[cold]
    #[must_use]
    pub fn restore(&mut self, settings: &Arc<Settings>, now: u64) -> bool {
        match &self.applied {
            Applied::Known(known) if !Arc::ptr_eq(known, settings) => {
                self.change_settings(settings, Answer::Restoring, now) != Sent::Nothing
            }
            Applied::Known(_) | Applied::Unknown => false,
        }
    }

    #[cold]
    fn change_settings(&mut self, settings: &Arc<Settings>, answer: Answer, now: u64) -> Sent {
        let mut sql = transition(&self.applied, settings);
        if !sql.is_empty() {
            sql.insert_str(0, AT_ONCE);
        }
        let same = self.prepared == *settings.prepared();
        let change = match &self.applied {
            _ if sql.is_empty() && same => Sent::Nothing,
            Applied::Known(known) if same && known.is_alike(settings) => Sent::Harmless,
            Applied::Known(known) if !known.is_default() => Sent::OfUsed,
            Applied::Known(_) | Applied::Unknown => Sent::OfFresh,
        };
        self.applied = Applied::Known(Arc::clone(settings));
        if !sql.is_empty() {
            frontend::write_query(&mut self.unsent, &sql);
            self.statements.doubt_unnamed();
            self.owed.push(Request::Query, answer, None, now);
        }
        if !same {
            self.change_prepared(settings.prepared(), now);
        }
        change
    }

    /// Asks Postgres what is left in the session; the answer gathers in [`Self::asked`]. False: there is
    /// nothing to ask.
    #[must_use]
    pub fn ask(&mut self, question: Box<Inventory>, now: u64) -> bool {
        let mut sql = question.sql();
        if sql.is_empty() {
            return false;
        }
        sql.insert_str(0, AT_ONCE);
        frontend::write_query(&mut self.unsent, &sql);
        self.statements.doubt_unnamed();
        self.owed.push(Request::Query, Answer::Swallow, None, now);
        self.asked = Some(question);
        true
    }

    /// Is it at a query of ours: one that goes ahead of the client's, or is behind them? What we put into a client's
    /// batch is part of that.
    #[must_use]
    pub fn is_at_our_query(&self) -> bool {
        self.owed.ahead().next().is_some_and(|(request, answer, _)| is_our_query(request, answer))
    }

    /// Is it to answer anything but queries of ours?
    #[must_use]
    pub fn is_at_clients(&self) -> bool {
        self.owed.ahead().any(|(request, answer, _)| !is_our_query(request, answer))
    }

    /// Is no transaction or batch of a client's open, and nothing to be answered but queries of ours?
    #[inline]
    #[must_use]
    pub fn is_free_of_clients(&self) -> bool {
        self.owed.is_free()
            || self.owed.status() == TransactionStatus::Idle
                && !self.owed.is_batch_open()
                && !self.is_at_clients()
    }

    /// Is everything known that the session holds, and nothing of it bound to the connection?
    #[inline]
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.dirt == Dirt::Known
            && self.pins.is_empty()
            && self.touched.is_none()
            && self.asked.is_none()
    }

    /// The server has forgotten all statements but those it is being told about just now.
    fn forget_statements(&mut self) {
        self.statements.clear_named();
        for undo in self.owed.in_flight() {
            match undo {
                Undo::Parsed { statement, sent: true, .. } => {
                    self.statements.learn(statement.id);
                }
                Undo::Injected(id) | Undo::Homed(id) => self.statements.learn(*id),
                Undo::Parsed { .. }
                | Undo::ParsedUnnamed { .. }
                | Undo::Queried { .. }
                | Undo::Lent(_)
                | Undo::Deallocated { .. }
                | Undo::InjectedUnnamed
                | Undo::Duplicate(_)
                | Undo::Closed { .. }
                | Undo::Evicted(_)
                | Undo::Used(_)
                | Undo::Strayed { .. }
                | Undo::SqlPrepared(_)
                | Undo::Optional => {}
            }
        }
    }

    /// May it be given to another client as it is, after its settings were compared?
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.owed.is_free()
            && !self.owed.is_ambiguous()
            && !self.cancels.is_lost()
            && self.body == Body::Boundary
            && self.carry.is_empty()
            && self.unsent.is_empty()
    }

    /// Says goodbye as far as the socket takes it at once; the rest happens on drop.
    pub fn say_goodbye(&mut self) {
        let mut terminate = Vec::with_capacity(5);
        frontend::write_empty(&mut terminate, client_tag::TERMINATE);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        // Postgres notices the closed socket just as well.
        let _ = self.stream.poll_write(&mut cx, &terminate);
    }
}

fn is_our_query(request: Request, answer: Answer) -> bool {
    request == Request::Query && matches!(answer, Answer::Swallow | Answer::Restoring)
}

/// Sends what is waiting in `unsent`; ready when nothing is left.
///
/// # Errors
/// As the socket's.
pub fn poll_flush(
    stream: &mut Stream,
    unsent: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let mut sent = 0;
    while sent < unsent.len() {
        match stream.poll_write(cx, &unsent[sent..]) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(n)) => sent += n,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => {
                unsent.drain(..sent);
                return Poll::Pending;
            }
        }
    }
    // An idle connection owns no buffer.
    *unsent = Vec::new();
    Poll::Ready(Ok(()))
}

/// Sends `bytes` behind what is waiting in `unsent`, and keeps there what the socket does not take.
///
/// # Errors
/// As the socket's.
#[inline]
pub fn send(
    stream: &mut Stream,
    unsent: &mut Vec<u8>,
    cx: &mut Context<'_>,
    mut bytes: &[u8],
) -> io::Result<()> {
    if unsent.is_empty() {
        while !bytes.is_empty() {
            match stream.poll_write(cx, bytes) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => bytes = &bytes[n..],
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
    }
    unsent.extend_from_slice(bytes);
    Ok(())
}
