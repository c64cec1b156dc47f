//! Statements that were prepared by the protocol and are named in SQL (`EXECUTE`, `EXPLAIN EXECUTE`, `DEALLOCATE` among
//! others). Servers know them by shared names, so the server is told of them under the client's own, ahead of the Query, and
//! forgets them behind it. The Query itself goes as it is: what Postgres says of it, and where, is right.

use std::collections::VecDeque;
use std::sync::Arc;

use memchr::memmem;

use super::buffers::Splice;
use super::position::moved;
use super::replies::Replies;
use super::requests::{Fate, MOST_PUT_TOGETHER, NO_SUCH_PORTAL, Requests, UNNAMED_PORTAL};
use crate::protocol::backend::TransactionStatus;
use crate::protocol::error_response::{ErrorFields, Severity, write_error};
use crate::protocol::frame::{self, HEADER_LENGTH, client_tag, server_tag};
use crate::protocol::frontend;
use crate::protocol::sqlstate::SqlState;
use crate::server::connection::Undo;
use crate::server::effects::forgets;
use crate::server::owed::{Answer, Cause, Request, Verdict};
use crate::server::statement::{SHARED_PREFIX, SharedName, Statement};
use crate::sql::effects::Effects;
use crate::sql::feature::Feature;
use crate::sql::named::{Mention, Named, Shape, Use, asks_for_data};

/// The body of a statement without a text: Postgres accepts it whatever the state of the transaction.
const EMPTY: &[u8] = b"\0\0\0";

/// A statement that Postgres refuses by now must not fail the client's transaction before its Query does.
const BEFORE: &str = "SAVEPOINT pooler_lent";

/// What is prepared outlives that.
const BEHIND: &str = "ROLLBACK TO pooler_lent;RELEASE pooler_lent";

/// A Query that is sure to fail; the server's log shows it.
const REFUSED: &str = "refused by pooler: statements of the protocol are named in SQL";

/// What a Query needs to be told of.
pub(super) enum Loan {
    /// Nothing.
    Nothing,
    /// What it names is open.
    Uncertain,
    /// It cannot be done.
    Tangled,
    /// There is no such statement.
    Missing,
    /// These statements.
    These(Lent),
}

/// Why Postgres did not prepare a statement under the client's own name.
#[derive(Debug)]
pub(super) struct NotLent {
    name: Box<str>,
    /// The error's body.
    body: Box<[u8]>,
}

/// Statements that a Query names.
pub(super) struct Lent {
    statements: Vec<(Box<str>, Use, Arc<Statement>)>,
    named: Box<Named>,
}

