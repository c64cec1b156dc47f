//! The client's requests on their way to the server it holds: what is passed on as it is, what is
//! rewritten, what is answered here, and what each of them makes Postgres owe us.

use std::sync::Arc;

use super::buffers::Splice;
use super::lending::Loan;
pub use super::permission::Pinning;
use super::prepared::ClientStatements;
use crate::config::Unreadable;
use crate::protocol::frame::{
    self, HEADER_LENGTH, Header, InvalidLength, LARGE_MESSAGE_LIMIT, SMALL_MESSAGE_LIMIT,
    client_tag,
};
use crate::protocol::frontend::{self, Bind, Target};
use crate::server::connection::{Body, ServerConnection, Undo};
use crate::server::effects::forgets;
use crate::server::owed::{Answer, Request};
use crate::server::parameters::Settings;
use crate::server::statement::{SHARED_PREFIX, Statement, StatementRegistry, Unnamed};
use crate::sql::effects::{Effects, MOST_READ};
use crate::sql::feature::Features;
use crate::sql::named::{may_begin, may_name};

/// The longest Parse: its text is kept for the other servers that will need it.
pub const PARSE_LIMIT: u32 = 64 * 1024 * 1024;

/// The names at the start of a Bind must fit this; Postgres itself cuts names at 63 bytes.
const NAMES_LIMIT: usize = 16 * 1024;

/// Once so much was put together for one read of a client's bytes, statements that its server lacks are told to it only
/// after all that was sent is answered: a few bytes can name a statement of [`PARSE_LIMIT`], and many of them can.
pub(super) const MOST_PUT_TOGETHER: usize = 1024 * 1024;

/// A Query up to this length is passed on only when it is there in full, so that what it does to the
/// session can be read. A longer one may do anything.
const QUERY_READ_WHOLE: usize = MOST_READ;

/// A portal that nobody opens: executing it is sure to fail.
pub(super) const NO_SUCH_PORTAL: &[u8] = b"pooler_no_such_portal";

/// Its name in a message, with its NUL.
pub(super) const UNNAMED_PORTAL: &[u8] = b"\0";

/// What a client must not send. It is told, and disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A length that cannot be, or is over Postgres' limit for the type.
    #[error(transparent)]
    Length(#[from] InvalidLength),
    /// A message type that clients do not send after login.
    #[error("invalid frontend message type {0}")]
    Type(u8),
    /// A Parse over [`PARSE_LIMIT`].
    #[error("statement of {0} bytes is over the pooler's limit of 64 MiB for prepared statements")]
    ParseTooLong(u32),
    /// A Bind whose names do not end: passed on unread it could name another client's statement.
    #[error("names in a Bind message are over the pooler's limit of 16 KiB")]
    NamesTooLong,
    /// The client's prepared statements are over [`super::prepared::MOST_HELD`].
    #[error("prepared statements are over the pooler's limit of 128 MiB for a client")]
    TooMuchPrepared,
    /// Binds within a COPY, which Postgres would refuse, of statements that are long.
    #[error("too many long statements are used within a COPY")]
    TooMuchInCopy,
}

/// How far the requests were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Bytes of the input that are dealt with; the rest is an incomplete message.
    pub consumed: usize,
    /// What the client wants beside that.
    pub wish: Wish,
    /// Session state that was refused.
    pub refused: Features,
}

/// What a client wants beside having its requests passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    None,
    /// What is ready at once (Flush).
    Flush,
    /// To leave (Terminate).
    Leave,
    /// To be asked again once all that was sent is answered: what the next request means depends
    /// on whether an earlier one fails. Postgres has been told to answer (Flush).
    Later,
}

/// What requests are checked against and noted in.
#[derive(Debug)]
pub struct Requests<'a> {
    /// The client's statements.
    pub statements: &'a mut ClientStatements,
    /// The message of the client that is being passed on in parts.
    pub body: &'a mut Body,
    /// The statements all clients of the database share.
    pub registry: &'a StatementRegistry,
    /// The server the client holds.
    pub server: &'a mut ServerConnection,
    /// The client's settings.
    pub settings: &'a Settings,
    /// What it logged in with.
    pub initial: &'a Settings,
    /// May the client bind state to its server?
    pub pinning: Pinning,
    /// May it run what cannot be read?
    pub unreadable: Unreadable,
    /// What it was refused.
    pub refused: Features,
    /// The relay's clock, nanoseconds.
    pub now: u64,
}

