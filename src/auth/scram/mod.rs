//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as Postgres speaks it, both sides; what it leaves out is channel binding.
//!
//! `SCRAM-SHA-256-PLUS` would be one more binding kind in `messages` carrying the hash of the TLS certificate,
//! compared where today's kinds are; the states stay as they are.

mod attributes;
mod cache;
pub mod client;
#[cfg(test)]
mod exchange_tests;
mod keys;
mod messages;
mod secret;
pub mod server;

pub use attributes::{Attribute, MAX_MESSAGE_LEN, MessageError};
pub use cache::{DEFAULT_CAPACITY, KeyCache};
pub use keys::{
    DEFAULT_ITERATIONS, Derivation, LoginKeys, MAX_ITERATIONS, MAX_SALT_LEN, ParamsError,
    ScramKeys, ScramParams,
};
pub use secret::ScramSecret;

/// The mechanism's name in AuthenticationSASL and SASLInitialResponse.
pub const MECHANISM: &str = "SCRAM-SHA-256";
