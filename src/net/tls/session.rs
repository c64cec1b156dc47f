//! One TLS session above a socket: rustls does the cryptography, this file moves the bytes.
//!
//! An idle session holds what rustls holds: its keys, and one buffer of 4 KiB. Plaintext and
//! ciphertext of a busy one pass through the caller's buffer where that is large enough.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use rustls::{CommonState, Connection, IoState};
use tokio::sync::Semaphore;
use tokio::task::{spawn_blocking, yield_now};

use super::certificate::Certificate;
use crate::net::socket::Socket;

/// The most bytes of one record on the wire, header and expansion included (RFC 5246, 6.2.3).
const RECORD_LIMIT: usize = 5 + 16_384 + 2_048;

/// From this size on, a caller's buffer is used for the ciphertext too: half of it, less the record
/// that rustls may hold back, so that what comes out always has room in the other half.
const SPLIT_FROM: usize = 4 * RECORD_LIMIT;

/// A TLS session.
pub struct TlsSession {
    connection: Connection,
    /// Bytes that rustls has decrypted and nobody has read.
    waiting: usize,
    /// Bytes of the caller that are encrypted but not reported as written: the socket has not taken
    /// all of them yet. Reporting only what the socket took keeps the rest in the caller's hands,
    /// who will come back for it.
    accepted: usize,
    /// How the handshake is computed.
    steps: Steps,
}

/// Where the steps of a handshake are computed, and for what they wait. A turn is one permit.
#[derive(Clone)]
pub(super) enum Steps {
    /// Where its bytes are read, at once.
    Here,
    /// There too; the one with the signature waits for its turn, and holds it until all that was
    /// ready has run: a worker computes one of them each time round, however many clients come.
    HereInTurn(Arc<Semaphore>),
    /// The one with the signature beside the workers, in its turn.
    SignAside(Arc<Semaphore>),
    /// Each beside the workers, in its turn: clients' certificates are checked in the last one.
    AllAside(Arc<Semaphore>),
}

/// A session after one step of its handshake, and what came of that.
type Stepped = (TlsSession, Result<IoState, rustls::Error>);

