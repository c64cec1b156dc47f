//! Proving who a client is, and proving to a server who we are; it never looks a secret up.
//!
//! Pure: bytes in, bytes out, time and randomness aside no outside world. Sockets, message framing, the table
//! of users, SQLSTATEs and locks belong to the callers.
//!
//! - Clients: [`scram::server`], [`md5`], [`plain`], each refusing unknown users in the same steps and time
//!   through a [`mock::Decoy`]; [`verifier`] remembers what Postgres itself has proven. [`oauth`] takes tokens of an
//!   issuer that the configuration names.
//! - Towards Postgres: [`scram::client`], [`md5::answer`], or the password of [`Secret::as_plain`].
//! - The one expensive call is [`scram::Derivation::run`] (PBKDF2); no other takes more than a few HMACs. Run
//!   it off the workers and keep its result in a [`scram::KeyCache`].

mod mac;
pub mod md5;
pub mod mock;
pub mod oauth;
pub mod plain;
mod proof;
mod refusal;
pub mod scram;
pub mod secret;
mod secret_bytes;
pub mod verifier;

pub use proof::{Authenticated, Method};
pub use refusal::{ClientHears, Refusal};
pub use secret::{PlainText, Secret, SecretError, SecretKind};
