//! A server that speaks as the test tells it: for what a real Postgres never does.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::client::PATIENCE;
use super::frame::Frame;

/// One accepted connection.
pub(crate) struct FakeSession {
    socket: TcpStream,
    received: Vec<u8>,
}

impl FakeSession {
    /// Reads the StartupMessage.
    pub(crate) fn startup(&mut self) {
        let mut length = [0; 4];
        if self.socket.read_exact(&mut length).is_ok() {
            let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
            let _closed = self.socket.read_exact(&mut rest);
        }
    }

    /// Lets the client in without a password.
    pub(crate) fn welcome(&mut self) {
        self.startup();
        self.send(b'R', &[0; 4]);
        for (name, value) in PARAMETERS {
            self.send(b'S', format!("{name}\0{value}\0").as_bytes());
        }
        self.send(b'K', &[0, 0, 0, 1, 0, 0, 0, 2]);
        self.ready();
    }

    pub(crate) fn send(&mut self, tag: u8, body: &[u8]) {
        let length = u32::try_from(body.len() + 4).unwrap();
        self.send_bytes(&[&[tag], length.to_be_bytes().as_slice(), body].concat());
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    pub(crate) fn ready(&mut self) {
        self.send(b'Z', b"I");
    }

    /// One row with one column, its description and end, without ReadyForQuery.
    pub(crate) fn row(&mut self, text: &str) {
        let field = b"\0\x01c\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
        self.send(b'T', field);
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        self.send(b'D', &[&[0, 1], length.as_slice(), text.as_bytes()].concat());
        self.send(b'C', b"SELECT 1\0");
    }

    /// The next message; none when the other side hung up.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = Frame::cut(&self.received) {
                self.received.drain(..length);
                return Some(frame);
            }
            let mut buffer = [0; 4096];
            match self.socket.read(&mut buffer) {
                Ok(count) if count > 0 => self.received.extend(&buffer[..count]),
                _ => return None,
            }
        }
    }

    /// Answers every query with its own text until the other side hangs up.
    pub(crate) fn echo(&mut self) {
        while let Some(frame) = self.frame() {
            match frame.tag {
                b'Q' => {
                    self.row(&frame.text());
                    self.ready();
                }
                b'S' => self.ready(),
                b'X' => return,
                _ => {}
            }
        }
    }
}

const PARAMETERS: [(&str, &str); 5] = [
    ("server_version", "17.0"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "UTC"),
];

/// Listens until it is dropped; then its connections end too.
pub(crate) struct FakeServer {
    port: u16,
    accepted: Arc<AtomicUsize>,
    cancelled: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl FakeServer {
    /// Each connection runs `serve` with its number, from 0, on a thread of its own, and is closed after it.
    pub(crate) fn start(
        serve: impl Fn(usize, &mut FakeSession) + Send + Sync + 'static,
    ) -> FakeServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = FakeServer {
            port: listener.local_addr().unwrap().port(),
            accepted: Arc::default(),
            cancelled: Arc::default(),
            stopped: Arc::default(),
            open: Arc::default(),
        };
        let (accepted, stopped) = (server.accepted.clone(), server.stopped.clone());
        let (open, cancelled) = (server.open.clone(), server.cancelled.clone());
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let socket = socket.unwrap();
                socket.set_read_timeout(Some(2 * PATIENCE)).unwrap();
                open.lock().push(socket.try_clone().unwrap());
                if is_cancel(&socket) {
                    cancelled.fetch_add(1, Ordering::SeqCst);
                    let _closed = socket.shutdown(Shutdown::Both);
                    continue;
                }
                let (number, serve) = (accepted.fetch_add(1, Ordering::SeqCst), serve.clone());
                std::thread::spawn(move || {
                    let mut session = FakeSession { socket, received: Vec::new() };
                    serve(number, &mut session);
                    let _closed = session.socket.shutdown(Shutdown::Both);
                });
            }
        });
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many cancel requests came so far.
    pub(crate) fn cancelled(&self) -> usize {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// How many other connections came so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _woken = TcpStream::connect(("127.0.0.1", self.port));
        for socket in self.open.lock().drain(..) {
            let _closed = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Is the first packet a CancelRequest? It stays to be read.
fn is_cancel(socket: &TcpStream) -> bool {
    const CODE: [u8; 4] = 80_877_102_u32.to_be_bytes();
    let mut head = [0; 8];
    loop {
        match socket.peek(&mut head) {
            Ok(8) => return head[4..] == CODE,
            Ok(0) | Err(_) => return false,
            Ok(_) => std::thread::yield_now(),
        }
    }
}
