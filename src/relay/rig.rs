//! A client, a server and the relay between them, without a network: what the relay's tests and the fuzzers drive.
//! The server's socket is one end of a pair that nobody reads.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use super::buffers::Splice;
use super::prepared::ClientStatements;
use super::replies::{Passed, Replies, ServerFault};
use super::requests::{Pinning, Requests, Taken, Violation, Wish};
use super::retrying::Failed;
use crate::config::Unreadable;
use crate::net::address::ServerAddress;
use crate::protocol::frame::write_frame;
use crate::protocol::sqlstate::SqlState;
use crate::server::connection::{Body, CancelKey, Dirt, Routines, ServerConnection};
use crate::server::kept::Kept;
use crate::server::owed::Owed;
use crate::server::parameters::{Applied, Settings};
use crate::server::sequences::Sequences;
use crate::server::sql_prepared::SqlStatements;
use crate::server::statement::{ServerStatements, StatementRegistry};
use crate::sql::feature::Features;
use crate::stats::meter::Meter;

/// A client's side of the relay.
#[derive(Default)]
pub(crate) struct Client {
    pub(crate) statements: ClientStatements,
    pub(crate) body: Body,
    pub(crate) carry: Vec<u8>,
    pub(crate) wish: Option<Wish>,
}

/// A server and what belongs to its pool.
pub(crate) struct Rig {
    pub(crate) server: ServerConnection,
    pub(crate) registry: Arc<StatementRegistry>,
    pub(crate) meter: Meter,
    pub(crate) pinning: Pinning,
    /// Settings that the server refused.
    pub(crate) refused: Option<(SqlState, String)>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) initial: Settings,
    _peer: UnixStream,
    // Last, so that the sockets go before the runtime they are registered with.
    _runtime: Runtime,
}

impl Rig {
    /// A server that may know this many statements.
    pub(crate) fn new(max_statements: u32) -> Self {
        Self::beside(Arc::new(StatementRegistry::new(1)), max_statements)
    }

    /// Another server of the same database.
    pub(crate) fn another(&self) -> Self {
        Self::beside(Arc::clone(&self.registry), 200)
    }

    fn beside(registry: Arc<StatementRegistry>, max_statements: u32) -> Self {
        let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
        let guard = runtime.enter();
        let (socket, peer) = UnixStream::pair().expect("a pair of sockets");
        drop(guard);
        let address = ServerAddress::Unix(PathBuf::from("/nowhere"));
        let server = ServerConnection {
            id: 1,
            stream: socket.into(),
            worker: 0,
            owed: Owed::default(),
            carry: Vec::new(),
            body: Body::Boundary,
            bound_forgets: false,
            half_sent: 0,
            unsent: Vec::new(),
            statements: ServerStatements::new(max_statements),
            applied: Applied::Unknown,
            prepared: SqlStatements::default(),
            sequences: Sequences::default(),
            reported: Vec::new(),
            routines: Routines::Same,
            dirt: Dirt::Known,
            touched: None,
            asked: None,
            kept: Kept::default(),
            schemas: None,
            path: None,
            pins: Features::NONE,
            key: CancelKey { address, tls: None, pid: 1, secret: Box::default() },
            cancels: Arc::default(),
            opened_at: Instant::now(),
            taken_at: 0,
        };
        Self {
            server,
            registry,
            meter: Meter::default(),
            pinning: Pinning::Allowed,
            refused: None,
            settings: Arc::default(),
            initial: Settings::default(),
            _peer: peer,
            _runtime: runtime,
        }
    }

