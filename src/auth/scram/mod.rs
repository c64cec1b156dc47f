//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as Postgres speaks it, both sides, with channel binding
//! (`tls-server-end-point`, RFC 5929). The hash of the certificate comes from the callers.

mod attributes;
#[cfg(test)]
mod binding_tests;
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
pub use messages::Binding;
pub use secret::ScramSecret;

/// The mechanism's name in AuthenticationSASL and SASLInitialResponse.
pub const MECHANISM: &str = "SCRAM-SHA-256";

/// The name of the mechanism that is bound to the TLS channel.
pub const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";
