//! The end of a terminal that is gone, as when its window or its SSH connection was closed. crossterm does not hear of
//! it: it reads nothing again and again, for ever. SIGHUP may be ignored, as under `nohup`.

use std::io;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// The exit code of a program that SIGHUP ends.
const HUNG_UP: i32 = 128 + 1;

/// From now on, the program ends when its terminal does: there is nobody to tell, and nothing to give back.
///
/// # Errors
/// When no thread can be had.
pub(super) fn watch() -> io::Result<()> {
    let thread = thread::Builder::new().name("hangup".to_owned());
    thread.spawn(|| {
        if wait() {
            std::process::exit(HUNG_UP);
        }
    })?;
    Ok(())
}

/// Waits until standard output has nobody at its other end; false: that cannot be known.
fn wait() -> bool {
    let stdout = io::stdout();
    loop {
        // Nothing is asked for: the kernel tells of hang-ups and errors all the same.
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut watched, None) {
            Ok(_) => {
                let [told] = watched.map(|fd| fd.revents());
                return told.intersects(PollFlags::HUP | PollFlags::ERR);
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return false,
        }
    }
}
