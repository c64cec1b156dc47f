//! A byte stream to a client or a server, whatever carries it and whether or not it is encrypted.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, Waker};

use tokio::net::{TcpStream, UnixStream};

use super::socket::{DetachedSocket, Socket};
use super::tls::session::{HandshakeError, TlsSession};

/// A connected socket, registered with the runtime of the worker that uses it, perhaps with TLS
/// above it.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    layer: Layer,
}

/// A stream that no runtime knows of: on its way to another worker. Its TLS session goes along.
#[derive(Debug)]
pub struct Detached {
    socket: DetachedSocket,
    layer: Layer,
}

/// What is above the socket.
#[derive(Debug)]
enum Layer {
    /// Nothing: bytes are the peer's.
    Clear,
    /// A handshake that has begun, and that may have been given up: no byte but its own is understood.
    Handshake,
    /// Boxed: most streams have none.
    Tls(Box<TlsSession>),
}

/// The error of a stream whose handshake did not come to its end.
fn no_layer() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl Stream {
    /// Reads what is there into `buffer`; 0 is the end of the stream. `Pending` means that nothing
    /// is left that could be read now, in TLS' buffers neither.
    ///
    /// The whole of `buffer` may be written to, whatever the length that is returned.
    ///
    /// # Errors
    /// As the socket's, and `InvalidData` where the bytes are not those of the TLS session.
    #[inline]
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.layer {
            Layer::Clear => self.socket.poll_read(cx, buffer),
            Layer::Tls(tls) => tls.poll_read(&mut self.socket, cx, buffer),
            Layer::Handshake => Poll::Ready(Err(no_layer())),
        }
    }

    /// Writes as much of `bytes` as the socket takes. After `Pending` the next call must begin with
    /// the same bytes, if there is one: some of them may be encrypted already.
    ///
    /// # Errors
    /// As the socket's.
    #[inline]
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.layer {
            Layer::Clear => self.socket.poll_write(cx, bytes),
            Layer::Tls(tls) => tls.poll_write(&mut self.socket, cx, bytes),
            Layer::Handshake => Poll::Ready(Err(no_layer())),
        }
    }

    /// Says to the peer that nothing more will come.
    ///
    /// # Errors
    /// As the socket's.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Layer::Tls(tls) = &mut self.layer {
            std::task::ready!(tls.poll_close(&mut self.socket, cx))?;
        }
        self.socket.poll_shutdown(cx)
    }

    /// Reads and drops until the peer closes or there is nothing; ready with `Ok` at the end. Closing
    /// before that could take back what was sent last (RFC 1122, 4.2.2.13), the alert of a handshake
    /// that failed among it.
    ///
    /// # Errors
    /// As the socket's.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sink = [0; 512];
        loop {
            let read = match &mut self.layer {
                Layer::Clear | Layer::Handshake => self.socket.poll_read(cx, &mut sink),
                Layer::Tls(tls) => tls.poll_read(&mut self.socket, cx, &mut sink),
            };
            if std::task::ready!(read)? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Says the end to the peer, as far as the socket takes it at once; without TLS, closing does.
    pub fn say_end(&mut self) {
        if let Layer::Tls(tls) = &mut self.layer {
            // Who gets no word notices the closed socket just as well.
            let _ = tls.poll_close(&mut self.socket, &mut Context::from_waker(Waker::noop()));
        }
    }

    /// Has the runtime seen anything to read, or the end, since the last read that found nothing?
    /// Costs no system call. Nobody is woken when it changes.
    #[must_use]
    pub fn seems_readable(&self) -> bool {
        self.tls().is_some_and(TlsSession::holds_plaintext) || self.socket.seems_readable()
    }

    /// Reads exactly `buffer.len()` bytes. Not cancel safe: what was read so far is lost.
    ///
    /// # Errors
    /// As the socket's, and `UnexpectedEof`.
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match poll_fn(|cx| self.poll_read(cx, &mut buffer[filled..])).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => filled += length,
            }
        }
        Ok(())
    }

    /// Writes all of `bytes`. Not cancel safe: part of it may have been sent.
    ///
    /// # Errors
    /// As the socket's.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        while sent < bytes.len() {
            match poll_fn(|cx| self.poll_write(cx, &bytes[sent..])).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                length => sent += length,
            }
        }
        Ok(())
    }

    /// Puts TLS above the socket and shakes hands. `seen` is what was read of it already. Not cancel
    /// safe: the stream is of no use then, and reading and writing are errors.
    ///
    /// # Errors
    /// As [`HandshakeError`] says; nothing can be sent afterwards.
    pub async fn start_tls(
        &mut self,
        session: TlsSession,
        seen: &[u8],
    ) -> Result<(), HandshakeError> {
        self.layer = Layer::Handshake;
        self.layer = Layer::Tls(Box::new(session.shake_hands(&mut self.socket, seen).await?));
        Ok(())
    }

    /// The TLS session, if the stream is encrypted.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsSession> {
        match &self.layer {
            Layer::Tls(tls) => Some(tls),
            Layer::Clear | Layer::Handshake => None,
        }
    }

    /// The error the kernel holds for the socket, if any: a peer that is gone shows here after
    /// something was sent to it.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.take_error()
    }

    /// The system user that runs the peer; `None`: it is not of this machine's own sockets.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn peer_uid(&self) -> io::Result<Option<u32>> {
        self.socket.peer_uid()
    }

    /// The socket below.
    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Takes the socket away from this runtime.
    ///
    /// # Errors
    /// When it cannot be deregistered.
    pub fn detach(self) -> io::Result<Detached> {
        Ok(Detached { socket: self.socket.detach()?, layer: self.layer })
    }
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Self {
        Self { socket, layer: Layer::Clear }
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Socket::Tcp(stream).into()
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Socket::Unix(stream).into()
    }
}

impl From<DetachedSocket> for Detached {
    fn from(socket: DetachedSocket) -> Self {
        Self { socket, layer: Layer::Clear }
    }
}

impl Detached {
    /// Registers the socket with the current runtime.
    ///
    /// # Errors
    /// When it cannot be registered (out of file descriptors or memory).
    pub fn attach(self) -> io::Result<Stream> {
        Ok(Stream { socket: self.socket.attach()?, layer: self.layer })
    }

    /// The socket, whatever was above it.
    #[must_use]
    pub fn into_socket(self) -> DetachedSocket {
        self.socket
    }
}
