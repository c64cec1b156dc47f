//! Sockets: listening, connecting, and one stream type for TCP and Unix sockets.

pub mod address;
pub mod framed;
pub mod interfaces;
pub mod keepalive;
pub mod listen;
mod loopback;
pub mod socket;
pub mod stream;
pub mod tls;