impl Requests<'_> {
    /// What the server must be told of for this text.
    #[cold]
    pub(super) fn loan(&self, text: &[u8], splice: &Splice<'_>) -> Loan {
        let Some(named) = Named::read(text) else { return Loan::Nothing };
        if named.mentions.iter().any(|mention| self.is_uncertain(mention.name.as_bytes())) {
            return Loan::Uncertain;
        }
        let mut statements = Vec::new();
        let mut remade = false;
        for mention in named.mentions.iter().filter(|m| self.is_of_protocol(&m.name)) {
            if let Some(statement) = self.statements.get(mention.name.as_bytes()) {
                remade |= mention.remade;
                statements.push((mention.name.clone(), mention.first, Arc::clone(statement)));
            }
        }
        let owed = &self.server.owed;
        let missing = named.mentions.iter().any(|mention| self.is_of_others(mention));
        let any = named.mentions.iter().any(|mention| mention.name.is_empty());
        if statements.is_empty() && !missing && !any || owed.is_copying_in() {
            return Loan::Nothing;
        }
        if self.may_hold() && (owed.is_status_due() || splice.put_together() >= MOST_PUT_TOGETHER) {
            return Loan::Uncertain;
        }
        let bytes: usize = statements.iter().map(|(.., statement)| statement.body.len()).sum();
        let large = statements.len() > 1 && bytes > MOST_PUT_TOGETHER;
        let most = match owed.status() {
            TransactionStatus::InTransaction => Shape::Early,
            TransactionStatus::Idle | TransactionStatus::Failed => Shape::Tangled,
        };
        let shared = statements.iter().any(|(name, ..)| is_shared(name));
        // What is executed is read no further: it may name statements itself.
        let beyond = |(_, first, s): &(_, Use, Arc<Statement>)| {
            *first == Use::Executed && (asks_for_data(s.text()) || s.named.is_some())
        };
        let tangled = any || remade || large || shared || named.shape >= most;
        let tangled = tangled || owed.is_batch_open() || statements.iter().any(beyond);
        match owed.status() {
            TransactionStatus::Failed if named.shape < Shape::Ends => Loan::Nothing,
            TransactionStatus::Failed => Loan::Tangled,
            TransactionStatus::Idle | TransactionStatus::InTransaction if missing => Loan::Missing,
            TransactionStatus::Idle | TransactionStatus::InTransaction if tangled => Loan::Tangled,
            TransactionStatus::Idle | TransactionStatus::InTransaction => {
                Loan::These(Lent { statements, named })
            }
        }
    }

    /// Does the client know a statement of this name by its Parse, not by `PREPARE`?
    pub(super) fn is_of_protocol(&self, name: &str) -> bool {
        !self.is_of_sql(name.as_bytes()) && self.statements.get(name.as_bytes()).is_some()
    }

    /// Would the server run or drop what it knows for others? No client's own statement has such a name there.
    fn is_of_others(&self, mention: &Mention) -> bool {
        mention.first != Use::Prepared
            && is_shared(&mention.name)
            && mention.name.as_bytes()[SHARED_PREFIX.len()..].iter().all(u8::is_ascii_digit)
            && self.statements.get(mention.name.as_bytes()).is_none()
            && !self.settings.prepared().contains(&mention.name)
            && !self.may_have_prepared()
    }

    /// May the client have done a `PREPARE` that nobody has asked about yet, or that keeps it to its server?
    fn may_have_prepared(&self) -> bool {
        let touched = self.server.touched.as_ref();
        let touched = touched.map_or(self.server.pins, |t| t.touches.union(t.begins));
        touched.union(self.server.pins).contains(Feature::Prepare)
    }

    /// A name is about to be prepared. Postgres says so if a `PREPARE` that nobody has asked about yet, or that keeps the
    /// client to its server, has taken it.
    pub(super) fn probe_name(&mut self, name: &[u8], splice: &mut Splice<'_>) {
        let is_gone = |name| self.settings.prepared().contains(name);
        let gone = std::str::from_utf8(name).is_ok_and(is_gone);
        if !gone && !self.may_have_prepared() || name.starts_with(SHARED_PREFIX) {
            return;
        }
        frontend::write_parse(splice.insert(), name, EMPTY);
        self.owe(Request::Parse, Answer::Swallow, Undo::Duplicate(name.into()));
        self.close_of_ours(name, splice);
    }

    /// Does the client know a statement of this name by `PREPARE`, as far as its texts say?
    #[inline]
    pub(super) fn is_of_sql(&self, name: &[u8]) -> bool {
        let prepared = self.settings.prepared();
        !prepared.is_empty()
            && std::str::from_utf8(name).is_ok_and(|name| prepared.contains(name))
            && !self.server.touched.as_ref().is_some_and(|touched| {
                touched.touches.union(touched.ends).contains(Feature::Prepare)
            })
    }

    /// A simple Query that names these statements goes on.
    #[cold]
    pub(super) fn query_lent(
        &mut self,
        lent: &Lent,
        frame: &[u8],
        splice: &mut Splice<'_>,
    ) -> Fate {
        let text = &frame[HEADER_LENGTH..];
        let deallocates: VecDeque<_> = lent.named.deallocated.iter().cloned().collect();
        if forgets(text) || !deallocates.is_empty() || lent.executed().any(|lent| lent.forgets) {
            self.statements.doubt_all();
        }
        if self.server.schemas.is_some() {
            self.server.doubt_schemas(text);
        }
        let undo = Undo::Queried { unnamed: self.drop_unnamed(), deallocates };
        let undo = Some(Box::new(undo));
        let effects = self.effects_with(lent, text);
        let mut restores = None;
        if let Some(effects) = effects {
            if let Some(feature) = self.touch(&effects, splice) {
                return self.refuse_query(feature, undo, splice);
            }
            restores = self.restores(&effects, text);
        }
        self.lend(lent, splice);
        let answer = if restores.is_some() { Answer::Continued } else { Answer::Forward };
        self.server.owed.push(Request::Query, answer, undo, self.now);
        match lent.executed().next() {
            Some(only) if lent.named.shape == Shape::Alone => self.watch_query(only.text()),
            Some(_) | None => self.watch_query(text),
        }
        match restores {
            Some(sql) => drop(self.continue_with(&sql, frame, splice)),
            None => splice.insert().extend_from_slice(frame),
        }
        self.take_back(lent, splice);
        Fate::Drop
    }

    /// What the text does, and what it executes.
    fn effects_with(&self, lent: &Lent, text: &[u8]) -> Option<Box<Effects>> {
        let mut effects = Effects::read(text);
        if self.registry.hidden.any() && lent.named.shape != Shape::Alone {
            effects = self.with_hidden(effects, text);
        }
        for statement in lent.executed() {
            if let Some(its) = &statement.effects {
                effects.get_or_insert_default().merge(its);
            }
            effects = self.with_hidden(effects, statement.text());
        }
        effects
    }

    /// Each in a batch of its own: should Postgres refuse one, it still reads the others. What may have the name there is
    /// nothing that the client knows of (a function's `PREPARE`, for another client), and must not be taken for it.
    fn lend(&mut self, lent: &Lent, splice: &mut Splice<'_>) {
        let within = self.server.owed.status() == TransactionStatus::InTransaction;
        if within {
            self.query_of_ours(BEFORE, splice);
        }
        for (name, first, statement) in &lent.statements {
            self.close_of_ours(name.as_bytes(), splice);
            let body = if *first == Use::Executed { &*statement.body } else { EMPTY };
            frontend::write_parse(splice.insert(), name.as_bytes(), body);
            self.owe(Request::Parse, Answer::Swallow, Undo::Lent(name.clone()));
            self.note_lead(name.as_bytes());
            self.sync_of_ours(splice);
        }
        if within {
            self.query_of_ours(BEHIND, splice);
        }
    }

    fn take_back(&mut self, lent: &Lent, splice: &mut Splice<'_>) {
        for (name, ..) in &lent.statements {
            self.close_of_ours(name.as_bytes(), splice);
        }
        self.sync_of_ours(splice);
    }

    fn close_of_ours(&mut self, name: &[u8], splice: &mut Splice<'_>) {
        frontend::write_close_statement(splice.insert(), name);
        self.server.owed.push(Request::Close, Answer::Swallow, None, self.now);
    }

    fn sync_of_ours(&mut self, splice: &mut Splice<'_>) {
        frontend::write_empty(splice.insert(), client_tag::SYNC);
        self.server.owed.push(Request::Sync, Answer::Swallow, None, self.now);
    }

    fn query_of_ours(&mut self, sql: &str, splice: &mut Splice<'_>) {
        frontend::write_query(splice.insert(), sql);
        self.owe(Request::Query, Answer::Swallow, Undo::Optional);
    }

    /// A statement is bound that names others; gives what becomes of its Bind if that is not what it asks for.
    #[cold]
    pub(super) fn note_named(
        &mut self,
        portal: &[u8],
        named: &Named,
        splice: &mut Splice<'_>,
    ) -> Option<Fate> {
        let mut ours = named.mentions.iter().filter(|mention| {
            self.is_of_protocol(&mention.name)
                || self.is_of_others(mention)
                || mention.name.is_empty()
        });
        let mention = ours.next()?;
        let name = mention.name.as_bytes();
        if self.is_uncertain(name) {
            return Some(Fate::Uncertain);
        }
        if self.server.owed.status() == TransactionStatus::Failed {
            return None;
        }
        let simple = portal == UNNAMED_PORTAL && !is_shared(&mention.name) && !name.is_empty();
        if mention.first == Use::Deallocated && simple {
            self.statements.drops = Some(name.into());
            return None;
        }
        frontend::write_execute(splice.insert(), NO_SUCH_PORTAL);
        self.server.owed.push(Request::Execute, Answer::Tangled, None, self.now);
        Some(Fate::Drop)
    }

    /// What deallocates a statement of the protocol is executed: servers know it under a shared name, so one is made for it.
    #[cold]
    pub(super) fn execute_drop(&mut self, frame: &[u8], splice: &mut Splice<'_>) -> Fate {
        let name = self.statements.drops.take().unwrap_or_default();
        let Some(statement) = self.statements.get(&name).map(Arc::clone) else {
            return self.plain(Request::Execute);
        };
        self.statements.doubt_all();
        self.close_of_ours(&name, splice);
        frontend::write_parse(splice.insert(), &name, EMPTY);
        self.server.owed.push(Request::Parse, Answer::Swallow, None, self.now);
        splice.insert().extend_from_slice(frame);
        let taken_back = name.clone();
        self.statements.note_change(&name, self.server.owed.segment());
        self.owe(
            Request::Execute,
            Answer::Forward,
            Undo::Deallocated { name, statement, unnamed: None },
        );
        self.watch_execute(&frame[HEADER_LENGTH..]);
        self.close_of_ours(&taken_back, splice);
        Fate::Drop
    }

    /// A simple Query names what only others know: Postgres says that there is no such statement.
    #[cold]
    pub(super) fn refuse_missing(&mut self, splice: &mut Splice<'_>) -> Fate {
        let undo = Undo::of_query(self.drop_unnamed());
        let nobodys = SharedName::new(u64::MAX);
        let name = String::from_utf8_lossy(nobodys.as_bytes());
        frontend::write_query(splice.insert(), &format!("DEALLOCATE {name}"));
        self.server.owed.push(Request::Query, Answer::Forward, undo, self.now);
        Fate::Drop
    }

    /// A simple Query cannot be done.
    #[cold]
    pub(super) fn refuse_tangled(&mut self, splice: &mut Splice<'_>) -> Fate {
        let undo = Undo::of_query(self.drop_unnamed());
        frontend::write_query(splice.insert(), REFUSED);
        self.server.owed.push(Request::Query, Answer::Tangled, undo, self.now);
        Fate::Drop
    }
}

