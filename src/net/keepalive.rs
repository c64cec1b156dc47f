//! TCP keepalive: how a peer that vanished without a word is noticed.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::stream::Stream;

/// Keepalive settings; zero leaves the system's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Are probes sent at all?
    pub enabled: bool,
    /// Idle time before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Lost probes before the connection is given up.
    pub count: u32,
    /// How long sent data may stay unacknowledged.
    pub user_timeout: Duration,
}

impl Keepalive {
    /// Applies the settings; a Unix socket needs none.
    ///
    /// # Errors
    /// When the system refuses a value.
    pub fn apply(&self, stream: &Stream) -> io::Result<()> {
        stream.socket().as_tcp().map_or(Ok(()), |socket| self.apply_to(&socket))
    }

    /// Applies the settings to a TCP socket.
    ///
    /// # Errors
    /// When the system refuses a value.
    pub fn apply_to(&self, socket: &SockRef<'_>) -> io::Result<()> {
        if !self.user_timeout.is_zero() {
            socket.set_tcp_user_timeout(Some(self.user_timeout))?;
        }
        if !self.enabled {
            return Ok(());
        }
        let mut keepalive = TcpKeepalive::new();
        if !self.idle.is_zero() {
            keepalive = keepalive.with_time(self.idle);
        }
        if !self.interval.is_zero() {
            keepalive = keepalive.with_interval(self.interval);
        }
        if self.count > 0 {
            keepalive = keepalive.with_retries(self.count);
        }
        socket.set_tcp_keepalive(&keepalive)
    }
}
