//! A client that sends any bytes and reads frames: the tests' side of the wire, for Postgres and pooler alike.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::SockRef;

use super::batch::{Batch, query};
use super::frame::Frame;
use super::login::Login;
use super::postgres::Address;
use super::reply::{Reply, ServerError};
use super::scram::{Asked, Exchange};

/// How long a reply may take before the test fails. Generous: machines under test are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough that the peer reads what was sent before the rest follows; without the pause the kernel
/// joins the pieces.
const BETWEEN_PIECES: Duration = Duration::from_millis(1);

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// The key with which a query can be cancelled: process id, secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CancelKey {
    pub(crate) process: u32,
    pub(crate) secret: Vec<u8>,
}

/// A connection, logged in or not.
pub(crate) struct RawClient {
    socket: Socket,
    received: Vec<u8>,
    address: Address,
    /// What the server reported, in order.
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) cancel_key: Option<CancelKey>,
    pub(crate) asked: Asked,
    pub(crate) server_proven: bool,
    /// The body of a NegotiateProtocolVersion.
    pub(crate) negotiated: Option<Vec<u8>>,
}

impl RawClient {
    /// Connects and says nothing.
    #[track_caller]
    pub(crate) fn connect(address: &Address) -> RawClient {
        RawClient::try_connect(address).unwrap_or_else(|error| panic!("{address:?}: {error}"))
    }

    pub(crate) fn try_connect(address: &Address) -> io::Result<RawClient> {
        let socket = match address {
            Address::Tcp(address) => {
                let socket = TcpStream::connect_timeout(address, PATIENCE)?;
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                Socket::Tcp(socket)
            }
            Address::Unix(path) => {
                let socket = UnixStream::connect(path)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                Socket::Unix(socket)
            }
        };
        Ok(RawClient {
            socket,
            received: Vec::new(),
            address: address.clone(),
            parameters: Vec::new(),
            cancel_key: None,
            asked: Asked::Nothing,
            server_proven: false,
            negotiated: None,
        })
    }

    /// Connects and logs in.
    #[track_caller]
    pub(crate) fn login(login: &Login) -> RawClient {
        match RawClient::try_login(login) {
            Ok(client) => client,
            Err(error) => panic!("{} at {:?}: {error:?}", login.user, login.address),
        }
    }

    /// As `login`; a refusal is the server's error. A connection that cannot be made has SQLSTATE 08001, one
    /// that ends without a word 08006.
    pub(crate) fn try_login(login: &Login) -> Result<RawClient, ServerError> {
        let local = |sqlstate: &str, message: String| ServerError {
            sqlstate: sqlstate.to_owned(),
            message,
            ..ServerError::default()
        };
        let mut client = RawClient::try_connect(&login.address)
            .map_err(|error| local("08001", error.to_string()))?;
        client.send_bytes(&login.startup());
        client.finish_login(login)?.ok_or_else(|| local("08006", "closed".to_owned()))?;
        Ok(client)
    }

    /// Asks for TLS and shakes hands; what stands in the way comes as an error.
    pub(crate) fn start_tls(&mut self, config: Arc<ClientConfig>, host: &str) -> io::Result<()> {
        const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
        self.send_bytes(&SSL_REQUEST);
        while self.received.is_empty() && self.read_some()? > 0 {}
        match std::mem::take(&mut self.received)[..] {
            [b'S'] => self.start_tls_directly(config, host),
            ref other => Err(io::Error::other(format!("the answer is {other:?}"))),
        }
    }