impl Lent {
    /// What is executed of it.
    fn executed(&self) -> impl Iterator<Item = &Arc<Statement>> {
        self.statements.iter().filter(|(_, first, _)| *first == Use::Executed).map(|(.., s)| s)
    }
}

impl Replies<'_> {
    /// Is an error about what was to be lent?
    #[inline]
    pub(super) fn is_of_loan(&self) -> bool {
        matches!(self.server.owed.front_undo(), Some(Undo::Lent(_)))
    }

    /// The client hears of it in place of there being no such statement, if it comes to that.
    #[cold]
    pub(super) fn keep(&mut self, body: &[u8], cause: Cause) -> Verdict {
        let lead = self.server.owed.front_lead();
        let name = match self.server.owed.front_undo() {
            Some(Undo::Lent(name)) => name.clone(),
            Some(_) | None => Box::default(),
        };
        // What is discarded up to the Sync of ours is nothing but this.
        let _ = self.server.owed.received_error(cause, |_, _| {});
        let body = if lead == 0 { None } else { moved(body, lead) }.unwrap_or_else(|| body.into());
        // One that is too long to be there in full would end nowhere.
        if body.ends_with(b"\0\0") {
            let not_lent = NotLent { name, body: body.into_boxed_slice() };
            self.statements.not_lent.get_or_insert(Box::new(not_lent));
        }
        Verdict::Swallow
    }

    /// What the client hears in place of this error.
    #[inline]
    pub(super) fn kept_for(&mut self, body: &[u8]) -> Option<Box<[u8]>> {
        let not_lent = self.statements.not_lent.as_ref()?;
        let fields = ErrorFields::parse(body);
        let missing = fields.sqlstate() == Some(SqlState::INVALID_SQL_STATEMENT_NAME);
        if !missing || self.is_of_loan() || !quotes(fields.message, not_lent.name.as_bytes()) {
            return None;
        }
        self.statements.not_lent.take().map(|not_lent| not_lent.body)
    }
}

