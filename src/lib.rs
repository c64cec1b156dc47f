//! A transaction-mode Postgres connection pooler: the map of the crate.
//!
//! Imports go down only; `tests/tidy.rs` holds the table of layers.

pub mod accept;
pub mod account;
pub mod admin;
pub mod app;
pub mod auth;
pub mod cli;
pub mod client;
pub mod config;
pub mod control;
pub mod descriptors;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod lifecycle;
pub mod logging;
pub mod lookup;
pub mod net;
pub mod notify;
pub mod otel;
pub mod plan;
pub mod pool;
pub mod protocol;
pub mod relay;
pub mod secrecy;
pub mod server;
pub mod sql;
pub mod stats;
pub mod top;
pub mod worker;