/// Why a handshake failed. The texts are for the log.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The socket failed.
    #[error("TLS handshake: {0}")]
    Io(#[from] io::Error),
    /// The peer went away.
    #[error("TLS handshake: the peer closed the connection")]
    Closed,
    /// The peer, or what it says of itself, is not acceptable.
    #[error("TLS handshake: {0}")]
    Tls(#[from] rustls::Error),
    /// The thread that computed it died.
    #[error("TLS handshake: the thread that computed it failed")]
    Thread,
}

impl TlsSession {
    /// A session that has not shaken hands.
    pub(super) fn new(connection: impl Into<Connection>, steps: Steps) -> Self {
        Self { connection: connection.into(), waiting: 0, accepted: 0, steps }
    }

    /// Is there plaintext to be read without the socket?
    pub(in crate::net) fn holds_plaintext(&self) -> bool {
        self.waiting > 0
    }

    /// What was agreed on by ALPN.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// The peer's own certificate, if it showed one that can be read.
    #[must_use]
    pub fn peer(&self) -> Option<Certificate> {
        Certificate::parse(self.connection.peer_certificates()?.first()?)
    }

    /// The version, as Postgres names it: `TLSv1.3`.
    #[must_use]
    pub fn version(&self) -> &'static str {
        match self.connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLS",
        }
    }

    pub(in crate::net) fn poll_read(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(length) = self.take(buffer)? {
                return Poll::Ready(Ok(length));
            }
            // Answers of TLS itself. Who cannot be written to may still have something to say.
            let _ = self.poll_flush(socket, cx);
            let length = if buffer.len() < SPLIT_FROM {
                ready!(self.poll_some(socket, cx))?;
                0
            } else {
                ready!(self.poll_much(socket, cx, buffer))?
            };
            if length > 0 {
                return Poll::Ready(Ok(length));
            }
        }
    }

    pub(in crate::net) fn poll_write(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.accepted == 0 {
            // Takes 64 KiB at most, the limit that rustls gives itself.
            self.accepted = self.connection.writer().write(bytes)?;
        }
        ready!(self.poll_flush(socket, cx))?;
        Poll::Ready(Ok(std::mem::take(&mut self.accepted).min(bytes.len())))
    }

    /// Says that nothing more will come, as TLS wants it said.
    pub(in crate::net) fn poll_close(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.connection.send_close_notify();
        self.poll_flush(socket, cx)
    }

    /// Shakes hands. `seen` is what was read from the socket before TLS began. Not cancel safe: the
    /// session is gone, and the socket of no use.
    pub(in crate::net) async fn shake_hands(
        mut self,
        socket: &mut Socket,
        mut seen: &[u8],
    ) -> Result<Self, HandshakeError> {
        loop {
            poll_fn(|cx| self.poll_flush(socket, cx)).await?;
            if !self.connection.is_handshaking() {
                return Ok(Self { steps: Steps::Here, ..self });
            }
            let fed = if seen.is_empty() {
                poll_fn(|cx| self.poll_feed(socket, cx)).await?
            } else {
                self.connection.read_tls(&mut seen)?
            };
            if fed == 0 {
                return Err(HandshakeError::Closed);
            }
            let (session, outcome) = self.step().await?;
            self = session;
            match outcome {
                Ok(state) => self.waiting = state.plaintext_bytes_to_read(),
                Err(error) => {
                    // The alert that says why, as far as the socket takes it at once.
                    let mut cx = Context::from_waker(Waker::noop());
                    let _ = self.poll_flush(socket, &mut cx);
                    return Err(error.into());
                }
            }
        }
    }

    /// One step of the handshake.
    async fn step(mut self) -> Result<Stepped, HandshakeError> {
        // What is left once that is done takes some 20 us.
        let signed = self.connection.negotiated_key_exchange_group().is_some();
        // Nobody closes the semaphores; without a turn it would only be less fair.
        match self.steps.clone() {
            Steps::HereInTurn(turns) if !signed => {
                let turn = turns.acquire().await;
                let outcome = self.connection.process_new_packets();
                // Whatever else is ready comes first, then who waits for the next turn; half a hello
                // has no answer, and cost nothing.
                if self.connection.wants_write() {
                    yield_now().await;
                }
                drop(turn);
                Ok((self, outcome))
            }
            Steps::SignAside(turns) if !signed => self.step_aside(turns).await,
            Steps::AllAside(turns) => self.step_aside(turns).await,
            Steps::Here | Steps::HereInTurn(_) | Steps::SignAside(_) => {
                let outcome = self.connection.process_new_packets();
                Ok((self, outcome))
            }
        }
    }

    /// One step of the handshake on another thread.
    async fn step_aside(mut self, turns: Arc<Semaphore>) -> Result<Stepped, HandshakeError> {
        let turn = turns.acquire_owned().await;
        let work = spawn_blocking(move || {
            // Whoever waits for it may be gone before it ends.
            let _turn = turn;
            let outcome = self.connection.process_new_packets();
            (self, outcome)
        });
        work.await.map_err(|_| HandshakeError::Thread)
    }

    fn poll_feed(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self.connection.read_tls(&mut Wire { socket, cx }) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            fed => Poll::Ready(fed),
        }
    }

    /// Decrypted bytes; `Some(0)` is the end, with or without TLS' own word for it: what a missing
    /// word could hide, the Postgres protocol shows by itself, as its messages have lengths.
    fn take(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.connection.reader().read(buffer) {
            Ok(length) => {
                self.waiting = self.waiting.saturating_sub(length);
                Ok(Some(length))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Some(0)),
            Err(error) => Err(error),
        }
    }

    /// Gives rustls as much from the socket as it reads at once.
    fn poll_some(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_feed(socket, cx))?;
        Poll::Ready(self.process())
    }

    /// Reads as much as a half of the buffer holds with one system call, and puts what it says into
    /// the other half.
    fn poll_much(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let half = buffer.len() / 2;
        let (plain, wire) = buffer.split_at_mut(half);
        let wire = &mut wire[..half - RECORD_LIMIT];
        let length = ready!(socket.poll_read(cx, wire))?;
        let (mut rest, mut filled) = (&wire[..length], 0);
        loop {
            // At the end of the stream, an empty read tells rustls so.
            let fed = self.connection.read_tls(&mut rest)?;
            self.process()?;
            while self.waiting > 0 && filled < plain.len() {
                filled += self.take(&mut plain[filled..])?.unwrap_or(0);
            }
            if fed == 0 || rest.is_empty() {
                return Poll::Ready(Ok(filled));
            }
        }
    }

    fn process(&mut self) -> io::Result<()> {
        let state = self.connection.process_new_packets();
        let state = state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.waiting = state.plaintext_bytes_to_read();
        Ok(())
    }

    fn poll_flush(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Wire { socket, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl std::fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let common: &CommonState = &self.connection;
        f.debug_struct("TlsSession").field("version", &common.protocol_version()).finish()
    }
}

/// The socket as rustls wants it: `WouldBlock` instead of `Pending`.
struct Wire<'a, 'b> {
    socket: &'a mut Socket,
    cx: &'a mut Context<'b>,
}

impl Read for Wire<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        blocking(self.socket.poll_read(self.cx, buffer))
    }
}

impl Write for Wire<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        blocking(self.socket.poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        blocking(self.socket.poll_write_vectored(self.cx, parts))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn blocking(polled: Poll<io::Result<usize>>) -> io::Result<usize> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