/// Checks a client's header against the limits of Postgres' `SocketBackend`.
///
/// # Errors
/// When the type is unknown or the message too long for its type.
#[inline]
pub fn check(head: Header) -> Result<(), Violation> {
    let limit = match head.tag {
        client_tag::QUERY
        | client_tag::COPY_DATA
        | client_tag::BIND
        | client_tag::FUNCTION_CALL => LARGE_MESSAGE_LIMIT,
        client_tag::PARSE if head.body > PARSE_LIMIT => {
            return Err(Violation::ParseTooLong(head.body));
        }
        client_tag::PARSE => PARSE_LIMIT,
        client_tag::CLOSE
        | client_tag::COPY_DONE
        | client_tag::COPY_FAIL
        | client_tag::DESCRIBE
        | client_tag::EXECUTE
        | client_tag::FLUSH
        | client_tag::SYNC
        | client_tag::TERMINATE => SMALL_MESSAGE_LIMIT,
        other => return Err(Violation::Type(other)),
    };
    if head.body > limit {
        return Err(InvalidLength { tag: head.tag, length: head.body + 4 }.into());
    }
    Ok(())
}

/// Goes on with a message that is passed on or dropped in parts; gives the bytes of `input` that
/// belong to it and whether they are to be passed on.
#[inline]
pub fn continue_body(body: &mut Body, input: usize) -> (usize, bool) {
    let (remaining, forward) = match *body {
        Body::Boundary => return (0, false),
        Body::Forward(remaining) => (remaining, true),
        Body::Drop(remaining) => (remaining, false),
    };
    let part = remaining.min(input);
    *body = match (remaining - part, forward) {
        (0, _) => Body::Boundary,
        (rest, true) => Body::Forward(rest),
        (rest, false) => Body::Drop(rest),
    };
    (part, forward)
}

/// What to do with a frame.
pub(super) enum Fate {
    /// Pass it on as it is, in parts if need be.
    Forward,
    /// Nothing of it goes on.
    Drop,
    /// It went on rewritten up to this many bytes of the frame; the rest as it is.
    Rewritten(usize),
    /// More of it must be there first.
    Incomplete,
    /// What it means is open: see [`Wish::Later`].
    Uncertain,
    /// No client may send it.
    Violation(Violation),
}

