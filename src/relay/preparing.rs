//! Prepared statements on their way to a server: what a Parse becomes, and what the server must be told before
//! a request names a statement that it lacks.

use std::borrow::Cow;
use std::sync::Arc;

use super::abroad::BACK;
use super::buffers::Splice;
use super::requests::{Fate, NO_SUCH_PORTAL, Requests, Violation};
use crate::protocol::backend::TransactionStatus;
use crate::protocol::frame::{HEADER_LENGTH, server_tag};
use crate::protocol::frontend::{self, Parse, Target};
use crate::server::connection::Undo;
use crate::server::owed::{Answer, Request};
use crate::server::statement::{SHARED_PREFIX, SharedName, Statement, Unnamed};

/// A statement that is made to be deallocated.
const DEALLOCATED: &[u8] = b"pooler_deallocated";

impl Requests<'_> {
    pub(super) fn parse(&mut self, frame: &[u8], splice: &mut Splice<'_>) -> Fate {
        let Ok(parse) = Parse::read(&frame[HEADER_LENGTH..]) else {
            // Postgres says what is wrong with it.
            return self.plain(Request::Parse);
        };
        if parse.name.is_empty() {
            return self.parse_unnamed(parse.statement, splice);
        }
        if self.is_uncertain(parse.name) {
            return Fate::Uncertain;
        }
        if self.statements.get(parse.name).is_some() || self.is_of_sql(parse.name) {
            if self.may_hold() {
                // What runs may be DEALLOCATE ALL.
                return Fate::Uncertain;
            }
            self.parse_taken(parse, splice);
            return Fate::Drop;
        }
        if self.statements.is_full(parse.name, parse.statement) {
            return Fate::Violation(Violation::TooMuchPrepared);
        }
        let (body, tagged) = self.statements.without_tags(parse.statement);
        let statement =
            self.statements.intern(self.registry, (&body, tagged.as_ref()), self.schemas());
        if self.is_statement_uncertain(&statement) {
            return Fate::Uncertain;
        }
        self.statements.tag(parse.name, statement.id, tagged);
        self.probe_name(parse.name, splice);
        self.parse_named(parse.name, statement, splice);
        Fate::Drop
    }

    /// Always passed on: a statement that was planned for one value must not serve another.
    fn parse_unnamed(&mut self, body: &[u8], splice: &mut Splice<'_>) -> Fate {
        let (body, tagged) = self.statements.without_tags(body);
        let segment = self.server.owed.segment();
        let statement =
            self.statements.intern(self.registry, (&body, tagged.as_ref()), self.schemas());
        self.server.statements.set_unnamed(Unnamed::Known(statement.id), segment);
        let before = self.statements.remove(b"");
        self.statements.tag(b"", statement.id, tagged);
        self.statements.define(b"", Arc::clone(&statement));
        self.statements.note_change(b"", segment);
        self.owe(Request::Parse, Answer::Forward, Undo::ParsedUnnamed { statement, before });
        self.note_lead(b"");
        match body {
            Cow::Borrowed(_) => Fate::Forward,
            Cow::Owned(body) => {
                frontend::write_parse(splice.insert(), b"", &body);
                Fate::Drop
            }
        }
    }

    /// A name that is taken: what is wrong with the text is said first, as Postgres does.
    fn parse_taken(&mut self, parse: Parse<'_>, splice: &mut Splice<'_>) {
        self.server.statements.set_unnamed(Unnamed::Unknown, self.server.owed.segment());
        frontend::write_parse(splice.insert(), b"", parse.statement);
        self.owe(Request::Parse, Answer::Swallow, Undo::InjectedUnnamed);
        frontend::write_execute(splice.insert(), NO_SUCH_PORTAL);
        let undo = Undo::Duplicate(parse.name.into());
        self.owe(Request::Execute, Answer::DuplicateStatement, undo);
    }

    fn parse_named(&mut self, name: &[u8], statement: Arc<Statement>, splice: &mut Splice<'_>) {
        let segment = self.server.owed.segment();
        self.statements.define(name, Arc::clone(&statement));
        self.statements.note_change(name, segment);
        let body = &*statement.body;
        let owed = &self.server.owed;
        let (failed, status_due) =
            (owed.status() == TransactionStatus::Failed, owed.is_status_due());
        let knows = self.server.statements.knows(statement.id);
        let (answer, sent) = if failed || knows && status_due {
            // Postgres refuses all but the end of a failed transaction; only it can tell which
            // this is.
            self.server.statements.forget_unnamed();
            frontend::write_parse(splice.insert(), b"", body);
            (Answer::Forward, false)
        } else if knows {
            (Answer::Fake(server_tag::PARSE_COMPLETE), false)
        } else {
            self.make_room(statement.id, splice);
            frontend::write_parse(splice.insert(), statement.shared_name().as_bytes(), body);
            (Answer::Forward, true)
        };
        self.owe(Request::Parse, answer, Undo::Parsed { name: name.into(), statement, sent });
        self.note_lead(name);
    }

    /// The name the server is to be told in place of the client's; `None`: the client's own will
    /// do. Sees to it that the server knows the statement.
    pub(super) fn server_name(
        &mut self,
        name: &[u8],
        splice: &mut Splice<'_>,
    ) -> Option<SharedName> {
        match self.statements.get(name) {
            Some(statement) if name.is_empty() => {
                let known = Unnamed::Known(statement.id);
                if self.server.statements.unnamed() != known {
                    self.server.statements.set_unnamed(known, self.server.owed.segment());
                    frontend::write_parse(splice.insert(), b"", &statement.body);
                    self.owe(Request::Parse, Answer::Swallow, Undo::InjectedUnnamed);
                    self.note_lead(name);
                }
                None
            }
            Some(statement) => {
                let shared = statement.shared_name();
                if !self.server.statements.knows(statement.id) {
                    let statement = Arc::clone(statement);
                    self.inject(&statement, splice);
                    self.note_lead(name);
                }
                Some(shared)
            }
            None if name.is_empty() => {
                // The client has none, but another one's may stand there.
                if self.server.statements.unnamed() != Unnamed::Absent {
                    let segment = self.server.owed.segment();
                    self.server.statements.set_unnamed(Unnamed::Absent, segment);
                    frontend::write_close_statement(splice.insert(), b"");
                    self.owe(Request::Close, Answer::Swallow, Undo::InjectedUnnamed);
                }
                None
            }
            // Postgres says that there is no such statement: make sure that it is so.
            None if name.starts_with(SHARED_PREFIX) => Some(SharedName::new(u64::MAX)),
            None => None,
        }
    }

    fn inject(&mut self, statement: &Statement, splice: &mut Splice<'_>) {
        let home = self.way_home(statement);
        if let Some(sql) = &home {
            self.run_ours(sql, splice.insert());
        }
        self.make_room(statement.id, splice);
        let name = statement.shared_name();
        frontend::write_parse(splice.insert(), name.as_bytes(), &statement.body);
        let undo = match home {
            Some(_) => Undo::Homed(statement.id),
            None => Undo::Injected(statement.id),
        };
        self.owe(Request::Parse, Answer::Swallow, undo);
        if home.is_some() {
            self.run_ours(BACK, splice.insert());
        }
    }

    /// The server is about to learn a statement: the one that has to go for it is closed.
    fn make_room(&mut self, id: u64, splice: &mut Splice<'_>) {
        let segment = self.server.owed.segment();
        self.server.statements.note_change(id, segment);
        self.server.statements.learn(id);
        while let Some(gone) = self.server.statements.surplus() {
            self.server.statements.note_change(gone, segment);
            frontend::write_close_statement(splice.insert(), SharedName::new(gone).as_bytes());
            self.owe(Request::Close, Answer::Swallow, Undo::Evicted(gone));
        }
    }

    /// A simple Query is about to be sent: the unnamed statement goes with it.
    pub(super) fn drop_unnamed(&mut self) -> Option<Arc<Statement>> {
        self.server.statements.doubt_unnamed();
        let unnamed = self.statements.remove(b"")?;
        self.statements.note_change(b"", self.server.owed.segment());
        Some(unnamed)
    }

    /// A simple `DEALLOCATE` of a statement that was prepared by protocol. Other clients may share it,
    /// so the server forgets a statement that was made for it; from Postgres comes the answer, which
    /// depends on the transaction.
    pub(super) fn deallocate(&mut self, name: &[u8], splice: &mut Splice<'_>) -> Fate {
        let due = self.may_hold() && self.server.owed.is_status_due();
        if due || self.is_uncertain(name) {
            return Fate::Uncertain;
        }
        let Some(statement) = self.statements.get(name).map(Arc::clone) else {
            return Fate::Forward;
        };
        let unnamed = self.drop_unnamed();
        let segment = self.server.owed.segment();
        if self.server.owed.status() == TransactionStatus::Failed {
            let undo = Undo::of_query(unnamed);
            self.server.owed.push(Request::Query, Answer::Forward, undo, self.now);
            return Fate::Forward;
        }
        frontend::write_close_statement(splice.insert(), DEALLOCATED);
        self.server.owed.push(Request::Close, Answer::Swallow, None, self.now);
        // A text without a statement is accepted in any state.
        frontend::write_parse(splice.insert(), DEALLOCATED, b"\0\0\0");
        self.server.owed.push(Request::Parse, Answer::Swallow, None, self.now);
        let shared = String::from_utf8_lossy(DEALLOCATED);
        frontend::write_query(splice.insert(), &format!("DEALLOCATE {shared}"));
        self.statements.note_change(name, segment);
        let undo = Undo::Deallocated { name: name.into(), statement, unnamed };
        self.owe(Request::Query, Answer::Forward, undo);
        Fate::Drop
    }

    pub(super) fn close(&mut self, frame: &[u8]) -> Fate {
        let Ok((Target::Statement, name)) = frontend::target(&frame[HEADER_LENGTH..]) else {
            return self.plain(Request::Close);
        };
        if self.is_uncertain(name) {
            return Fate::Uncertain;
        }
        let answer = Answer::Fake(server_tag::CLOSE_COMPLETE);
        let tagged = self.statements.untag(name);
        match self.statements.remove(name) {
            Some(statement) => {
                self.statements.remember_closed(statement.id, tagged.as_ref());
                self.statements.note_change(name, self.server.owed.segment());
                let undo = Undo::Closed { name: name.into(), statement, tagged };
                self.owe(Request::Close, answer, undo);
            }
            // Not an error: Postgres says CloseComplete too.
            None => self.server.owed.push(Request::Close, answer, None, self.now),
        }
        Fate::Drop
    }
}
