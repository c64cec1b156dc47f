//! A replication client (`pg_basebackup`, `pg_receivewal`, a subscriber, Debezium): it has a server of its own
//! from login to end, and every byte is passed on as it is, COPY in both directions at once included. The
//! protocol is Postgres' "Streaming Replication Protocol".

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::task::spawn_local;
use tracing::info;

use super::context::WorkerContext;
use super::farewell::{report, say_last};
use super::handshake::ClientPlaces;
use super::record::{ClientRecord, Kick, Phase};
use super::session::{End, SessionParts};
use crate::net::stream::Stream;
use crate::pool::dedicated::DedicatedServer;
use crate::pool::handle::PoolHandle;
use crate::protocol::boundary::Boundary;
use crate::protocol::frame::{client_tag, server_tag};
use crate::protocol::startup::{Replication, Startup};
use crate::relay::buffers::Buffers;
use crate::relay::replies::ServerFault;
use crate::relay::requests::Violation;
use crate::server::connection::{poll_flush, send};

/// Chunks passed on before other clients of the worker have their turn.
const TURN: usize = 16;

/// A client with a server of its own.
pub struct ReplicationSession {
    stream: Stream,
    /// Bytes for the client that its socket has not taken yet.
    unsent: Vec<u8>,
    /// Where the client's messages end.
    asked: Boundary,
    /// Where Postgres' messages end.
    told: Boundary,
    /// Why it is to end as soon as Postgres' message under way has passed.
    ending: Option<Kick>,
    server: DedicatedServer,
    record: Rc<ClientRecord>,
    place: usize,
    context: Rc<WorkerContext>,
    handle: Rc<PoolHandle>,
    _places: ClientPlaces,
}

/// The startup parameters of a replication connection: what the client sent, its settings within `options`,
/// where none of them can be taken for a user or database.
#[must_use]
pub fn startup_parameters(kind: Replication, startup: &Startup) -> Vec<(Box<str>, Box<str>)> {
    let mut parameters = vec![("replication".into(), kind.word().into())];
    let settings = startup.parameters.iter();
    let options: Vec<_> = settings.map(|(name, value)| option(name, value)).collect();
    if !options.is_empty() {
        parameters.push(("options".into(), options.join(" ").into()));
    }
    parameters
}

/// A setting as `pg_split_opts` (postinit.c) takes it apart again.
fn option(name: &str, value: &str) -> String {
    let mut option = String::from("-c");
    for character in name.chars().chain(['=']).chain(value.chars()) {
        if character.is_ascii_whitespace() || character == '\x0b' || character == '\\' {
            option.push('\\');
        }
        option.push(character);
    }
    option
}

impl ReplicationSession {
    /// A session that has told its client nothing yet. `server`: the client's own.
    #[must_use]
    pub fn new(parts: SessionParts, mut server: DedicatedServer) -> Self {
        let SessionParts { stream, carry, record, place, context, .. } = parts;
        record.server_pid.set(server.connection.key.pid);
        record.enter(Phase::Replicating, context.nanos(Instant::now()));
        // What came together with the login's last message, from both sides. What cannot be a message is
        // found at the next one.
        let (mut asked, mut told) = (Boundary::default(), Boundary::default());
        let mut unsent = parts.first;
        unsent.append(&mut server.connection.carry);
        let _ = (asked.pass(&carry), told.pass(&unsent));
        server.connection.unsent = carry;
        let (handle, places) = (parts.handle, parts.places);
        Self {
            stream,
            unsent,
            asked,
            told,
            ending: None,
            server,
            record,
            place,
            context,
            handle,
            _places: places,
        }
    }