impl Requests<'_> {
    /// Takes the requests in `input`, a client's bytes; what goes to the server is spliced.
    ///
    /// # Errors
    /// At a message no client may send; those before it were taken.
    pub fn take(&mut self, input: &[u8], splice: &mut Splice<'_>) -> Result<Taken, Violation> {
        let (mut at, forward) = continue_body(self.body, input.len());
        if forward {
            splice.forward(0..at);
        }
        let mut taken = Taken { consumed: at, wish: Wish::None, refused: Features::NONE };
        while at < input.len() {
            let Some(head) = frame::header(&input[at..])? else { break };
            check(head)?;
            if head.tag == client_tag::TERMINATE {
                taken.wish = Wish::Leave;
                break;
            }
            if head.tag == client_tag::FLUSH {
                taken.wish = Wish::Flush;
            }
            let length = head.frame_length();
            let there = length.min(input.len() - at);
            let frame = &input[at..at + there];
            let forwarded_from = match self.one(head, frame, splice) {
                Fate::Incomplete => break,
                Fate::Uncertain => {
                    // Without it Postgres would keep the replies until the Sync behind this.
                    frontend::write_empty(splice.insert(), client_tag::FLUSH);
                    taken.wish = Wish::Later;
                    break;
                }
                Fate::Violation(violation) => return Err(violation),
                Fate::Forward => 0,
                Fate::Rewritten(from) => from,
                Fate::Drop => {
                    *self.body = rest_of(length - there, Body::Drop);
                    at += there;
                    continue;
                }
            };
            splice.forward(at + forwarded_from..at + there);
            self.server.half_sent = head.tag;
            *self.body = rest_of(length - there, Body::Forward);
            at += there;
        }
        taken.consumed = at;
        taken.refused = self.refused;
        Ok(taken)
    }

    /// One request: notes what it makes Postgres owe, and says what becomes of its bytes.
    #[inline]
    fn one(&mut self, head: Header, frame: &[u8], splice: &mut Splice<'_>) -> Fate {
        if self.server.owed.is_skipping() && head.tag != client_tag::SYNC {
            return Fate::Drop;
        }
        let whole = frame.len() == head.frame_length();
        match head.tag {
            client_tag::BIND => self.bind(head, frame, splice),
            client_tag::QUERY if !whole && head.body as usize <= QUERY_READ_WHOLE => {
                Fate::Incomplete
            }
            client_tag::QUERY if self.strips() && head.body as usize <= QUERY_READ_WHOLE => {
                self.query_without_tags(head, frame, splice)
            }
            client_tag::QUERY => self.query(head, frame, splice),
            client_tag::COPY_DATA => {
                self.server.owed.feed();
                Fate::Forward
            }
            client_tag::FUNCTION_CALL => {
                // Known by its number only.
                self.server.touch(&Effects::unreadable());
                self.plain(Request::FunctionCall)
            }
            // Short ones are sent whole or not at all: should the client vanish, the less is half
            // sent the better.
            _ if !whole => Fate::Incomplete,
            client_tag::EXECUTE if self.server.bound_forgets => {
                self.server.bound_forgets = false;
                self.statements.doubt_all();
                self.execute(frame, splice)
            }
            client_tag::EXECUTE => self.execute(frame, splice),
            client_tag::SYNC => {
                self.statements.forget_next();
                self.plain(Request::Sync)
            }
            client_tag::FLUSH => Fate::Forward,
            client_tag::COPY_DONE | client_tag::COPY_FAIL => self.plain(Request::CopyEnd),
            client_tag::PARSE => self.parse(frame, splice),
            client_tag::DESCRIBE => self.describe(frame, splice),
            // `check` has let nothing else through.
            _ => self.close(frame),
        }
    }

    /// A simple Query, or as much of it as is there.
    pub(super) fn query(&mut self, head: Header, frame: &[u8], splice: &mut Splice<'_>) -> Fate {
        let text = &frame[HEADER_LENGTH..];
        if frame.len() == head.frame_length()
            && let Some(name) = Effects::deallocated(text)
            && self.statements.get(name.as_bytes()).is_some()
        {
            return self.deallocate(name.as_bytes(), splice);
        }
        if frame.len() == head.frame_length()
            && may_name(text)
            && (!self.statements.is_empty() || may_begin(text, SHARED_PREFIX))
        {
            match self.loan(text, splice) {
                Loan::Nothing => {}
                Loan::Uncertain => return Fate::Uncertain,
                Loan::Tangled => return self.refuse_tangled(splice),
                Loan::Missing => return self.refuse_missing(splice),
                Loan::These(lent) => return self.query_lent(&lent, frame, splice),
            }
        }
        let undo = Undo::of_query(self.drop_unnamed());
        if forgets(text) {
            self.statements.doubt_all();
        }
        if self.server.schemas.is_some() {
            self.server.doubt_schemas(text);
        }
        let mut effects = if frame.len() == head.frame_length() {
            Effects::read(text)
        } else {
            Some(Effects::unreadable())
        };
        if self.registry.hidden.any() {
            effects = self.with_hidden(effects, text);
        }
        let mut restores = None;
        if let Some(effects) = effects {
            if let Some(feature) = self.touch(&effects, splice) {
                return self.refuse_query(feature, undo, splice);
            }
            restores = self.restores(&effects, text);
        }
        let answer = if restores.is_some() { Answer::Continued } else { Answer::Forward };
        self.server.owed.push(Request::Query, answer, undo, self.now);
        self.watch_query(text);
        match restores {
            Some(sql) => self.continue_with(&sql, frame, splice),
            None => Fate::Forward,
        }
    }

    fn execute(&mut self, frame: &[u8], splice: &mut Splice<'_>) -> Fate {
        if self.statements.drops.is_some() && frame.get(HEADER_LENGTH) == Some(&0) {
            return self.execute_drop(frame, splice);
        }
        self.server.owed.push(Request::Execute, Answer::Forward, None, self.now);
        self.note_executed_lead();
        self.watch_execute(&frame[HEADER_LENGTH..]);
        match self.statements.restores.take() {
            Some(sql) => self.execute_and_restore(&sql, frame, splice),
            None => Fate::Forward,
        }
    }

    pub(super) fn plain(&mut self, request: Request) -> Fate {
        self.server.owed.push(request, Answer::Forward, None, self.now);
        Fate::Forward
    }

    pub(super) fn owe(&mut self, request: Request, answer: Answer, undo: Undo) {
        self.server.owed.push(request, answer, Some(Box::new(undo)), self.now);
    }

    /// May a request wait until all that was sent is answered? Not for a COPY, which waits for the
    /// client.
    #[inline]
    pub(super) fn may_hold(&self) -> bool {
        self.server.owed.is_running() && !self.server.owed.is_copying_in()
    }

    /// Is it open what a name of the client means, or whether the server knows what it means?
    #[inline]
    pub(super) fn is_uncertain(&self, name: &[u8]) -> bool {
        if !self.may_hold() {
            return false;
        }
        let owed = &self.server.owed;
        let open = |segment: Option<u64>| segment.is_some_and(|s| owed.is_undecided(s));
        if self.statements.is_doubted(name) || open(self.statements.changed_in(name)) {
            return true;
        }
        match self.statements.get(name) {
            _ if name.is_empty() => open(self.server.statements.unnamed_changed_in()),
            Some(statement) => self.is_statement_uncertain(statement),
            None => false,
        }
    }

    /// Would telling the server of a statement make too much of what was read? Then it waits.
    #[inline]
    fn too_much(&self, name: &[u8], splice: &Splice<'_>) -> Option<Fate> {
        if splice.put_together() < MOST_PUT_TOGETHER {
            return None;
        }
        let statement = self.statements.get(name)?;
        let known = if name.is_empty() {
            self.server.statements.unnamed() == Unnamed::Known(statement.id)
        } else {
            self.server.statements.has(statement.id)
        };
        if known {
            None
        } else if self.server.owed.is_copying_in() {
            Some(Fate::Violation(Violation::TooMuchInCopy))
        } else {
            self.may_hold().then_some(Fate::Uncertain)
        }
    }

    /// Is it open whether the server knows a statement, or what has to go for it?
    pub(super) fn is_statement_uncertain(&self, statement: &Statement) -> bool {
        let ServerConnection { owed, statements, .. } = &*self.server;
        let changed = statements.changed_in(statement.id);
        let evicts = !statements.has(statement.id) && statements.is_full();
        self.may_hold()
            && (changed.is_some_and(|segment| owed.is_undecided(segment))
                || evicts && statements.is_changing() && owed.is_status_due())
    }

    fn bind(&mut self, head: Header, frame: &[u8], splice: &mut Splice<'_>) -> Fate {
        let body = &frame[HEADER_LENGTH..];
        let Some(bind) = Bind::read(body) else {
            return if frame.len() == head.frame_length() {
                // Postgres says what is wrong with it.
                self.plain(Request::Bind)
            } else if body.len() > NAMES_LIMIT {
                Fate::Violation(Violation::NamesTooLong)
            } else {
                Fate::Incomplete
            };
        };
        let strays = self.renew(bind.statement);
        if self.is_uncertain(bind.statement) || self.is_adrift(strays) {
            return Fate::Uncertain;
        }
        if let Some(fate) = self.too_much(bind.statement, splice) {
            return fate;
        }
        // What was bound before and not executed is not executed any more.
        self.statements.forget_next();
        if bind.portal == UNNAMED_PORTAL {
            self.statements.drops = None;
        }
        if let Some(statement) = self.statements.get(bind.statement) {
            self.server.bound_forgets |= statement.forgets;
            if self.server.schemas.is_some() {
                self.server.doubt_schemas(statement.text());
            }
            if statement.effects.is_some()
                || statement.named.is_some()
                || self.registry.hidden.any()
            {
                let statement = Arc::clone(statement);
                if let Some(fate) = self.note_bound(bind.portal, &statement, splice) {
                    return fate;
                }
            }
        }
        let name = self.server_name(bind.statement, splice);
        let used = self.statements.used(bind.statement, strays);
        self.server.owed.push(Request::Bind, Answer::Forward, used, self.now);
        self.note_bound_lead(bind.statement);
        let values = body.get(bind.names_length..).unwrap_or_default();
        self.watch_bind(bind.portal, bind.statement, values);
        let Some(name) = name else { return Fate::Forward };
        let length = head.body as usize + 4 + name.as_bytes().len() - bind.statement.len();
        let out = splice.insert();
        out.push(client_tag::BIND);
        // At most the large limit and a name.
        out.extend_from_slice(&(length as u32).to_be_bytes());
        out.extend_from_slice(bind.portal);
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        Fate::Rewritten(HEADER_LENGTH + bind.names_length)
    }

    fn describe(&mut self, frame: &[u8], splice: &mut Splice<'_>) -> Fate {
        let Ok((Target::Statement, name)) = frontend::target(&frame[HEADER_LENGTH..]) else {
            return self.plain(Request::Describe);
        };
        let strays = self.renew(name);
        if self.is_uncertain(name) || self.is_adrift(strays) {
            return Fate::Uncertain;
        }
        if let Some(fate) = self.too_much(name, splice) {
            return fate;
        }
        let used = self.statements.used(name, strays);
        let shared = self.server_name(name, splice);
        self.server.owed.push(Request::Describe, Answer::Forward, used, self.now);
        self.note_lead(name);
        let Some(name) = shared else { return Fate::Forward };
        frontend::write_describe_statement(splice.insert(), name.as_bytes());
        Fate::Drop
    }
}

fn rest_of(remaining: usize, body: impl FnOnce(usize) -> Body) -> Body {
    if remaining == 0 { Body::Boundary } else { body(remaining) }
}
