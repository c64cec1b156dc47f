//! A line to Postgres that can be held up, and listened to: what is said there at one moment stays there until the test
//! goes on.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};

use super::client::PATIENCE;

/// What is held up, and whether it has come.
#[derive(Default)]
struct Hold {
    text: Option<String>,
    came: bool,
}

#[derive(Default)]
struct Line {
    hold: Mutex<Hold>,
    heard: Mutex<Vec<u8>>,
    changed: Condvar,
    stopped: AtomicBool,
}

/// Passes connections on to a port of this machine, until it is dropped.
pub(crate) struct SlowLine {
    port: u16,
    line: Arc<Line>,
}

impl SlowLine {
    /// A line to that port.
    pub(crate) fn to(target: u16) -> SlowLine {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let line = Arc::<Line>::default();
        let shared = Arc::clone(&line);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (Ok(near), false) = (socket, shared.stopped.load(Ordering::SeqCst)) else {
                    return;
                };
                let far = TcpStream::connect(("127.0.0.1", target)).unwrap();
                near.set_nodelay(true).unwrap();
                far.set_nodelay(true).unwrap();
                let (up, down) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let line = Arc::clone(&shared);
                std::thread::spawn(move || pass(up, far, &line));
                std::thread::spawn(move || pass(down, near, &Line::default()));
            }
        });
        SlowLine { port, line }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What Postgres was told since this was asked last.
    pub(crate) fn heard(&self) -> Vec<u8> {
        std::mem::take(&mut *self.line.heard.lock())
    }

    /// The next bytes that hold this text, and what comes behind them on that connection, get no further.
    pub(crate) fn hold(&self, text: &str) {
        *self.line.hold.lock() = Hold { text: Some(text.to_owned()), came: false };
    }

    /// Waits until there is something that is held up.
    #[track_caller]
    pub(crate) fn wait(&self) {
        let mut hold = self.line.hold.lock();
        let came = |hold: &mut Hold| !hold.came;
        let waited = self.line.changed.wait_while_for(&mut hold, came, PATIENCE);
        assert!(!waited.timed_out(), "nothing with {:?} was sent", hold.text);
    }

    /// Everything goes on.
    pub(crate) fn let_go(&self) {
        *self.line.hold.lock() = Hold::default();
        self.line.changed.notify_all();
    }
}

impl Drop for SlowLine {
    fn drop(&mut self) {
        self.line.stopped.store(true, Ordering::SeqCst);
        self.let_go();
        // Wakes the thread that accepts.
        let _woken = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Passes bytes on in one direction.
fn pass(mut from: TcpStream, mut to: TcpStream, line: &Line) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let mut hold = line.hold.lock();
        let said = String::from_utf8_lossy(&buffer[..count]);
        if hold.text.as_ref().is_some_and(|text| !hold.came && said.contains(text)) {
            hold.came = true;
            line.changed.notify_all();
            line.changed.wait_while(&mut hold, |hold| hold.came);
        }
        drop(hold);
        line.heard.lock().extend(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _closed = to.shutdown(Shutdown::Write);
}
