//! TLS by rustls, towards clients and towards Postgres: what is loaded from files, who is trusted,
//! and one session. When TLS begins, and who must use it, is decided by the logins of both sides.

pub mod acceptor;
pub mod certificate;
pub mod connector;
pub mod driver;
pub mod material;
pub mod session;
#[cfg(test)]
mod session_tests;
mod trust;

/// The name of the Postgres protocol in ALPN (`PG_ALPN_PROTOCOL`, src/include/libpq/pqcomm.h).
pub const ALPN: &[u8] = b"postgresql";

/// The name of HTTP/1.1 in ALPN (RFC 7301, 6).
pub const HTTP_ALPN: &[u8] = b"http/1.1";
