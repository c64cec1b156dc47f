//! Requests of a client that holds no server: those that need none are answered here.

use super::prepared::ClientStatements;
use super::requests::{Violation, check, continue_body};
use crate::protocol::backend::{self, TransactionStatus};
use crate::protocol::frame::{self, HEADER_LENGTH, client_tag, server_tag};
use crate::protocol::frontend::{self, Parse, Target};
use crate::server::connection::Body;
use crate::server::parameters::Settings;
use crate::server::statement::StatementRegistry;

/// What comes after the requests that need no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More bytes.
    Read,
    /// A request that needs a server, at the end of what was consumed.
    Server,
    /// The client said goodbye.
    Terminate,
}

/// A client outside of any transaction.
#[derive(Debug)]
pub struct Local<'a> {
    /// The client's statements.
    pub statements: &'a mut ClientStatements,
    /// The statements all clients of the database share.
    pub registry: &'a StatementRegistry,
    /// The client's settings.
    pub settings: &'a Settings,
    /// The message that is being dropped in parts.
    pub body: &'a mut Body,
    /// Is the rest of a batch dropped, because the pooler answered its beginning with an error?
    pub skipping: &'a mut bool,
}

impl Local<'_> {
    /// Takes the requests at the start of `input` that need no server; replies are appended to
    /// `reply`. Gives how many bytes are dealt with.
    ///
    /// # Errors
    /// At a message no client may send.
    pub fn take(&mut self, input: &[u8], reply: &mut Vec<u8>) -> Result<(usize, Next), Violation> {
        let (mut at, _) = continue_body(self.body, input.len());
        while at < input.len() {
            let Some(head) = frame::header(&input[at..])? else { break };
            check(head)?;
            let length = head.frame_length();
            let there = length.min(input.len() - at);
            match head.tag {
                client_tag::TERMINATE => return Ok((at, Next::Terminate)),
                client_tag::SYNC => {
                    *self.skipping = false;
                    backend::write_ready(reply, TransactionStatus::Idle);
                }
                _ if *self.skipping => {}
                client_tag::FLUSH => {}
                // The end of a COPY that failed: Postgres ignores it, outside of COPY.
                client_tag::COPY_DATA | client_tag::COPY_DONE | client_tag::COPY_FAIL => {}
                client_tag::CLOSE | client_tag::PARSE if there < length => break,
                client_tag::PARSE => {
                    if !self.parse(&input[at + HEADER_LENGTH..at + length]) {
                        return Ok((at, Next::Server));
                    }
                    backend::write_empty_reply(reply, server_tag::PARSE_COMPLETE);
                }
                client_tag::CLOSE => {
                    let Ok((target, name)) =
                        frontend::target(&input[at + HEADER_LENGTH..at + length])
                    else {
                        return Ok((at, Next::Server));
                    };
                    self.close(target, name);
                    backend::write_empty_reply(reply, server_tag::CLOSE_COMPLETE);
                }
                _ => return Ok((at, Next::Server)),
            }
            at += there;
            if there < length {
                *self.body = Body::Drop(length - there);
            }
        }
        Ok((at, Next::Read))
    }

    /// The request at the start of `input` cannot be served: it is dropped, and so is the rest of
    /// its batch. Gives how many bytes are dropped at once. A simple query or function call is a
    /// batch of its own, and the error must be followed by `ReadyForQuery`: the second value.
    pub fn refuse(&mut self, input: &[u8]) -> (usize, bool) {
        let Ok(Some(head)) = frame::header(input) else { return (0, false) };
        let length = head.frame_length();
        let there = length.min(input.len());
        if there < length {
            *self.body = Body::Drop(length - there);
        }
        let alone = matches!(head.tag, client_tag::QUERY | client_tag::FUNCTION_CALL);
        *self.skipping = !alone;
        (there, alone)
    }

    /// Can a Parse be answered without a server?
    fn parse(&mut self, body: &[u8]) -> bool {
        Parse::read(body).is_ok_and(|parse| {
            let named = (parse.name, parse.statement);
            let taken = |name| self.settings.prepared().contains(name);
            !std::str::from_utf8(parse.name).is_ok_and(taken)
                && self.statements.define_proven(self.registry, self.settings.schemas(), named)
        })
    }

    /// Outside of a transaction there are no portals.
    fn close(&mut self, target: Target, name: &[u8]) {
        match target {
            Target::Statement => {
                let tagged = self.statements.untag(name);
                if let Some(statement) = self.statements.remove(name) {
                    self.statements.remember_closed(statement.id, tagged.as_ref());
                }
            }
            Target::Portal => {}
        }
    }
}
