//! Connections that never leave the machine.

use std::net::SocketAddr;

use socket2::SockRef;

/// Congestion controls that pace what they send by timers. (`bbr` is the default of many servers.)
const PACED: &[u8] = b"bbr";

/// Loss-based, not paced, and the one every kernel allows every process to choose
/// (`tcp_allowed_congestion_control` always holds it).
const UNPACED: &[u8] = b"reno";

/// Spares a connection between two processes of one machine the pacing of BBR: there is no
/// bottleneck to find, while its bookkeeping and its timers cost a fifth of a transaction's CPU.
/// Set before the connection is made (BBR asks for pacing once and never takes it back); what is
/// set on a listening socket, the connections it accepts inherit.
///
/// Everything else keeps what the administrator chose.
pub(super) fn unpace(socket: &SockRef<'_>, address: SocketAddr) {
    if !address.ip().to_canonical().is_loopback() {
        return;
    }
    if socket.tcp_congestion().is_ok_and(|name| name.starts_with(PACED)) {
        // A kernel that refuses goes on as it was: slower, and right.
        let _ = socket.set_tcp_congestion(UNPACED);
    }
}
