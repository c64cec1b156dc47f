//! The Postgres wire protocol, version 3: pure functions over bytes, no sockets and no clock.
//!
//! Message formats: <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

pub mod backend;
pub mod bound;
pub mod boundary;
pub mod error_response;
pub mod frame;
pub mod frontend;
pub mod sasl;
pub mod sqlstate;
pub mod startup;