    /// Begins with TLS, as `sslnegotiation=direct` does.
    pub(crate) fn start_tls_directly(
        &mut self,
        config: Arc<ClientConfig>,
        host: &str,
    ) -> io::Result<()> {
        let Socket::Tcp(socket) = &self.socket else { panic!("TLS is for TCP") };
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, socket.try_clone()?);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        self.socket = Socket::Tls(Box::new(stream));
        Ok(())
    }

    /// Logs in over a connection that is there already.
    pub(crate) fn log_in_here(&mut self, login: &Login) -> Result<(), ServerError> {
        self.send_bytes(&login.startup());
        let closed = || ServerError { sqlstate: "08006".to_owned(), ..ServerError::default() };
        self.finish_login(login)?.ok_or_else(closed)
    }

    /// Goes on after the startup packet, up to ReadyForQuery; none when the server hung up.
    pub(crate) fn finish_login(&mut self, login: &Login) -> Result<Option<()>, ServerError> {
        let mut exchange = Exchange::new();
        while let Some(frame) = self.frame() {
            match frame.tag {
                b'R' => exchange.answer(self, login, &frame),
                b'v' => self.negotiated = Some(frame.body),
                b'K' => {
                    let (process, secret) = frame.body.split_at(4);
                    let process = u32::from_be_bytes(process.try_into().unwrap());
                    self.cancel_key = Some(CancelKey { process, secret: secret.to_vec() });
                }
                b'E' => return Err(frame.error()),
                b'Z' => {
                    self.asked = exchange.asked;
                    self.server_proven = exchange.server_proven;
                    return Ok(Some(()));
                }
                b'S' | b'N' => {}
                tag => panic!("a frame `{}` during login", char::from(tag)),
            }
        }
        Ok(None)
    }

    /// Sends and reads until every ReadyForQuery came, or the end of the connection.
    #[track_caller]
    pub(crate) fn run(&mut self, batch: &Batch) -> Reply {
        self.send(batch);
        self.read_readies(batch.readies)
    }

    /// One simple query that must succeed.
    #[track_caller]
    pub(crate) fn query(&mut self, sql: &str) -> Reply {
        let reply = self.run(&query(sql));
        assert!(!reply.has_error() && !reply.closed, "{sql}: {}", reply.shape());
        reply
    }

    /// The only value a query gives.
    #[track_caller]
    pub(crate) fn value(&mut self, sql: &str) -> String {
        self.query(sql).value()
    }

    /// The process id of the backend that answers now.
    #[track_caller]
    pub(crate) fn backend(&mut self) -> String {
        self.value("SELECT pg_backend_pid()")
    }

    #[track_caller]
    pub(crate) fn send(&mut self, batch: &Batch) {
        self.send_bytes(&batch.bytes);
    }

    /// Writes as much as the peer takes; a peer that has hung up is found out by reading.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        let _closed = match &mut self.socket {
            Socket::Tcp(socket) => socket.write_all(bytes),
            Socket::Unix(socket) => socket.write_all(bytes),
            Socket::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        };
    }

    /// Sends in pieces that the peer reads one by one.
    pub(crate) fn send_pieces<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) {
        for piece in pieces {
            self.send_bytes(piece);
            std::thread::sleep(BETWEEN_PIECES);
        }
    }

    /// Reads until so many ReadyForQuery came, or the end.
    #[track_caller]
    pub(crate) fn read_readies(&mut self, count: usize) -> Reply {
        let mut left = count;
        self.read_until(|frame| {
            left -= usize::from(frame.tag == b'Z');
            left == 0
        })
    }

    /// Reads up to the first frame with the tag, or the end.
    #[track_caller]
    pub(crate) fn read_tag(&mut self, tag: char) -> Reply {
        self.read_until(|frame| char::from(frame.tag) == tag)
    }

    /// Reads all there is until the server hangs up.
    #[track_caller]
    pub(crate) fn read_to_end(&mut self) -> Reply {
        self.read_until(|_| false)
    }

    #[track_caller]
    fn read_until(&mut self, mut last: impl FnMut(&Frame) -> bool) -> Reply {
        let mut reply = Reply::default();
        loop {
            match self.try_frame() {
                Ok(Some(frame)) => {
                    let done = last(&frame);
                    reply.frames.push(frame);
                    if done {
                        return reply;
                    }
                }
                Ok(None) => {
                    reply.closed = true;
                    return reply;
                }
                Err(error) => panic!("{error}, after: {}", reply.shape()),
            }
        }
    }

    /// The next frame; none when the server hung up between two frames.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        self.try_frame().unwrap_or_else(|error| panic!("no frame: {error}"))
    }

    /// As `frame`; an error when nothing comes in time.
    pub(crate) fn try_frame(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some((frame, length)) = Frame::cut(&self.received) {
                self.received.drain(..length);
                if frame.tag == b'S' {
                    self.parameters.push(frame.parameter());
                }
                return Ok(Some(frame));
            }
            if self.read_some()? == 0 {
                return match self.received.len() {
                    0 => Ok(None),
                    _ => Err(io::Error::other("the connection ended inside a frame")),
                };
            }
        }
    }

    /// Reads what there is, at least a byte; 0 is the end. A reset is an end too.
    pub(crate) fn read_some(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 64 * 1024];
        let read = match &mut self.socket {
            Socket::Tcp(socket) => socket.read(&mut buffer),
            Socket::Unix(socket) => socket.read(&mut buffer),
            Socket::Tls(stream) => stream.read(&mut buffer),
        };
        let count = match read.map_err(|error| (error.kind(), error)) {
            Err((io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof, _)) => 0,
            other => other.map_err(|(_, error)| error)?,
        };
        self.received.extend(&buffer[..count]);
        Ok(count)
    }

    /// Bytes that came and were not cut into frames yet.
    pub(crate) fn take_received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    /// The latest value the server reported.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let newest = self.parameters.iter().rev().find(|(known, _)| known == name);
        newest.map(|(_, value)| value.as_str())
    }

    /// How long to wait for bytes before a read is an error.
    pub(crate) fn patience(&mut self, limit: Duration) {
        match &self.socket {
            Socket::Tcp(socket) => socket.set_read_timeout(Some(limit)).unwrap(),
            Socket::Unix(socket) => socket.set_read_timeout(Some(limit)).unwrap(),
            Socket::Tls(stream) => stream.sock.set_read_timeout(Some(limit)).unwrap(),
        }
    }

    /// Nothing more will be sent; replies are still read.
    pub(crate) fn shut_down_sending(&mut self) {
        match &self.socket {
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Write).unwrap(),
            Socket::Unix(socket) => socket.shutdown(Shutdown::Write).unwrap(),
            Socket::Tls(stream) => stream.sock.shutdown(Shutdown::Write).unwrap(),
        }
    }

    /// Gone without a goodbye, and with a reset where there is such a thing.
    pub(crate) fn kill(self) {
        if let Socket::Tcp(socket) = &self.socket {
            SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }

    /// Says goodbye.
    pub(crate) fn terminate(mut self) {
        self.send(&Batch::new().terminate());
    }

    /// A second handle to the same connection, to write while this one reads.
    pub(crate) fn writer(&self) -> impl Write + Send + 'static {
        match &self.socket {
            Socket::Tcp(socket) => Box::new(socket.try_clone().unwrap()) as Box<dyn Write + Send>,
            Socket::Unix(socket) => Box::new(socket.try_clone().unwrap()),
            Socket::Tls(_) => panic!("a TLS session has one writer"),
        }
    }

    /// Asks on a connection of its own to cancel what this client runs; returns when that was taken up.
    pub(crate) fn cancel(&self) {
        let key = self.cancel_key.clone().expect("logged in");
        send_cancel(&self.address, &key);
    }
}

/// Sends a CancelRequest and waits until the server has closed the connection.
pub(crate) fn send_cancel(address: &Address, key: &CancelKey) {
    let mut client = RawClient::connect(address);
    client.send_bytes(&cancel_request(key));
    assert!(client.frame().is_none(), "a cancel request is answered by closing only");
}

/// The bytes of a CancelRequest.
pub(crate) fn cancel_request(key: &CancelKey) -> Vec<u8> {
    const CODE: u32 = 1234 << 16 | 5678;
    let length = u32::try_from(12 + key.secret.len()).unwrap();
    [&length.to_be_bytes(), &CODE.to_be_bytes(), &key.process.to_be_bytes(), key.secret.as_slice()]
        .concat()
}