    /// What goes to the server of a client's bytes, and where it lies.
    pub(crate) fn take<'a>(
        &mut self,
        client: &mut Client,
        input: &'a [u8],
        out: &'a mut Vec<u8>,
    ) -> (Result<Taken, Violation>, &'a [u8]) {
        let mut splice = Splice::new(input, out);
        let mut requests = Requests {
            pinning: self.pinning,
            unreadable: Unreadable::Allow,
            refused: Features::NONE,
            statements: &mut client.statements,
            body: &mut client.body,
            registry: &self.registry,
            server: &mut self.server,
            settings: &self.settings,
            initial: &self.initial,
            now: 0,
        };
        let taken = requests.take(input, &mut splice);
        (taken, splice.finish())
    }

    /// As `take`, behind what was incomplete before; a copy.
    pub(crate) fn ask(&mut self, client: &mut Client, bytes: &[u8]) -> Vec<u8> {
        let mut input = std::mem::take(&mut client.carry);
        input.extend_from_slice(bytes);
        let mut out = Vec::new();
        let (taken, sent) = self.take(client, &input, &mut out);
        let (taken, sent) = (taken.expect("no violation"), sent.to_vec());
        client.carry = input[taken.consumed..].to_vec();
        client.wish = Some(taken.wish);
        sent
    }

    /// What goes to the client of the server's bytes, and where it lies.
    pub(crate) fn pass<'a>(
        &mut self,
        client: &mut Client,
        input: &'a [u8],
        out: &'a mut Vec<u8>,
    ) -> (Result<Passed, ServerFault>, &'a [u8]) {
        let mut splice = Splice::new(input, out);
        let mut replies = Replies {
            statements: &mut client.statements,
            registry: &self.registry,
            server: &mut self.server,
            meter: &mut self.meter,
            now: 0,
            timed_out: false,
            failed: Failed::default(),
            refused: None,
        };
        let passed = replies.pass(input, &mut splice);
        self.refused = replies.refused;
        (passed, splice.finish())
    }

    /// As `pass`, behind what was incomplete before; a copy.
    pub(crate) fn reply(&mut self, client: &mut Client, bytes: &[u8]) -> Vec<u8> {
        let mut input = std::mem::take(&mut self.server.carry);
        input.extend_from_slice(bytes);
        let mut out = Vec::new();
        let (passed, told) = self.pass(client, &input, &mut out);
        let (passed, told) = (passed.expect("no fault"), told.to_vec());
        self.server.carry = input[passed.consumed..].to_vec();
        told
    }
}

/// Messages one after the other.
pub(crate) fn all(messages: &[&[u8]]) -> Vec<u8> {
    messages.concat()
}

pub(crate) fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&mut out, tag, |out| out.extend_from_slice(body));
    out
}

/// A Parse without parameter types.
pub(crate) fn parse(name: &str, sql: &str) -> Vec<u8> {
    frame(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

/// A Bind to the unnamed portal with one parameter, as text.
pub(crate) fn bind(statement: &str, parameter: &[u8]) -> Vec<u8> {
    let mut body = format!("\0{statement}\0\0\0\0\x01").into_bytes();
    body.extend_from_slice(&u32::try_from(parameter.len()).expect("a short one").to_be_bytes());
    body.extend_from_slice(parameter);
    body.extend_from_slice(&[0, 0]);
    frame(b'B', &body)
}

pub(crate) fn describe(statement: &str) -> Vec<u8> {
    frame(b'D', format!("S{statement}\0").as_bytes())
}

pub(crate) fn close(statement: &str) -> Vec<u8> {
    frame(b'C', format!("S{statement}\0").as_bytes())
}

pub(crate) fn execute() -> Vec<u8> {
    frame(b'E', &[0; 5])
}

pub(crate) fn sync() -> Vec<u8> {
    frame(b'S', b"")
}

pub(crate) fn flush() -> Vec<u8> {
    frame(b'H', b"")
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    frame(b'Q', format!("{sql}\0").as_bytes())
}

pub(crate) fn ready(status: u8) -> Vec<u8> {
    frame(b'Z', &[status])
}

pub(crate) fn complete(command: &str) -> Vec<u8> {
    frame(b'C', format!("{command}\0").as_bytes())
}

pub(crate) fn error(code: &str, message: &str) -> Vec<u8> {
    frame(b'E', format!("SERROR\0VERROR\0C{code}\0M{message}\0\0").as_bytes())
}

/// A reply without a body: `1`, `2`, `3`, `n`.
pub(crate) fn empty(tag: u8) -> Vec<u8> {
    frame(tag, b"")
}