    /// Runs to the end.
    pub async fn run(mut self) {
        let end = poll_fn(|cx| self.poll(cx)).await;
        self.context.clients.borrow_mut().try_remove(self.place);
        if self.context.shared.pools.config().log.log_disconnections {
            let _span = self.record.span().entered();
            info!(reason = %end, "disconnected");
        }
        if !self.told.is_here() {
            // What is said now would be taken for the rest of a message.
            self.unsent.clear();
        } else if let Some(report) = report(&end) {
            let code = report.write(&mut self.unsent);
            self.handle.meter.borrow_mut().count_error(Some(code));
        }
        self.server.connection.say_goodbye();
        drop(self.server);
        say_last(&mut self.stream, &mut self.unsent).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.record.keep_waker(cx.waker());
        if let Some(kick) = self.record.take_kick() {
            self.kicked(kick);
        }
        let context = Rc::clone(&self.context);
        let mut buffers = context.buffers.borrow_mut();
        for _ in 0..TURN {
            match self.ending {
                Some(kick @ (Kick::ShutdownNow | Kick::Ended)) => return over(End::Kicked(kick)),
                Some(kick) if self.told.is_here() => return over(End::Kicked(kick)),
                Some(_) | None => {}
            }
            match (self.pass_requests(cx, &mut buffers), self.pass_replies(cx, &mut buffers)) {
                // Postgres' last words are heard before the client's end is noticed.
                (_, Err(end)) | (Err(end), Ok(_)) => return over(end),
                (Ok(Poll::Pending), Ok(Poll::Pending)) => return Poll::Pending,
                (Ok(_), Ok(_)) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn kicked(&mut self, kick: Kick) {
        match kick {
            Kick::Cancel => {
                let server = &self.server.connection;
                let (key, in_flight) = (server.key.clone(), server.cancels.enter());
                let cancels = Arc::clone(&self.handle.cancels);
                self.server.pool().wear.count_cancel();
                spawn_local(async move { cancels.send(key, in_flight).await });
            }
            Kick::Shutdown | Kick::DatabaseGone | Kick::Ended | Kick::ShutdownNow => {
                self.ending = self.ending.max(Some(kick));
            }
            // Replication has no transactions of the pooler's, and no end of its own.
            Kick::Probe
            | Kick::QueryTimeout
            | Kick::QueryWait
            | Kick::ClientIdle
            | Kick::IdleTransaction
            | Kick::Transaction => {}
        }
    }

    /// Client to server, as long as the server takes it.
    fn pass_requests(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut Buffers,
    ) -> Result<Poll<()>, End> {
        let connection = &mut self.server.connection;
        // Postgres' last words may still be there to read.
        let Poll::Ready(Ok(())) = connection.poll_flush(cx) else { return Ok(Poll::Pending) };
        let length = match self.stream.poll_read(cx, &mut buffers.read) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Ok(0)) if self.asked.last() == client_tag::TERMINATE => {
                return Err(End::Terminated);
            }
            Poll::Ready(Ok(0)) => return Err(End::ClientClosed),
            Poll::Ready(Ok(length)) => length,
            Poll::Ready(Err(error)) => return Err(End::ClientFailed(error)),
        };
        let bytes = &buffers.read[..length];
        self.handle.meter.borrow_mut().received += length as u64;
        self.asked.pass(bytes).map_err(|error| End::Violation(Violation::Length(error)))?;
        if connection.send(cx, bytes).is_err() {
            connection.unsent = Vec::new();
        }
        Ok(Poll::Ready(()))
    }

    /// Server to client, as long as the client takes it.
    fn pass_replies(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut Buffers,
    ) -> Result<Poll<()>, End> {
        match poll_flush(&mut self.stream, &mut self.unsent, cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Err(End::ClientFailed(error)),
            Poll::Pending => return Ok(Poll::Pending),
        }
        let connection = &mut self.server.connection;
        let length = match connection.stream.poll_read(cx, &mut buffers.read) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Ok(0) | Err(_)) if self.told.last() == server_tag::ERROR => {
                return Err(End::ServerFatal);
            }
            Poll::Ready(Ok(0) | Err(_)) if self.asked.last() == client_tag::TERMINATE => {
                return Err(End::Terminated);
            }
            Poll::Ready(Ok(0) | Err(_)) => return Err(End::ServerGone),
            Poll::Ready(Ok(length)) => length,
        };
        let bytes = &buffers.read[..length];
        self.handle.meter.borrow_mut().sent += length as u64;
        let fault = |error| End::ServerFault(ServerFault::Length(error));
        self.told.pass(bytes).map_err(fault)?;
        send(&mut self.stream, &mut self.unsent, cx, bytes).map_err(End::ClientFailed)?;
        Ok(Poll::Ready(()))
    }
}

fn over(end: End) -> Poll<End> {
    Poll::Ready(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::startup::{FirstPacket, PROTOCOL_3_0, parse};

    /// What Postgres makes of them is what the client said.
    #[test]
    fn settings_survive_the_way_through_options() {
        let said = [("application_name", "a b\\c\td"), ("user", "postgres"), ("x.y", "")];
        let mut packet = PROTOCOL_3_0.to_be_bytes().to_vec();
        for (name, value) in [("user", "app"), ("replication", "database")] {
            packet.extend(format!("{name}\0{value}\0").bytes());
        }
        let options: Vec<_> = said.iter().map(|(name, value)| option(name, value)).collect();
        packet.extend(format!("options\0{}\0\0", options.join(" ")).bytes());
        let Ok(FirstPacket::Startup(startup)) = parse(&packet) else { panic!("no startup") };
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        assert_eq!(startup.parameters, said.iter().map(own).collect::<Vec<_>>());
        let passed_on = startup_parameters(Replication::Logical, &startup);
        assert_eq!(passed_on[0], ("replication".into(), "database".into()));
        assert_eq!(&*passed_on[1].1, options.join(" "));
        assert_eq!(passed_on.len(), 2, "no user and no database but the pooler's");
    }
}