/// Does a message, which may be translated, have this name in quotes?
fn quotes(message: &[u8], name: &[u8]) -> bool {
    let mark =
        |at: Option<&u8>| at.is_some_and(|b| !b.is_ascii_alphanumeric() && !b" _".contains(b));
    memmem::find_iter(message, name).any(|at| {
        let before = at.checked_sub(1).and_then(|before| message.get(before));
        mark(before) && mark(message.get(at + name.len()))
    })
}

/// Does it begin as those names do by which servers know what clients share?
fn is_shared(name: &str) -> bool {
    name.as_bytes().starts_with(SHARED_PREFIX)
}

/// Passes on what was kept.
#[cold]
pub(super) fn write_kept(body: &[u8], splice: &mut Splice<'_>) -> Verdict {
    frame::write_frame(splice.insert(), server_tag::ERROR, |out| out.extend_from_slice(body));
    Verdict::Swallow
}

/// Says what cannot be done.
#[cold]
pub(super) fn write_tangled(out: &mut Vec<u8>) {
    let text = "the pooler cannot run this: it names in SQL what was prepared by the protocol";
    let hint = "Send EXECUTE, PREPARE and DEALLOCATE of such statements as simple queries, each in a message of its own, \
                or prepare them with PREPARE.";
    write_error(out, Severity::Error, SqlState::FEATURE_NOT_SUPPORTED, text, hint);
}

#[cfg(test)]
#[path = "lending_tests.rs"]
mod tests;
